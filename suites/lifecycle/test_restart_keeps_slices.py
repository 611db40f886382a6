"""What a restart of the driver does to what it publishes."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnmetError, UnsupportedError, one_line

KUBELETS_PATIENCE = 25
"""Seconds; after 30 the kubelet removes the slices of a driver that is not back."""


@scenario(uses=(Driver.restart,))
def restart_without_a_change(steps: Steps) -> None:
    """The driver restarts and serves again: the kubelet can end a pod that has a claim."""
    claim = steps.claim(1)
    steps.start_pod("user", [resting("user")], claim)
    with steps.slices():
        away = steps.driver.restart(claim.devices[0].node)
        if away > KUBELETS_PATIENCE:
            raise UnmetError(f"the driver's new pod was ready after {away:.0f} s: too late to tell")
        steps.release()


@check(id="SLICE-012", level=2, source="SLICE-12", scenario=restart_without_a_change)
def test_a_restart_of_the_driver_keeps_its_slices(evidence: Evidence) -> None:
    """If nothing else has changed, a restart of the driver MUST leave names, generation and devices
    of its ResourceSlices as they were.
    """
    every, (device,) = evidence.slices.get(), evidence.claim("gpus").devices
    slices = every.of_node(device.node)
    if not slices.before:
        raise UnsupportedError("the driver publishes no ResourceSlice of one node")
    if found := slices.differences():
        evidence.fail(
            f"after a restart of the driver {one_line(found[0], 70)}",
            expected="the same ResourceSlices, with the same generation and devices",
            observed="\n".join([*found, *map(str, slices.writes)]),
        )
