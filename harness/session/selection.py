"""Which checks a run makes, and whether each can run: decided here, by what is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from embedded.options import DEFAULT_GPUS, gpus_of_nodes
from harness.checks.check import Check
from harness.cluster.kinds import Rule
from harness.cluster.profile import UNKNOWN, Profile, ProfileError, load_all, named
from harness.options import Impact, OptionError, Options, flag
from harness.scenario.scenario import Scenario
from harness.session.permissions import rules
from harness.verdict.finding import SkipKind, UnmetError, UnsupportedError, few_devices

SUITES = "suites"
CATALOGUE = "checks.lock"
PROFILES = "profiles"
_DECLARED = re.compile(r'\bid="([A-Z]{2,8}-[0-9]{3})"')
_NAMED = re.compile(r'"([A-Z]{2,8}-[0-9]{3})"')

_DOES = {
    Impact.EXHAUST: "takes every free GPU of a node",
    Impact.PRIVILEGED: "runs privileged pods",
    Impact.DISRUPT: "restarts the driver or the kubelet",
}


@dataclass(frozen=True)
class Planned:
    """One check in one form."""

    check: Check
    form: str | None
    file: str = ""
    line: int | None = None

    @property
    def name(self) -> str:
        """As reports spell it."""
        return self.check.id + (f"[{self.form}]" if self.form else "")

    @property
    def scenario(self) -> Scenario | None:
        """What runs for it; None: it only reads."""
        return self.check.scenario_of(self.form)

    @property
    def is_basic(self) -> bool:
        """Whether it judges a scenario that is basic."""
        return self.scenario is not None and self.scenario.basic

    @property
    def impacts(self) -> frozenset[Impact]:
        """How it can be noticed by others."""
        return self.scenario.impacts if self.scenario is not None else frozenset()


def before(planned: Planned, others: Iterable[Planned]) -> list[Planned]:
    """Find those among some checks that must have passed for one to say anything.

    Each in the same form; in every form, if it has none in common with that one. Forms of different
    scenarios that happen to have one name are not the same.
    """
    own = {(form.name, form.scenario.name) for form in planned.check.forms}
    found: list[Planned] = []
    for name in planned.check.after:
        every = [one for one in others if one.check.id == name]
        common = any(one.scenario and (one.form, one.scenario.name) in own for one in every)
        found += [one for one in every if one.form == planned.form or not common]
    return found


class PlannedChecks:
    """The checks of a run in their order, and what is known of the cluster they are made on."""

    def __init__(self, checks: Iterable[Planned] = ()) -> None:
        self.checks = tuple(checks)
        self._allowed: frozenset[Impact] = frozenset()
        self._profile: Profile | None = None
        self._largest: int | None = None
        self._admin = False
        self._simulated = False

    def learn(
        self,
        *,
        allowed: Collection[Impact] | None = None,
        profile: Profile | None = None,
        largest: int | None = None,
        admin: bool = False,
        simulated: bool = False,
    ) -> None:
        """Take what has become known.

        Args:
            allowed: the impacts that scenarios may have.
            profile: the driver's.
            largest: the most devices that one node has free.
            admin: the run claims with admin access only.
            simulated: the GPUs are.
        """
        self._simulated = self._simulated or simulated
        self._admin = self._admin or admin
        self._allowed = self._allowed if allowed is None else frozenset(allowed)
        self._profile = self._profile if profile is None else profile
        self._largest = self._largest if largest is None else largest

    def ids(self) -> set[str]:
        """The IDs of the checks."""
        return {planned.check.id for planned in self.checks}

    def possible(self) -> list[Planned]:
        """The checks that can run, as far as is known."""
        return [planned for planned in self.checks if self.why_not(planned) is None]

    def scenarios(self) -> list[Scenario]:
        """What runs for the possible checks, each once, in their order."""
        found: dict[str, Scenario] = {}
        for planned in self.possible():
            if planned.scenario is not None:
                found.setdefault(planned.scenario.name, planned.scenario)
        return list(found.values())

    def rules(self, options: Options) -> tuple[Rule, ...]:
        """What a run of the possible checks may have to do, as rights."""
        scenarios = self.scenarios()
        return rules(
            creates=bool(scenarios),
            namespace=options.namespace,
            selects_nodes=bool(options.node_selector),
            used=dict.fromkeys(rule for one in scenarios for use in one.uses for rule in use.rules),
        )

    def why_not(self, planned: Planned) -> UnmetError | None:
        """Say why a check cannot run, whatever comes of others; None when it can."""
        forbidden = sorted(planned.impacts - self._allowed)
        if forbidden:
            them = ",".join(forbidden)
            does = " and ".join(_DOES[impact] for impact in forbidden)
            return UnmetError(f"{does}; enable with {flag('allow')} {them}", SkipKind.NOT_ALLOWED)
        unmet = self._unmet(planned.scenario) if planned.scenario else None
        if unmet is None and planned.check.hardware_only and self._simulated:
            return UnsupportedError("needs real GPUs, and these are simulated")
        return unmet

    def _unmet(self, scenario: Scenario) -> UnmetError | None:
        """What a scenario needs of the driver and of the nodes, and they have not."""
        if self._admin and scenario.devices and not scenario.admin:
            return UnmetError(f"{flag('admin')} takes none", SkipKind.OWN_DEVICES)
        if scenario.needs and self._profile is not None:
            lacking = _lacking(scenario.needs, self._profile)
            if lacking:
                return UnsupportedError(f"needs devices visible by {scenario.needs}; {lacking}")
        if self._largest is not None and scenario.devices > self._largest:
            return few_devices(scenario.devices, self._largest)
        return None


def files_of(asked: Collection[str], suites: Path) -> frozenset[Path] | None:
    """Find the files that have some checks, and those that they build on, without importing any.

    A file that names another check is taken to build on it.

    Returns:
        None where every file has to be read: no check is asked for, or one that none has.
    """
    texts: dict[Path, str] = {}
    homes: dict[str, Path] = {}
    for path in suites.rglob("test_*.py"):
        texts[path] = path.read_text(encoding="utf-8")
        homes |= dict.fromkeys(_DECLARED.findall(texts[path]), path)
    if not asked or not homes.keys() >= set(asked):
        return None
    found: set[Path] = set()
    names = list(asked)
    while names:
        home = homes.get(names.pop())
        if home is not None and home not in found:
            found.add(home)
            names += _NAMED.findall(texts[home])
    return frozenset(found)


def _lacking(needs: str, profile: Profile) -> str:
    """Why devices of a driver are not seen as a scenario needs it; empty when they are."""
    if profile.visible_by == UNKNOWN:
        return f"how these are is not known ({flag('visible_by')} tells)"
    if profile.visible_by != needs:
        return f"these are by {profile.visible_by}"
    if "uuid" not in profile.attributes:
        return f"which attribute is their UUID is not known ({flag('profile')}=FILE)"
    return ""


class Selection:
    """The checks that options ask for."""

    def __init__(self, options: Options, root: Path) -> None:
        self._options = options
        self._root = root
        self.driver = ""
        """The driver in words, as far as options tell."""
        self.profile: Profile | None = None
        """The driver's, as far as options tell."""
        self.narrowed = ""
        """Why they are not all of the catalogue; empty when they are."""
        self._suites = root / SUITES
        self._files = files_of(options.check, self._suites)

    def is_needed(self, path: Path) -> bool:
        """Whether a file can have a check that was asked for; other files need no import."""
        return self._files is None or path in self._files or self._suites not in path.parents

    def choose(self, checks: Iterable[Check]) -> set[str]:
        """The IDs of the checks to make: those asked for, and those that they build on.

        Only those of a scenario that runs anyway, or of none: a run of some checks neither takes
        longer for the others nor does what it was not asked for.

        Raises:
            OptionError: a check or a profile was asked for that there is not.
        """
        self._look_for_driver()
        known = {check.id: check for check in checks}
        for name in self._options.check:
            if name not in known:
                raise OptionError(
                    f"{flag('check')} {name}: there is no such check; the nearest are"
                    f" {', '.join(get_close_matches(name, known, n=5, cutoff=0))}"
                    f" (all: {flag('plan')})"
                )
        asked = list(self._options.check) or list(known)
        chosen: set[str] = set()
        while asked:
            name = asked.pop()
            if name not in chosen and name in known:
                chosen.add(name)
                after = (one for one in known[name].after if one in known)
                asked += (one for one in after if known[name].goes_with(known[one]))
        return {name for name in chosen if known[name].level <= self._options.level}

    def settle(self, checks: list[Planned]) -> PlannedChecks:
        """Answer what is to be made with what options tell of it; note why it is not everything."""
        planned = PlannedChecks(checks)
        planned.learn(
            allowed=self._options.allowed(),
            profile=self.profile,
            largest=self._largest_of_options(),
            admin=self._options.admin,
            simulated=self._simulates(),
        )
        lock = self._suites / CATALOGUE
        if lock.exists():
            catalogue = re.findall(r"^([A-Z]\S*) ", lock.read_text(encoding="utf-8"), re.MULTILINE)
            missing = sorted({*catalogue} - planned.ids())
            if missing:
                self.narrowed = f"not selected: {', '.join(missing)}"
        return planned

    def _largest_of_options(self) -> int | None:
        """The most devices that one node will have; None where only the cluster knows."""
        if not self._simulates():
            return None
        nodes = gpus_of_nodes(self._options.embedded.gpus or DEFAULT_GPUS)
        return max(sum(gpus.count for gpus in node) for node in nodes)

    def _simulates(self) -> bool:
        """Whether the run brings simulated GPUs up."""
        options = self._options
        return options.cluster == "embedded" and options.embedded.hardware == "simulated"

    def _look_for_driver(self) -> None:
        name, wanted = self._options.driver or self._embedded_driver(), self._options.profile
        folder = self._root / PROFILES
        try:
            knowing = (profile for profile in load_all(folder) if name in profile.drivers)
            self.profile = named(wanted, folder) if wanted else next(knowing, None)
        except ProfileError as error:
            shown = f"{flag('profile')} {wanted}: " if wanted else ""
            raise OptionError(f"{shown}{error}") from error
        if self.profile is not None:
            told = self._options
            self.profile = self.profile.where_told(
                device_class=told.class_,
                visible_by=told.visible_by,
                channel_class=told.channel_class,
            )
        if self.profile is None:
            who = name or "the one that publishes devices, found when the run starts"
            self.driver = f"{who}; what it supports is not known yet"
        else:
            known = name or ", ".join(self.profile.drivers)
            self.driver = f"{known} (profile {self.profile.name})"

    def _embedded_driver(self) -> str:
        """The driver that an embedded cluster is brought up with; empty for other clusters."""
        if self._options.cluster != "embedded":
            return ""
        try:
            # Only when asked for: other clusters do without the packages that it needs.
            from embedded.drivers import DRIVERS  # noqa: PLC0415
        except ImportError:
            return ""
        driver = DRIVERS.get(self._options.embedded.driver.split(",")[0])
        return driver.name if driver is not None else ""
