"""What the steps of preflight share: what they are told, and what they found out so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.client import FORBIDDEN
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.cluster.anchor import Candidate, candidates
from harness.cluster.features import State
from harness.cluster.inventory import Device
from harness.cluster.kinds import Object, name_of
from harness.cluster.kube import ApiError
from harness.cluster.profile import Profile
from harness.options import Impact
from harness.scenario.program import config_map_of
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run, Subject
from harness.session.selection import PlannedChecks
from harness.verdict.finding import Blame, Finding, FindingError, judge

if TYPE_CHECKING:
    from harness.verdict.expect import Inventory

T = TypeVar("T")


def step_failed(
    head: str, expected: str, blame: Blame, next_step: str = "", observed: str = ""
) -> FindingError:
    """A finding that ends the run."""
    return judge(Finding(head, expected, observed or head, blame, next=next_step))


def unless_refused(ask: Callable[[], list[T]], refusals: Collection[int] = (FORBIDDEN,)) -> list[T]:
    """What the API server answers; nothing where it refuses with one of these statuses."""
    try:
        return ask()
    except ApiError as error:
        if error.status in refusals:
            return []
        raise


@dataclass
class Context:
    """A run before its first check."""

    run: Run
    checks: PlannedChecks
    """What the run is to make; it learns what the steps find out."""
    profiles: Path
    kubernetes: str = ""
    driver: str = ""
    profile: Profile | None = None
    device_class: str = ""
    nodes: tuple[Object, ...] = ()
    devices: tuple[Device, ...] = ()
    hardware: str = ""
    """What all nodes with devices say of their GPUs: ``simulated``, ``real``, or nothing."""
    partitions: int = 0
    free: dict[str, int] | None = None
    """How many devices of each node nobody holds; None: not known yet."""
    image: str = ""
    features: Mapping[str, State] = field(default_factory=dict)

    def the_profile(self) -> Profile:
        """The driver's profile; only after the step that finds it."""
        if self.profile is None:
            raise RuntimeError("a step was made before the one that it builds on")
        return self.profile

    def creates(self) -> bool:
        """Whether the checks make any objects."""
        return bool(self.checks.scenarios())

    @cached_property
    def others(self) -> list[Candidate]:
        """What looks like other runs' anchors, as far as it may be seen; looked for once."""
        # Where the right is one that the run needs, PF-09 has said so.
        return unless_refused(lambda: candidates(self.run.kube, self.run.options.namespace))

    def standards(self) -> list[str]:
        """The Pod Security Standards of the namespaces that the checks need."""
        for scenario in self.checks.scenarios():
            if Impact.PRIVILEGED in scenario.impacts:
                return [RESTRICTED, PRIVILEGED]
        return [RESTRICTED]

    def used_nodes(self) -> list[Object]:
        """The nodes with devices under test, as far as nodes may be seen."""
        used = set(map(attrgetter("node"), self.devices))
        return [node for node in self.nodes if name_of(node) in used]

    def subject(self) -> Subject:
        """The driver under test, once every step went well."""
        return Subject(
            driver=self.driver,
            # Whoever asks for devices asks by the class that was found.
            profile=replace(self.the_profile(), device_class=self.device_class),
            api_version=self.run.kube.dra_api,
            image=self.image,
            slots=self.free or {},
            features=self.features,
            program=config_map_of(self.run.id) if self.run.options.brings_program else "",
            shell=bool(self.run.options.shell_image),
            user=self.run.options.run_as,
        )

    def inventory(self) -> Inventory:
        """What there is, once every step went well."""
        from harness.verdict.expect import Inventory  # noqa: PLC0415 - most runs do without

        return Inventory(
            kubernetes=self.kubernetes,
            driver=self.driver,
            devices=self.devices,
            driver_versions=tuple(sorted({d.version for d in self.devices if d.version})),
            partitions=self.partitions,
            features=self.features,
        )
