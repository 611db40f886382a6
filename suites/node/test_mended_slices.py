"""What becomes of ResourceSlices that somebody else deletes or edits."""

from __future__ import annotations

from functools import partial

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.slice_changes import SliceChanges
from harness.scenario.slice_writes import devices_by_name, written
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError


@scenario(uses=(SliceChanges.delete, SliceChanges.edit, Driver.restart))
def mended_slices(steps: Steps) -> None:
    """A ResourceSlice is deleted, and a device taken out of one, on two nodes if there are two."""
    with steps.slices() as seen:
        steps.start_pod("user", [resting("user")], steps.claim(1))
        published = {str(item["spec"].get("nodeName") or "") for item in seen.before} - {""}
        nodes = sorted(published, key=partial(written, steps.run))
        if not nodes:
            raise UnsupportedError("the driver publishes no ResourceSlice of one node")
        deleted, edited = nodes[0], nodes[-1]
        steps.evidence.nodes |= {"deleted": deleted, "edited": edited}
        steps.slice.delete(deleted)
        wrong = steps.slice.await_mended() if deleted == edited else []
        if not wrong:
            steps.slice.edit(edited)
            wrong = steps.slice.await_mended()
    steps.slice.put_back()
    for node in wrong:
        steps.driver.restart(node)


@check(id="SLICE-015", level=2, source="SLICE-15", scenario=mended_slices)
def test_a_deleted_slice_comes_back(evidence: Evidence) -> None:
    """A ResourceSlice that somebody deletes MUST be published again."""
    _see_mended(evidence, "deleted", "was deleted")


@check(id="SLICE-037", level=2, source="SLICE-15", scenario=mended_slices, after=("SLICE-015",))
def test_an_edited_slice_is_put_right(evidence: Evidence) -> None:
    """A ResourceSlice that somebody edits MUST be put right."""
    _see_mended(evidence, "edited", "lost a device")


def _see_mended(evidence: Evidence, what: str, how: str) -> None:
    every = evidence.slices.get()
    node = evidence.node(what)
    slices = every.of_node(node)
    missing = devices_by_name(slices.before).keys() - devices_by_name(slices.after).keys()
    if missing:
        evidence.fail(
            f"the driver does not publish again what a ResourceSlice of {node} said that {how}",
            expected="the same devices as before, soon",
            observed=f"missing: {', '.join(sorted(missing))}\n"
            + "\n".join(map(str, slices.writes)),
        )
