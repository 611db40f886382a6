"""``report VERB``: work with the files of runs that have ended; only replay needs a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from building.tree import COMMAND, INSTALLED
from harness.verdict.outcome import Exit
from reports import diff, features, folder, history, publish, results, statement, summary
from reports.history import HistoryError
from reports.junit import JUnitError
from reports.publish import PublishError
from reports.results import ResultsError
from reports.statement import StatementError
from reports.words import as_text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end as the rest of the suite does."""
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the verb says; answers the exit code."""
    parser = _Parser(prog=f"{COMMAND} report", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("rebuild", help="write a run's other files again from its results.json")
    verb.add_argument("run", metavar="DIR", type=Path, help="a run's folder")
    verb.set_defaults(do=_rebuild)
    verb = verbs.add_parser(
        "bundle", help="pack a run's files into one to hand on, without secrets, with their hashes"
    )
    verb.add_argument("run", metavar="DIR", type=Path, help="a run's folder")
    verb.set_defaults(do=_bundle)
    verb = verbs.add_parser(
        "fetch", help="get a run's files out of its log (of a run with --dra-bundle-in-log)"
    )
    verb.add_argument("log", metavar="LOG", help="a file; -: what kubectl logs prints into a pipe")
    verb.add_argument("place", metavar="DIR", type=Path, help="where the run's folder goes")
    verb.set_defaults(do=_fetch)
    verb = verbs.add_parser(
        "replay",
        help="make only what failed in a run once more, in its cluster: FIXED or STILL FAILING",
    )
    verb.add_argument("run", metavar="RUN", type=Path, help="a run's folder or results.json")
    verb.add_argument(
        "options",
        metavar="…",
        nargs=argparse.REMAINDER,
        help="options of a run, which go before those that the run was made with",
    )
    verb.set_defaults(do=_replay)
    verb = verbs.add_parser(
        "diff", help="what changed from one run to another; exit code 13 when something got worse"
    )
    verb.add_argument("old", metavar="OLD", type=Path, help="a run's folder or results.json")
    verb.add_argument("new", metavar="NEW", type=Path, help="another's")
    verb.set_defaults(do=_diff)
    verb = verbs.add_parser(
        "features", help="which features of DRA work with which driver: a table of several runs"
    )
    verb.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run's folder")
    verb.add_argument("--json", action="store_true", help="for programs, instead of Markdown")
    verb.set_defaults(do=_features)
    if not INSTALLED:  # a wheel has no docs/results
        _add_publish(verbs.add_parser)
    verb = verbs.add_parser(
        "history", help="runs of many nights as one page: verdicts, flaky checks, durations"
    )
    verb.add_argument("place", metavar="DIR", type=Path, help="the folder that has their folders")
    verb.set_defaults(do=_history)
    verb = verbs.add_parser(
        "statement", help="what runs of one driver have shown: levels, features, evidence"
    )
    verb.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run's folder")
    verb.add_argument("--json", action="store_true", help="for programs, instead of Markdown")
    verb.set_defaults(do=_statement)
    verb = verbs.add_parser("schema", help="print the JSON Schema of results.json")
    verb.set_defaults(do=_schema)
    given = parser.parse_args(arguments)
    try:
        code: int = given.do(given)
    except (ResultsError, HistoryError, JUnitError, PublishError, StatementError, OSError) as error:
        print(as_text(f"error: {error}"), file=sys.stderr)
        return Exit.USAGE
    return code


def _add_publish(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    verb = add_parser(
        "publish", help="copy a run's files to docs/results/NAME, without host names and addresses"
    )
    verb.add_argument("run", metavar="DIR", type=Path, help="a run's folder")
    verb.add_argument(
        "name", metavar="NAME", help="DATE-HARDWARE-DRIVER, such as 2026-11-25-h100-nvidia-0.4.1"
    )
    verb.set_defaults(do=_publish)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(as_text(line, "\t"))


def _rebuild(given: argparse.Namespace) -> int:
    record, facts = results.read(given.run)
    if not given.run.is_dir():
        raise ResultsError(f"{given.run}: expected the folder of a run, not one of its files")
    folder.write(record, facts)
    _print(summary.lines(record, facts))
    return Exit.OK


def _bundle(given: argparse.Namespace) -> int:
    from reports import bundle  # noqa: PLC0415 - for its own verb

    results.read(given.run)  # what is no run is refused
    if not given.run.is_dir():
        raise ResultsError(f"{given.run}: expected the folder of a run, not one of its files")
    print(bundle.write(given.run))
    return Exit.OK


def _fetch(given: argparse.Namespace) -> int:
    from reports import in_log  # noqa: PLC0415 - for its own verb

    log = sys.stdin if given.log == "-" else Path(given.log).open(errors="replace")  # noqa: SIM115
    with log:
        try:
            print(as_text(str(in_log.fetch(log.read(), given.place))))
        except in_log.InLogError as error:
            raise ResultsError(str(error)) from error
    return Exit.OK


def _replay(given: argparse.Namespace) -> int:
    # The only verb that needs a cluster, and so the checks.
    from dra_conformance.__main__ import make_checks  # noqa: PLC0415
    from reports import replay  # noqa: PLC0415

    _, facts = results.read(given.run)
    return make_checks([*replay.options(facts, given.run), *given.options])


def _diff(given: argparse.Namespace) -> int:
    (old, old_facts), (new, new_facts) = results.read(given.old), results.read(given.new)
    simulated = "simulated" in (old_facts.hardware, new_facts.hardware)
    found = diff.compare(old, new, simulated=simulated)
    _print(diff.lines(old_facts, new_facts, found))
    return Exit.REGRESSION if found.regressions else Exit.OK


def _features(given: argparse.Namespace) -> int:
    known = features.load()
    cells = features.matrix(known, map(results.read, given.runs))
    if given.json:
        print(results.dumped(features.document(known, cells)), end="")
    else:
        _print(features.markdown(known, cells))
    return Exit.OK


def _schema(_: argparse.Namespace) -> int:
    print(results.dumped(results.json_schema()), end="")
    return Exit.OK


def _statement(given: argparse.Namespace) -> int:
    from suites.__main__ import checks  # noqa: PLC0415 - no other verb reads the suites

    catalogue = {check.id: check.level for check in checks()}
    said = statement.make(given.runs, features.load(), catalogue)
    if given.json:
        print(results.dumped(statement.document(said)), end="")
    else:
        _print(statement.markdown(said))
    return Exit.OK


def _history(given: argparse.Namespace) -> int:
    found, unread = history.read(given.place)
    page = given.place / history.NAME
    folder.write_whole(page, history.render(found, unread))
    _print(history.lines(found, unread))
    print(as_text(f"PAGE     {page}"))
    return Exit.OK


def _publish(given: argparse.Namespace) -> int:
    place = publish.publish(given.run, given.name, publish.RESULTS)
    _print(summary.lines(*results.read(place)))
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
