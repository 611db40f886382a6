"""Taints that a scenario gives to a device that it holds, each by a DeviceTaintRule of its own."""

from __future__ import annotations

from collections.abc import Collection
from http.client import FORBIDDEN, NOT_FOUND

from harness.cluster.anchor import anchor_name
from harness.cluster.inventory import Device, key_of, results
from harness.cluster.kinds import CLAIM, TAINT_RULE, Object, Rule, name_of
from harness.cluster.kube import ApiError
from harness.scenario.run import SCENARIO_LABEL
from harness.scenario.verbs import Deleting, Needs, Verbs, needs
from harness.verdict.finding import SkipKind, UnmetError, UnsupportedError

KEY = "dra-conformance.io/check"
"""Of every taint of a run."""
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"


def rule_values(name: str, device: tuple[str, str, str], run: str, effect: str) -> dict[str, str]:
    """Make the values of the template of a rule.

    Args:
        name: of the rule.
        device: driver, pool and name.
        run: the ID of the run.
        effect: `NO_SCHEDULE` or `NO_EXECUTE`.
    """
    values = dict(zip(("driver", "pool", "device"), device, strict=True))
    return {**values, "name": name, "key": KEY, "run": run, "effect": effect}


class Taints(Verbs):
    """Taints of the scenario's devices; they go at its end, and with the run at the latest."""

    def __init__(self, steps: Deleting, uses: Collection[Needs]) -> None:
        super().__init__(steps, uses)
        self._rules: list[Object] = []

    @needs(
        "a device that the run holds is tainted, by a DeviceTaintRule of the run for it alone",
        (),
        Rule(
            *(TAINT_RULE, ("create", "delete", "get"), "a taint of a device that the run holds"),
            anywhere=True,
            needed=False,
        ),
    )
    def add(self, device: Device, effect: str) -> None:
        """Taint one device that no claim of others has, not even to look at.

        Args:
            device: which.
            effect: `NO_SCHEDULE` keeps claims away; `NO_EXECUTE` ends pods that use it, too.

        Raises:
            UnmetError: the run may not do that, or somebody else has the device.
            UnsupportedError: the cluster has no such rules.
        """
        others = [
            claim
            for claim in self._run.observer.objects(CLAIM)
            if not self._run.is_mine(claim) and device.key in map(key_of, results(claim))
        ]
        if others:
            raise UnmetError(f"claim {name_of(others[0])} of others has {device.name}, too")
        name = f"{anchor_name(self._run.id)}-{self._steps.name}-{effect.lower()}"
        rule = self._run.render(
            "taint-rule.yaml.j2",
            rule_values(name, (device.driver, device.pool, device.name), self._run.id, effect),
        )
        rule["metadata"]["labels"] = {SCENARIO_LABEL: self._steps.name}
        try:
            self._rules.append(self._steps.create_object(rule))
        except ApiError as error:
            if error.status == NOT_FOUND:
                reason = "the API server serves no DeviceTaintRule (DRADeviceTaintRules)"
                raise UnsupportedError(reason) from error
            if error.status == FORBIDDEN:
                reason = "it creates a DeviceTaintRule, which the run may not do"
                raise UnmetError(reason, SkipKind.NOT_ALLOWED) from error
            raise
        self._steps.step(f"{device.name} of pool {device.pool} tainted: {effect}")

    def remove_all(self) -> None:
        """Take the taints away again."""
        while self._rules:
            self._steps.delete_object(self._rules[-1])
            self._steps.step(f"taint {self._rules.pop()['spec']['taint']['effect']} removed")
