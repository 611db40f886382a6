"""A container that ends and is started again."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import one_line
from suites.given import must_be_shown


@scenario(admin=True)
def container_restart(steps: Steps) -> None:
    """A container that uses a claim is killed and starts again; beside it is one without it."""
    specs = [resting("user", killed_after=2), resting("other", uses_claims=False)]
    user, other = steps.start_pod("pod", specs, steps.claim(), restart="Always")
    steps.await_restart(user)
    steps.await_report(user, other)


@check(id="LIFE-002", level=2, source="LIFE-2", scenario=container_restart)
def test_a_container_that_restarts_has_the_same_devices(evidence: Evidence) -> None:
    """A container that is started again in its pod MUST have the devices that it had before."""
    without = evidence.report("other").given()
    before, after = (evidence.report("user", start).given() - without for start in (0, 1))
    must_be_shown(before)
    if before != after:
        now, then = sorted(after - before), sorted(before - after)
        evidence.fail(
            f"after its restart the container has {one_line((now or ['nothing'])[0], 28)} instead"
            f" of {one_line((then or ['nothing'])[0], 28)}",
            expected=", ".join(sorted(before)),
            observed=", ".join(sorted(after)) or "nothing",
        )
