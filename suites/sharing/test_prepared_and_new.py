"""A pod with two claims, of which another pod uses one already."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError
from suites.given import WITHOUT, given, must_be_shown


@scenario(devices=2)
def prepared_and_new(steps: Steps) -> None:
    """A pod runs with a claim; another one joins that has a second claim, too."""
    prepared, new = steps.claim(1, "prepared"), steps.claim(1, "new")
    specs = [resting("first"), resting(WITHOUT, uses_claims=False)]
    steps.await_report(*steps.start_pod("first", specs, prepared))
    steps.await_report(*steps.start_pod("both", [resting("both")], prepared, new))


@check(
    id="SHARE-006",
    level=2,
    source="SHARE-6",
    scenario=prepared_and_new,
    after=("LIFE-002",),
)
def test_a_pod_can_use_a_prepared_claim_and_a_new_one(evidence: Evidence) -> None:
    """A pod that uses a claim which is prepared already and one which is not MUST run, with the
    devices of both: those of the first claim are the ones that another pod has.
    """
    first, both = given(evidence, "first"), given(evidence, "both")
    must_be_shown(first, both)
    if evidence.claim("prepared").devices == evidence.claim("new").devices:
        raise UnsupportedError("both claims have shares of one device, and it shows once")
    nodes = {one for one in first if one.startswith("/dev/")}
    lost = nodes - both
    if not nodes and first.isdisjoint(both):  # of variables, one may overwrite another's
        lost = first
    if lost or both <= first:
        evidence.fail(
            f"of its two claims the container has nothing of the {'first' if lost else 'second'}",
            expected=f"{', '.join(sorted(nodes or first))}, and more for the second claim",
            observed=", ".join(sorted(both)) or "nothing",
        )
