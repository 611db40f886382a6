"""ResourceSlices of the driver, deleted or edited behind its back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from harness.cluster.kinds import SLICE, Object, Rule, name_of
from harness.options import Impact
from harness.scenario.changes import FieldsChange
from harness.scenario.slice_writes import (
    await_rest,
    devices_by_name,
    slices_of_node,
    version_of,
)
from harness.scenario.verbs import Needs, Verbs, Waiting, needs
from harness.verdict.finding import Blame, UnmetError

_DELETED = Rule(SLICE, ("delete",), "a ResourceSlice of the driver, to see it back", anywhere=True)
_EDITED = Rule(
    *(SLICE, ("get", "update"), "a ResourceSlice of the driver, to see it put right"), anywhere=True
)


class SliceChanges(Verbs):
    """What somebody else does to the driver's slices; it is the driver that puts them right."""

    def __init__(self, steps: Waiting, uses: Collection[Needs]) -> None:
        super().__init__(steps, uses)
        self._edits: list[FieldsChange] = []
        self._wanted: dict[str, Mapping[str, Object]] = {}
        """What the driver published of a node before, by the node's name."""
        self._changed: dict[str, Object] = {}
        """The slice that was changed, as it was, by the node's name."""

    @needs(
        "a ResourceSlice of the driver is deleted; the driver publishes it again",
        {Impact.DISRUPT},
        _DELETED,
    )
    def delete(self, node: str) -> None:
        """Delete a slice of a node that nobody has written for a minute (`await_rest`).

        Raises:
            JudgementError: there is none.
        """
        await_rest(self._run, node)
        item = self._slice(node)
        self._steps.script.do(f"kubectl delete {self._named(item)}")
        self._run.changes.delete(item, f"for {self._steps.name}; the driver publishes it again")
        self._steps.step(f"ResourceSlice {name_of(item)} of {node} deleted")

    @needs(
        "a device is taken out of a ResourceSlice of the driver; the driver puts it back",
        {Impact.DISRUPT},
        _EDITED,
    )
    def edit(self, node: str) -> None:
        """Take a device out of a slice of a node.

        Raises:
            JudgementError: there is none.
        """
        item = self._slice(node)
        devices: list[Any] = item["spec"].get("devices") or []
        after = {"spec.devices": devices[:-1]}
        last = json.dumps([{"op": "remove", "path": f"/spec/devices/{len(devices) - 1}"}])
        self._steps.script.do(f"kubectl patch {self._named(item)} --type=json --patch='{last}'")
        why = f"a device less, for {self._steps.name}; the driver puts it back"
        self._edits.append(self._run.changes.fields(item, after, why, others_may=True))
        self._steps.step(f"ResourceSlice {name_of(item)} of {node} has a device less")

    def await_mended(self) -> list[str]:
        """Wait until what was deleted or edited is as the driver wants it, or time is up.

        Returns:
            The nodes of which something is still wrong, until it is put back.
        """

        def wrong() -> list[str]:
            return [node for node in self._wanted if not self._is_mended(node)]

        self._steps.wait(
            f"the ResourceSlices of {' and '.join(self._wanted)} to be put right",
            lambda: not wrong(),
            self._run.budgets.start,
            lambda: f"not those of {' and '.join(wrong())}",
            Blame.DRIVER,
            optional=True,
        )
        left = wrong()
        self._steps.step(f"not put right: {', '.join(left) or 'none'}")
        return left

    def put_back(self) -> None:
        """Undo what the driver has not."""
        for change in self._edits:
            self._run.changes.put_back(change)
        self._edits.clear()
        if self._wanted:
            self._wanted.clear()
            self._run.judge_invariants().settle()

    def _named(self, item: Object) -> str:
        """Name a slice for a command; it has another name whenever it is made again."""
        spec = item["spec"]
        fields = f"spec.driver={spec['driver']},spec.nodeName={spec['nodeName']}"
        found = f"kubectl get resourceslices --field-selector={fields} --output=name"
        return f'"$({found} | head -n 1)"'

    def _slice(self, node: str) -> Object:
        """The slice to change; what there is now is what the driver wants."""
        found = slices_of_node(self._run, node)
        item = next((one for one in found if one["spec"].get("devices")), None)
        if item is None:
            raise UnmetError(f"the driver has no ResourceSlice with devices of {node}")
        if not self._wanted:
            self._run.judge_invariants().disturb()
        self._wanted[node], self._changed[node] = devices_by_name(found), item
        return item

    def _is_mended(self, node: str) -> bool:
        """Whether there is another version of what was changed, and all is as it was."""
        now = slices_of_node(self._run, node)
        seen = version_of(self._changed[node]) not in map(version_of, now)
        return seen and devices_by_name(now) == self._wanted[node]
