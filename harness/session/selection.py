"""Which checks a run makes, and what can be told of them before any cluster is asked."""

from __future__ import annotations

from pathlib import Path

from embedded.options import gpus_of_nodes
from harness.checks.check import Check
from harness.cluster.profile import Profile, ProfileError, load_all, named
from harness.options import OptionError, Options, flag
from harness.session.plan import Plan
from harness.session.planned import Planned, PlannedChecks

CATALOGUE = Path("suites") / "checks.lock"
PROFILES = "profiles"


class Selection:
    """The checks that options ask for."""

    def __init__(self, options: Options, root: Path) -> None:
        self._options = options
        self._root = root
        self._driver: tuple[str, Profile | None] = ("", None)
        """The driver in words, and its profile, as far as options tell."""
        self.planned = PlannedChecks()
        self.narrowed = ""
        """Why they are not all of the catalogue; empty when they are."""

    def choose(self, checks: list[Check]) -> set[str]:
        """The IDs of the checks to make: those asked for, and those that they build on.

        Raises:
            OptionError: a check or a profile was asked for that there is not.
        """
        self._driver = self._driver_of_options()
        known = {check.id: check for check in checks}
        unknown = [name for name in self._options.check if name not in known]
        if unknown:
            raise OptionError(
                f"{flag('check')} {unknown[0]}: there is no such check; there are"
                f" {', '.join(sorted(known))}"
            )
        asked = list(self._options.check) or list(known)
        chosen: set[str] = set()
        while asked:
            name = asked.pop()
            if name not in chosen and name in known:
                chosen.add(name)
                asked += known[name].after
        return {name for name in chosen if known[name].level <= self._options.level}

    def settle(self, checks: list[Planned]) -> None:
        """Note what is to be made, why it is less than everything, and what options tell of it."""
        self.planned = PlannedChecks(checks)
        own = self._options.cluster == "embedded"
        self.planned.learn(
            allowed=self._options.allowed(own_cluster=own),
            visible_by=profile.visible_by if (profile := self._driver[1]) else None,
            largest=self._largest_of_options(),
        )
        lock = self._root / CATALOGUE
        if lock.exists():
            lines = lock.read_text(encoding="utf-8").splitlines()
            catalogue = {line.split()[0] for line in lines if line and not line.startswith("#")}
            missing = sorted(catalogue - self.planned.ids())
            if missing:
                self.narrowed = f"not selected: {', '.join(missing)}"

    def plan(self, cluster: str) -> Plan:
        """Tell what a run on a cluster would do, as far as the options tell."""
        return Plan(self._options, cluster, self._driver[0], self.planned, self.narrowed)

    def _largest_of_options(self) -> int | None:
        """The most devices that one node will have; None where only the cluster knows."""
        options = self._options
        if options.cluster != "embedded" or options.embedded.hardware != "simulated":
            return None
        nodes = gpus_of_nodes(options.embedded.gpus)
        return max(sum(gpus.count for gpus in node) for node in nodes)

    @property
    def profile(self) -> Profile | None:
        """The driver's profile, as far as options tell."""
        return self._driver[1]

    def _driver_of_options(self) -> tuple[str, Profile | None]:
        name, wanted = self._options.driver or self._embedded_driver(), self._options.profile
        try:
            profiles = load_all(self._root / PROFILES)
            profile = next((p for p in profiles if name in p.drivers), None)
            if wanted:
                profile = named(wanted, self._root / PROFILES)
        except ProfileError as error:
            shown = f"{flag('profile')} {wanted}: " if wanted else ""
            raise OptionError(f"{shown}{error}") from error
        if profile is None:
            who = name or "the one that publishes devices, found when the run starts"
            return f"{who}; what it supports is not known yet", None
        shown = name or ", ".join(profile.drivers)
        return f"{shown} (profile {profile.name})", profile

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
