"""A run in this process against an embedded cluster, for scripts that no check has."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.checks.check import check_of
from harness.cluster.kinds import NODE, name_of
from harness.options import resolve
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.node import Kubelet, Node
from harness.scenario.run import RESTRICTED
from harness.scenario.steps import Steps
from harness.scenario.verbs import Verb, needs_of
from harness.session.selection import Planned
from harness.session.session import Session
from harness.verdict.outcome import HYGIENE_AREA
from suites.node import test_restart

ROOT = Path(__file__).parents[2]
VERBS: tuple[Verb, ...] = (Driver.restart, Driver.stop, Driver.logs, Kubelet.restart, Node.files)


@contextmanager
def session(kubeconfig: Path, image: str, folder: Path) -> Iterator[Session]:
    """A session that has found the driver; it is cleaned up at the end."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    given = {"image": image, "allow": "privileged,disrupt", "output": str(folder)}
    made = Session(resolve(given, {}, folder), root=ROOT, invoked_in=folder, junit=None)
    check = check_of(test_restart.test_a_claim_is_unprepared_after_the_driver_has_restarted)
    assert check is not None
    made.settle([Planned(check, None)])
    assert made.start(), made.record.results
    try:
        yield made
    finally:
        made.finish(0, 0)
        audit = [result for result in made.record.results if result.area == HYGIENE_AREA]
        assert [result.headline for result in audit if result.red] == []


def perform(session: Session, script: Callable[[Steps], None]) -> Evidence:
    """Run a script that may use every verb."""
    uses = [needs_of(verb) for verb in VERBS]
    steps = Steps(session.run, Evidence("script"), None, RESTRICTED, uses=uses)
    return steps.perform(script)


def _stop_and_die(steps: Steps) -> None:
    """Stop the driver on a node, and be killed."""
    steps.driver.stop(name_of(steps.run.observer.objects(NODE)[0]))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    with session(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])) as made_here:
        perform(made_here, _stop_and_die)
