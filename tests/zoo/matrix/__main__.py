"""``./run matrix``: make faults on purpose, and see what the checks say of them.

The rows are the tests of the zoo that are marked so, and those of drivers without a fault. What was
tried at this commit is not tried again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from building.artifacts import BuildError, obtain
from building.binaries import KUBELET_PROTOCOL, RELEASES, RUNTIME_PROTOCOL
from building.errors import UserError, must_be_of
from building.progress import Progress
from embedded import cluster
from embedded.drivers import DRIVERS
from harness.options import DEEPEST_LEVEL
from harness.verdict.finding import counted
from harness.verdict.outcome import Exit
from tests.admin import ROOT
from tests.zoo.matrix import pages
from tests.zoo.matrix.rows import API
from tests.zoo.matrix.runner import PLACES, Expected, Record, Row, Stopped, collect, run

OUTPUT = ROOT / "docs" / "matrix"
JOURNAL = "rows.jsonl"
"""The records of rows, as they ended; the last one of a row counts."""
LOGS = "logs"
EVERY_CHECK_TIMEOUT = "--timeout=1800"
"""Of a row that every check looks at: each disruption of a driver that does not recover takes
minutes, some 20 in all."""


def build(driver: str, kubernetes: str) -> None:
    """Build what rows with a driver on a release need, where that is not done.

    Raises:
        BuildError: it cannot be.
    """
    release = RELEASES[kubernetes]
    parts = cluster.parts([DRIVERS[driver]], release)
    obtain([*parts, KUBELET_PROTOCOL, RUNTIME_PROTOCOL], Progress())


def main(
    arguments: Sequence[str] | None = None,
    places: Iterable[Path] = PLACES,
    prepare: Callable[[str, str], None] = build,
) -> int:
    """Run what has no record yet, and write the pages; answers the exit code.

    Args:
        arguments: of the command line.
        places: files and folders with tests that are rows.
        prepare: makes what rows with a driver on a release need.
    """
    given = _parser().parse_args(arguments)
    try:
        drivers = given.drivers.split(",") if given.drivers else []
        releases = given.kubernetes.split(",") if given.kubernetes else []
        must_be_of(DRIVERS, "--drivers", *drivers)
        must_be_of(RELEASES, "--kubernetes", *releases)
        rows, names = collect(given.expression, drivers, releases, places)
        if given.names:
            rows = [row for row in rows if any(map(row.is_called, given.names))]
        unserved = [row for row in rows if not row.is_served]
        rows = [row for row in rows if row.is_served]
        for release, number in Counter(row.kubernetes for row in unserved).items():
            serves = RELEASES[release].dra_api
            some = f"{counted(number, 'row')} for Kubernetes {release}"
            print(f"left out: {some}, which has {serves} and not {API}")
        if not rows:
            raise UserError("no row of the matrix is called so" + " and runs" * bool(unserved))
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.USAGE
    output: Path = given.output
    output.mkdir(parents=True, exist_ok=True)
    records, commit = load(output), given.commit or state_of(ROOT)
    at = {"commit": commit, "every_check": given.every_check}
    todo = [row for row in rows if given.again or not _has_record(row, records, at)]
    print(f"{len(rows)} rows, {len(rows) - len(todo)} of them tried before", flush=True)
    for pair in dict.fromkeys((row.driver, row.kubernetes) for row in todo):
        try:
            prepare(*pair)
        except BuildError as error:
            todo = [row for row in todo if (row.driver, row.kubernetes) != pair]
            print(f"not tried: {' on Kubernetes '.join(pair)}: {error}", flush=True)
    code = Exit.OK
    numbered = iter(range(1, len(todo) + 1))

    def ended(row: Row, line: Mapping[str, Any], left: float) -> None:
        records[row.key] = [one | at for one in row.records(line)]
        with (output / JOURNAL).open("a") as journal:
            journal.writelines(f"{json.dumps(one)}\n" for one in records[row.key])
        print(f"[{next(numbered)}/{len(todo)}, {_left(left)}] {told(records[row.key])}", flush=True)

    try:
        level = given.every_check
        options = [] if level is None else [f"--every-check={level}", EVERY_CHECK_TIMEOUT]
        expected = Expected([*_all(load(OUTPUT)), *_all(records)])
        run(todo, given.jobs, expected, output / LOGS, options, ended)
    except Stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        code = Exit.INTERRUPTED
    pages.write(output, [one for one in _all(records) if one["row"] in names], names)
    return code or _verdict(rows, records, at)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run matrix", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument(
        *("names",),
        nargs="*",
        metavar="NAME",
        help="only rows that are called so: a fault, a check's ID, or part of a test's name",
    )
    parser.add_argument(
        "-k", dest="expression", default="", metavar="EXPRESSION", help="only these, as in pytest"
    )
    parser.add_argument(
        *("--jobs",), type=_number, default=1, metavar="N", help="so many clusters at a time"
    )
    parser.add_argument(
        *("--drivers",),
        metavar="NAME[@VERSION][,…]",
        help="only these, and faults on each of them (default: faults on the newest version of the"
        " driver that they are made for)",
    )
    parser.add_argument(
        *("--kubernetes",),
        metavar="MINOR[,…]",
        help="only these releases, and faults on each of them that can serve them (default: faults"
        " on the default)",
    )
    parser.add_argument(
        "--every-check",
        type=_level,
        metavar="LEVEL",
        help="have every check up to this level look at each fault of the reference driver, not"
        " only those that are to find it (some minutes each)",
    )
    parser.add_argument(
        "--again", action="store_true", help="also what was tried at this commit before"
    )
    parser.add_argument(
        *("--output",), type=Path, default=OUTPUT, metavar="DIR", help="default: docs/matrix"
    )
    parser.add_argument("--commit", metavar="NAME", help="what is tried (default: git knows it)")
    return parser


def _number(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _level(text: str) -> int:
    if not 0 <= int(text) <= DEEPEST_LEVEL:
        raise ValueError
    return int(text)


def state_of(tree: Path) -> str:
    """Name the state of a tree: its commit, and what was changed in it, by a hash, but for the
    pages written here.
    """

    def git(*words: str) -> bytes:
        return subprocess.run(
            ["git", "-C", str(tree), *words], capture_output=True, check=True
        ).stdout

    others = ("--", ".", f":(exclude){OUTPUT.relative_to(ROOT)}")
    try:
        head = git("rev-parse", "HEAD").decode().strip()
        changed = git("diff", "HEAD", "--binary", *others)
        new = git("ls-files", "--others", "--exclude-standard", "-z", *others)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    if not changed + new:
        return head
    digest = hashlib.sha256(changed)
    for name in new.split(b"\0")[:-1]:
        path = tree / os.fsdecode(name)
        digest.update(name + (path.read_bytes() if path.is_file() else b""))
    return f"{head}+{digest.hexdigest()[:12]}"


def load(output: Path) -> dict[tuple[str, str, str], list[Record]]:
    """Read the last records of each row: those of the published page, then those of the journal."""
    lines: list[Record] = []
    if (page := output / pages.JSON).exists():
        lines += json.loads(page.read_text())["rows"]
    if (journal := output / JOURNAL).exists():
        for line in journal.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # the run was killed while it wrote
    found: dict[tuple[str, str, str], dict[str, Record]] = {}
    for one in lines:
        version = f"@{one['version']}" if one["version"] else ""
        of_row = found.setdefault((one["row"], one["driver"] + version, one["kubernetes"]), {})
        of_row[one["fault"]] = one
    return {key: list(of_row.values()) for key, of_row in found.items()}


def _all(records: Mapping[tuple[str, str, str], list[Record]]) -> Iterable[Record]:
    return (one for of_row in records.values() for one in of_row)


def _has_record(row: Row, records: Mapping[Any, list[Record]], at: Record) -> bool:
    """Whether a row was tried, as a whole, in this state of the tree."""
    found = {
        one["fault"]
        for one in records.get(row.key, ())
        if one["tried"] and one["commit"] == at["commit"] and _looked(one) >= _looked(at)
    }
    return found == {one.fault for one in row.tried}


def _looked(record: Record) -> int:
    """Up to which level every check looked at a fault; below all if only those that have to."""
    level: int | None = record["every_check"]
    return -1 if level is None else level


def told(records: Iterable[Record]) -> str:
    """How a row ended, for the terminal."""
    texts = []
    for one in records:
        checks = ", ".join(found["check"] for found in one["red"])
        texts.append(f"{pages.state(one)}: {one['fault']}" + (f" ({checks})" if checks else ""))
        if not one["as_declared"]:
            texts.append(f"    {one['why']}")
        seconds, where = one["seconds"], f"{one['driver']}@{one['version']}".rstrip("@")
    return "\n".join(texts) + f", {where}, Kubernetes {one['kubernetes']}, {seconds:.0f} s"


def _left(seconds: float) -> str:
    return f"{seconds / 60:.0f} min left"


def _verdict(rows: Iterable[Row], records: Mapping[Any, list[Record]], at: Record) -> int:
    """Whether each row was tried, and is as declared; says which is not."""
    rows = list(rows)
    missing = [row for row in rows if not _has_record(row, records, at)]
    wrong = [
        row
        for row in rows
        if row not in missing and not all(one["as_declared"] for one in records[row.key])
    ]
    for word, some in (("not tried", missing), ("not as declared", wrong)):
        for row in some:
            print(f"{word}: {row.name} with {row.driver} on Kubernetes {row.kubernetes}")
    print(f"{len(rows)} rows: {len(wrong)} not as declared, {len(missing)} not tried")
    return Exit.FAILED if wrong or missing else Exit.OK


if __name__ == "__main__":
    sys.exit(main())
