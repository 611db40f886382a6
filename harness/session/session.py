"""A conformance run from its options to its exit code; pytest calls it, it calls the harness."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Protocol

from harness import __version__
from harness.checks.check import Force
from harness.cluster.anchor import RUN_LABEL
from harness.cluster.inventory import described
from harness.cluster.kube import ApiError, NoClusterError, UnreachableError
from harness.cluster.observe import Budgets
from harness.options import Options, flag
from harness.scenario.launcher import Launcher
from harness.scenario.run import SCENARIO_LABEL, Run, new_run_id
from harness.session import environment
from harness.session.cleanup import clean_up, delete_command, look_command
from harness.session.clusters import Clusters
from harness.session.preflight import preflight
from harness.session.preflight.context import Context
from harness.session.selection import PROFILES, Planned, PlannedChecks, Selection, before
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    InconclusiveError,
    SkipKind,
    UnmetError,
    broken,
    counted,
    one_line,
)
from harness.verdict.outcome import PREFLIGHT_AREA, Exit, Outcome, Record, Result
from harness.verdict.timeline import Timeline
from reports.facts import Facts
from reports.words import as_text

if TYPE_CHECKING:
    from harness.verdict.expect import Inventory


@dataclass(frozen=True)
class Ending:
    """How a check ended, as pytest has it."""

    error: BaseException | None = None
    """What ended it; None when it passed."""
    skipped: UnmetError | None = None
    """Why it was not begun."""
    traceback: str = ""
    """What pytest would show of the error."""
    timed_out: bool = False
    """Whether the error is that the check exceeded its time limit."""


def passed(planned: Planned, seconds: float = 0.0) -> Result:
    """Make the result of a check that passed."""
    check = planned.check
    return Result(
        case=check.case(planned.form),
        id=check.id,
        area=check.area,
        variant=planned.form,
        outcome=Outcome.PASS,
        sentence=check.sentence,
        force=check.force.value,
        level=check.level,
        source=check.source,
        file=planned.file,
        line=planned.line,
        seconds=seconds,
        judges_driver=check.judges_driver,
        scenario=planned.scenario.name if planned.scenario is not None else "",
    )


def interrupted(planned: Planned, by: str, seconds: float) -> Result:
    """Make the result of the check during which the run ended."""
    finding = Finding(
        head=f"{by} in the middle of this check",
        expected="a judgement",
        observed="none",
        blame=Blame.SUITE,
    )
    return passed(planned, seconds).ended(Outcome.ERROR, finding)


def judged(planned: Planned, ending: Ending, loss: Result | None, seconds: float) -> Result:
    """Make the result of a check.

    Args:
        planned: the check.
        ending: how it ended.
        loss: why nothing can be said any more of what went wrong: the cluster is lost.
        seconds: how long it took.
    """
    result = passed(planned, seconds)
    if ending.skipped is not None:
        return result.skipped(ending.skipped)
    if ending.error is None:
        return result
    if loss is not None:
        return result.skipped(UnmetError(loss.id, SkipKind.BLOCKED))
    if isinstance(ending.error, UnmetError):
        return result.skipped(ending.error)
    if isinstance(ending.error, FailedError):
        breach = Outcome.PASS if planned.check.force is Force.SHOULD else Outcome.FAIL
        return result.ended(breach, ending.error.finding)
    return result.ended(Outcome.ERROR, _inconclusive(ending.error, ending))


def _inconclusive(error: BaseException, ending: Ending) -> Finding:
    if isinstance(error, InconclusiveError):
        return error.finding
    if ending.timed_out:
        return Finding(
            head=f"the check did not end within its time limit: {one_line(str(error))}",
            expected="an end; each wait in a check has a shorter limit of its own",
            observed=ending.traceback or repr(error),
            blame=Blame.SUITE,
            likely="a fault of this suite: something waits without a limit",
        )
    return broken("the check", error, ending.traceback)


MANIFESTS = Path(__file__).parents[2] / "fixtures" / "manifests"
SERVER_ANSWERS = Result.passed(
    "PF-01", "api_server_answers", PREFLIGHT_AREA, "The API server MUST answer."
)
"""What fails where there is no cluster to make the other steps of preflight on."""
SUITE_WORKS = replace(
    Result.passed("SUITE-001", "suite_works", "suite", "The suite itself MUST NOT break."),
    judges_driver=False,
)


class Terminal(Protocol):
    """Where the run says what it does."""

    def write_line(self, line: str) -> None:
        """Write one line."""

    def flush(self) -> None:
        """Let it be read now."""


class Session:
    """One run of the checks, from its start to its end."""

    def __init__(
        self, options: Options, *, root: Path, invoked_in: Path, junit: str | None
    ) -> None:
        """Nothing is asked of any cluster yet.

        Args:
            options: what was asked for.
            root: the suite's own folder.
            invoked_in: the directory of invocation.
            junit: where JUnit goes if not into the run's folder.

        Raises:
            OptionError: the run of ``--dra-baseline`` or ``--dra-replay`` cannot be read.
        """
        self.replay = None
        """What failed in an earlier run, if that is what is to be made."""
        if options.replay is not None:
            from reports import replay  # noqa: PLC0415 - no other run needs it

            self.replay = replay.load(options.replay)
            options = replace(options, check=self.replay.ids)
        self.options = options
        self.run_id = new_run_id()
        self.folder = options.output / self.run_id
        self.junit = invoked_in / junit if junit else self.folder / "junit.xml"
        self.record = Record()
        self.selection = Selection(options, root)
        self.planned = PlannedChecks()
        """The checks that are to be made."""
        self.current: Planned | None = None
        """The check that is being made."""
        self.spent = 0.0
        """Seconds that the present check has taken so far, its fixtures included."""
        self.ended_by = ""
        """The signal that ended the run."""
        self.ending = False
        """Whether no further check is made: reports are written, and the cluster is cleaned up."""
        self.findings: list[str] = []
        """What the terminal shows at the end: each finding in full."""
        self.summary: list[str] = []
        """What stands below the findings: verdict and files."""
        self.ended: Exit | None = None
        """How it ended, if it was only to sweep, or cannot write reports: none are made."""
        self._baseline = None
        if options.baseline is not None:
            from reports import baseline  # noqa: PLC0415 - no other run needs it

            self._baseline = baseline.load(options.baseline)
        self._basis = ""
        """The check that blocks all that runs, once it is known."""
        self._root = root
        self._began = dt.datetime.now(dt.UTC)
        self._timeline = Timeline(self._began.timestamp(), SCENARIO_LABEL, {RUN_LABEL: self.run_id})
        self._run: Run | None = None
        self._found: Context | None = None
        """What preflight finds out."""
        self._clusters = Clusters(options, self.run_id, self._cluster_lost)
        self.terminal: Terminal | None = None
        self._launcher: Launcher | None = None

    # Selection

    def settle(self, planned: list[Planned]) -> None:
        """Note what is to be made."""
        self.planned = self.selection.settle(planned)
        self.record.narrowed = self.selection.narrowed

    def show_plan(self) -> None:
        """Show what would be done; of a cluster at most its version and API are asked for."""
        from harness.session import plan  # noqa: PLC0415 - no other run needs it
        from reports import times  # noqa: PLC0415 - likewise

        self.say("")
        for line in plan.lines(
            self.options,
            self._clusters.describe(),
            self.selection.driver,
            self.planned,
            self.selection.narrowed,
            times.of_levels(self.options.output),
        ):
            self.say(line)

    def show_manifest(self) -> None:
        """Show the manifest that ``--dra-manifest`` names, as it would be created.

        Raises:
            OptionError: there is none of that name, or its driver is not known.
        """
        from harness.session import manifests  # noqa: PLC0415 - no other run needs it

        for line in manifests.shown(MANIFESTS, self.options, self.selection.profile).splitlines():
            self.say(line)

    # Start

    def say(self, line: str) -> None:
        """Write a line to the terminal, if there is one."""
        if self.terminal is not None:
            self.terminal.write_line(as_text(line, "\t"))
            self.terminal.flush()  # into a pipe, too, and before an end at once

    def unwritable(self) -> str:
        """Say why reports cannot be written where they are to be; empty when they can."""
        for option, place in {flag("output"): self.folder, "--junitxml": self.junit.parent}.items():
            try:
                place.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=place).close()
            except OSError as error:
                return f"{option}: {place} cannot be written: {error.strerror}; name another place"
        return ""

    def start(self) -> bool:
        """Find the cluster and ask whether a run makes sense; False when it makes none.

        Whatever a cluster shows, this does not raise.
        """
        try:
            self.record.environment["suite"] = environment.suite(self._root)
            return self._start()
        except Exception as error:  # noqa: BLE001 - a run does not end without report
            self._note_broken(error)
            return False

    def _note_broken(self, error: Exception) -> None:
        """Say that something broke for which no check and no step stands."""
        if self.record.of(SUITE_WORKS.id, None) is None:
            self.record.add(SUITE_WORKS.ended(Outcome.ERROR, broken("the suite", error)))
            ended = (self.record.interrupted, "the suite itself broke")
            self.record.interrupted = "; ".join(filter(None, ended))

    def _start(self) -> bool:
        try:
            kube, cluster = self._clusters.connect()
        except NoClusterError as error:
            finding = self._clusters.none_found(error)
            self.record.add(SERVER_ANSWERS.ended(Outcome.ERROR, finding))
            return False
        self._run = run = Run(
            run_id=self.run_id,
            options=self.options,
            manifests=MANIFESTS,
            kube=kube,
            cluster=cluster,
            record=self.record,
        )
        run.observer.listen(self._timeline.saw)
        self.say("")
        self.say(f"CLUSTER  {self._first_line()}")
        self._found = found = Context(run, self.planned, self._root / PROFILES)
        self.record.add(*preflight(found))
        self.record.environment.update(environment.cluster(run))
        if not run.has_subject():
            return False
        run.judge_invariants()
        if not cluster.own:
            run.cluster = replace(cluster, hardware=found.hardware or cluster.hardware)
            self.planned.learn(simulated=run.cluster.hardware == "simulated")
            self.say(f"CLUSTER  {self._first_line()}")
        if self.options.expect is not None or self.options.expect_write is not None:
            self._compare(found.inventory())
        return True

    def _compare(self, found: Inventory) -> None:
        """Judge what is there by what must be, or write it down, as asked."""
        expected, path = self.options.expect, self.options.expect_write
        if expected is not None:
            self.record.add(*expected.judge(found))
        if path is not None:
            path.write_text(found.written(expected.known if expected else ()), encoding="utf-8")
            self.say(
                f"WRITTEN  {path}: what is there now; {flag('expect')}={path} compares with it"
            )

    @property
    def run(self) -> Run:
        """The run; only after a preflight that passed."""
        if self._run is None:
            raise RuntimeError("the run was not started")
        return self._run

    def _cluster_lost(self) -> None:
        """End all waits; called by another thread."""
        if self._run is not None:
            self._run.observer.stop_waits()

    # Instead of a run

    def sweep(self) -> None:
        """Only remove what runs that were killed left in the cluster, and say what."""
        from harness.session.sweep import sweep  # noqa: PLC0415 - no other run needs it

        try:
            kube, cluster = self._clusters.connect()
            self.say("")
            self.say(f"CLUSTER  {cluster.description}")
            found = sweep(kube, Budgets(self.options.timeout_scale), self.options.namespace)
        except (ApiError, NoClusterError, UnreachableError) as error:
            self.say(f"ERROR    {error}")
            self.ended = Exit.PREFLIGHT
            return
        for line in found.lines():
            self.say(line)
        self.ended = Exit.LEFTOVERS if found.left else Exit.OK

    # Checks

    def reason_to_skip(self, planned: Planned) -> UnmetError | None:
        """Say why a check cannot be made now; None when it can."""
        if loss := self._clusters.loss():
            return UnmetError(loss.id, SkipKind.BLOCKED)
        reason = self.planned.why_not(planned)
        if reason is not None:
            return reason
        if blocking := self._blocking(planned, same=True):
            return UnmetError(blocking, SkipKind.BLOCKED)
        if planned.scenario is not None and (basis := self._missing_basis()):
            return UnmetError(basis, SkipKind.BLOCKED)
        return None

    def _blocking(self, planned: Planned, *, same: bool) -> str:
        """Name what is wrong with a check that one builds on; empty where nothing is.

        Args:
            planned: the one.
            same: whether to look at those that judge the same as it, or at the others.
        """
        for earlier in before(planned, self.planned.checks):
            result = self.record.of(earlier.check.id, earlier.form)
            if result is None or planned.check.goes_with(earlier.check) is not same:
                continue
            if _is_cause(result) if same else result.red:
                return earlier.check.id
            if result.skip is SkipKind.BLOCKED:  # the first cause, not the chain to it
                return result.blocked_by
        return ""

    def _missing_basis(self) -> str:
        """Name the check that says why no pod with a claim has come and gone so far, if none has.

        Then nothing that takes one says more, and each would take minutes to say it.
        """
        if not self._basis and self.options.keep == "never":  # what is kept does not go
            for planned in filter(attrgetter("is_basic"), self.planned.checks):
                result = self.record.of(planned.check.id, planned.form)
                if result is not None and _is_cause(result) and not self.run.has_used_a_claim():
                    self._basis = planned.check.id
                    break
        return self._basis

    def launch(self) -> Launcher:
        """Begin to run the scenarios of the checks, in the order of the checks."""
        self._launcher = Launcher(self.run, self.planned.scenarios())
        self._launcher.start()
        return self._launcher

    def conclude(self, planned: Planned, ending: Ending) -> Result:
        """Note how a check ended."""
        result = judged(planned, ending, self._clusters.loss(), self.spent)
        if self.options.expect is not None:
            today = dt.datetime.now(dt.UTC).date()
            result = self.options.expect.accept_known(result, today)
        if result.red and (cause := self._blocking(planned, same=False)):
            result = result.skipped(UnmetError(cause, SkipKind.BLOCKED))
        self.spent = 0.0
        if result.red:
            result = self._with_reproduction(planned, result)
        self.record.add(result)
        return result

    def _with_reproduction(self, planned: Planned, result: Result) -> Result:
        """Write down what a failed check left, and how to make it again with kubectl alone."""
        # Runs that pass need neither.
        from harness.session import evidence_files, reproduction  # noqa: PLC0415

        evidence = None
        if planned.scenario is not None:
            evidence = self._launcher.left_by(planned.scenario) if self._launcher else None
            if evidence is None:
                return result  # it did not come to its end
            evidence = evidence.parts.get(planned.form or "", evidence)
        try:
            place = reproduction.write(self.run, result, evidence.script if evidence else None)
            evidence_files.write(self.run, Path(place).name, evidence)
        except OSError as error:
            self.say(f"ERROR    the files of {planned.name} could not be written: {error}")
            return result
        return replace(result, reproduction=place)

    # End

    def finish(self, pytest_code: int, failed: int) -> int:
        """Clean up, write reports, and answer the exit code.

        Args:
            pytest_code: as pytest would end.
            failed: how many tests failed for pytest, checks and others.
        """
        from reports import summary  # noqa: PLC0415 - what writes reports is slow to load

        if pytest_code == 2 and not self.record.interrupted:
            self.record.interrupted = f"the run was ended by {self.ended_by or 'the keyboard'}"
        self._note_what_was_not_made()
        if loss := self._clusters.loss():
            self.record.add(loss)
        kept = ""
        run = self._run
        try:
            if run is not None:
                kept = self._leave(run)
            self._clusters.close()
        except KeyboardInterrupt:
            ended = (self.record.interrupted, "the clean-up was ended before its end")
            self.record.interrupted = "; ".join(filter(None, ended))
            self.record.leftovers.append(self.possessions())
        except Exception as error:  # noqa: BLE001 - a run does not end without report
            self._note_broken(error)
            self.record.leftovers.append(self.possessions())
        try:
            self._conclude_run()
        except Exception as error:  # noqa: BLE001 - nor does this end one
            self._note_broken(error)
        if run is not None and run.journal.trouble:
            self.say(f"ERROR    {run.journal.trouble}")
        code, why = self.record.exit_code(pytest_code), ""
        if code == Exit.FAILED and run is not None and run.has_subject():
            code, why = self._without_known(run, code, failed)
        facts = self._write_reports(self._facts(code, kept))
        bundle = None
        if self.options.bundle_in_log or any(one.red for one in self.record.results):
            bundle = self._bundled(facts)
        if self.options.metrics is not None or self.options.pushgateway:
            self._measure(facts)
        self.findings = list(summary.findings(self.record))
        self.summary = list(summary.lines(self.record, facts))
        if self.replay is not None:
            self.summary += self.replay.lines(self.record, facts.server)
        if bundle is not None:
            self.summary.append(f"BUNDLE   {bundle}")
        if kept and run is not None:
            self.summary.append(f"LOOK     {look_command(run)}")
        if bundle is not None and self.options.bundle_in_log:
            from reports import in_log  # noqa: PLC0415 - few runs are asked for it

            self.summary += in_log.lines(bundle)
        if why:
            self.summary.append(why)
        return code

    def _without_known(self, run: Run, code: int, failed: int) -> tuple[int, str]:
        """Choose the exit code: known findings of the driver do not decide it, and are named."""
        from harness.verdict import known  # noqa: PLC0415 - runs that pass need it not

        ours = str(known.FILE) if run.cluster.own else "none"
        if (path := self.options.known or ours) == "none":
            return code, ""
        driver, version = run.subject.driver, run.cluster.driver_version
        there = known.failed(known.load(Path(path)), driver, version, self.record)
        if not there:
            return code, ""
        rest = known.without(there, self.record)
        others = failed - sum(result.red for result in self.record.checks())
        code = rest.exit_code(int(others > 0))
        listed = ", ".join(f"{one.check} ({one.link})" for one in there)
        found = f"{counted(len(there), 'known finding')} of {driver} {version}".rstrip()
        return code, f"KNOWN    {found}, without which the exit code is {code:d}: {listed}"

    def _bundled(self, facts: Facts) -> Path | None:
        """Pack the files of a run in which something failed, or whose log is to have them."""
        from reports import bundle  # noqa: PLC0415 - runs that pass need it not

        try:
            return bundle.write(facts.folder)
        except OSError as error:
            self.say(f"ERROR    {bundle.NAME} could not be written: {error}")
            return None

    def _measure(self, facts: Facts) -> None:
        """Tell Prometheus how the run ended, as asked; what cannot be told changes no verdict."""
        from reports import folder, metrics  # noqa: PLC0415 - few runs are asked for them

        path, url = self.options.metrics, self.options.pushgateway
        text = metrics.render(self.record, facts)
        try:
            if path is not None:
                folder.write_whole(path, text)
            if url:
                metrics.push(text, url)
        except (OSError, metrics.PushError) as error:
            self.say(f"ERROR    the metrics could not be told: {error}")

    def _conclude_run(self) -> None:
        """Add what follows from all results, and end the cluster if it is the run's own."""
        self._clusters.close()
        self.record.timeline = self._timeline.lives()
        for table in self._launcher.tables() if self._launcher is not None else ():
            self.record.add_table(table)
        if self.options.expect is not None:
            self.record.add(*self.options.expect.judge_known(self.record))
        if self._baseline is not None and not self.record.interrupted:
            ids = self.planned.ids()
            self.record.add(self._baseline.judge(self.record, self.folder, ids))
        if self.replay is not None:
            self.record.add(self.replay.judge(self.record))

    def _write_reports(self, facts: Facts) -> Facts:
        """Write them, elsewhere if there is no room where they are to be; answer where they are."""
        from reports import folder  # noqa: PLC0415 - as above
        from reports.junit import JUnitError  # noqa: PLC0415

        try:
            folder.write(self.record, facts)
        except (OSError, JUnitError) as error:
            self.say(f"ERROR    not every report could be written to {facts.folder}: {error}")
            with suppress(OSError, JUnitError):
                place = Path(tempfile.mkdtemp(prefix=f"dra-conformance-{self.run_id}-"))
                facts = replace(facts, folder=place, junit=place / self.junit.name)
                folder.write(self.record, facts)
        return facts

    def possessions(self) -> str:
        """What the run has in the cluster, with the command that removes it."""
        if self._run is None or self._run.anchor is None:
            return "nothing"
        return f"the run's objects; remove them with: {delete_command(self._run)}"

    def _leave(self, run: Run) -> str:
        """Clean up, unless asked not to; the command that does it then."""
        keep = self.options.keep
        counts, kept = self.record.counts(), ""
        red = counts[Outcome.FAIL] + counts[Outcome.ERROR] > 0
        has_something = bool(run.created or run.unanswered)
        loss = self._clusters.loss()
        if loss and run.cluster.own:
            pass  # the cluster ends with the run, and a broken one does not clean up after itself
        elif has_something and (keep == "always" or (keep == "failed" and red)):
            kept = delete_command(run)
        elif has_something:
            self.record.add(*clean_up(run, loss.id if loss else self._basis))
        if run.has_subject():
            self.record.add(*run.judge_invariants().results())
        run.close()
        return kept

    def _note_what_was_not_made(self) -> None:
        """Every planned check is in the report exactly once."""
        red = [r.id for r in self.record.results if r.area == PREFLIGHT_AREA and r.red]
        why = self.record.interrupted or (f"preflight: {', '.join(red)}" if red else "")
        for planned in self.planned.checks:
            if self.record.of(planned.check.id, planned.form) is not None:
                continue
            if self.current == planned and self.record.interrupted:
                self.record.add(interrupted(planned, self.record.interrupted, self.spent))
            else:
                reason = UnmetError(why or "the run was ended before", SkipKind.NOT_RUN)
                self.record.add(passed(planned).skipped(reason))

    def _facts(self, code: int, kept: str) -> Facts:
        run = self._run
        subject = run.subject if run is not None and run.has_subject() else None
        products: Iterable[str] = ()
        if run is not None and subject is not None:
            products = sorted({device.product for device in run.devices()})
        return Facts(
            run_id=self.run_id,
            cluster=self._first_line(),
            hardware=run.cluster.hardware if run else "none",
            kubernetes=self._found.kubernetes if self._found else "",
            server=run.kube.server.address if run else "",
            dra_api=subject.api_version if subject else "",
            driver=subject.driver if subject else "",
            profile=subject.profile.name if subject else "",
            product=", ".join(products),
            started=self._began,
            seconds=(dt.datetime.now(dt.UTC) - self._began).total_seconds(),
            exit_code=code,
            options=self.options.given(),
            folder=self.folder,
            junit=self.junit,
            host=gethostname(),
            suite=__version__,
            kept=kept,
            properties={
                f"feature.{gate}": state.value
                for gate, state in (subject.features if subject else {}).items()
            },
        )

    def _first_line(self) -> str:
        """Say which cluster it is and, once preflight knows, what is in one of others'."""
        run, found = self._run, self._found
        if run is None:
            return "no cluster"
        text = run.cluster.description
        if found is not None and run.has_subject() and not run.cluster.own:
            driver = f"driver {found.driver} (profile {run.subject.profile.name})"
            text += f", Kubernetes {found.kubernetes}, {driver}, {described(found.devices)}"
        hardware = {
            "simulated": "SIMULATED GPUs: says nothing about CUDA on hardware",
            "real": "real GPUs",
        }.get(run.cluster.hardware, "the cluster's GPUs")
        return f"{text}; {hardware}"


def _is_cause(result: Result) -> bool:
    """Whether what stands on a check is blocked by it."""
    return result.red or result.skip is SkipKind.KNOWN_ISSUE
