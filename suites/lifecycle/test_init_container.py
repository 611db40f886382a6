"""An init container, and the container that starts when it has ended."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import INIT, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import one_line
from suites.given import must_be_shown


@scenario(admin=True)
def init_container(steps: Steps) -> None:
    """An init container uses a claim, and after it a container; beside that is one without it."""
    specs = [resting("init", kind=INIT), resting("user"), resting("other", uses_claims=False)]
    steps.await_report(*steps.start_pod("pod", specs, steps.claim()))


@check(id="SHARE-002", level=2, source="SHARE-2", scenario=init_container)
def test_an_init_container_has_the_devices_of_the_container_after_it(evidence: Evidence) -> None:
    """An init container that names a claim MUST have its devices, and the container after it that
    names it the same.
    """
    without = evidence.report("other").given()
    first, after = (evidence.report(role).given() - without for role in ("init", "user"))
    must_be_shown(first, after)
    if first != after:
        then, now = sorted(first - after), sorted(after - first)
        evidence.fail(
            f"the init container has {one_line((then or ['nothing'])[0], 28)}, the container"
            f" after it {one_line((now or ['nothing'])[0], 28)}",
            expected="the same devices in both",
            observed="\n".join(", ".join(sorted(given)) or "nothing" for given in (first, after)),
        )
