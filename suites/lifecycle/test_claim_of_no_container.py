"""A pod with a claim that none of its containers names."""

from __future__ import annotations

from dataclasses import replace

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps


@scenario(devices=2, admin=True)
def claim_of_no_container(steps: Steps) -> None:
    """A pod has two claims; its container names the first one only."""
    named, unnamed = steps.claim(1, "named"), steps.claim(1, "unnamed")
    user = replace(resting("user"), requests=named.requests)
    steps.start_pod("pod", [user], named, unnamed)


@check(id="NODE-006", level=2, source="NODE-6, NODE-19", scenario=claim_of_no_container)
def test_a_claim_that_no_container_names_is_prepared(evidence: Evidence) -> None:
    """A pod that has, beside a claim that its container names, one that none names MUST run, and
    both claims MUST be free when it has ended.
    """
    evidence.container("user").started.get()
    for name in ("named", "unnamed"):
        evidence.claim(name).released.get()
