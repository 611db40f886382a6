"""What must be so before anything is created: each step a case of the report.

All steps that can be made are made, so that one run names all that is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.check import Check
from harness.finding import Blame, Finding, body, headline
from harness.inventory import Device, devices, driver_names, free_by_node
from harness.kinds import CLAIM, DEVICE_CLASS, SLICE
from harness.kube import ApiError, Kube, UnreachableError
from harness.options import Options
from harness.outcome import PREFLIGHT_AREA, Outcome, Result
from harness.profile import Profile, ProfileError, choose
from harness.run import Run, Subject
from harness.versions import GROUP, VERSIONS, best


class _NotSo(Exception):  # noqa: N818 - a finding on its way, no error
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.head)
        self.finding = finding


@dataclass
class _Known:
    """What the steps found out so far."""

    kubernetes: str = ""
    driver: str = ""
    profile: Profile | None = None
    devices: tuple[Device, ...] = ()
    free: dict[str, int] | None = None
    image: str = ""


class Preflight:
    """Asks the cluster whether a run makes sense."""

    def __init__(self, run: Run, checks: Iterable[Check], profiles: Path) -> None:
        self._run = run
        self._checks = list(checks)
        self._profiles = profiles
        self._known = _Known()

    @property
    def kubernetes(self) -> str:
        """The API server's version, once known."""
        return self._known.kubernetes

    def steps(self) -> list[Result]:
        """Make every step; the run's subject is set when all went well.

        A step that needs an earlier one that failed is a skip that names it.
        """
        wanted: tuple[tuple[str, str, tuple[str, ...], Callable[[], None]], ...] = (
            ("PF-01", "api_server_answers", (), self._api),
            ("PF-02", "resource_api_is_served", ("PF-01",), self._resource_api),
            ("PF-03", "driver_and_profile_are_known", ("PF-02",), self._driver),
            ("PF-04", "device_class_exists", ("PF-03",), self._device_class),
            ("PF-06", "driver_publishes_devices", ("PF-03",), self._devices),
            ("PF-07", "enough_devices_are_free", ("PF-06",), self._free),
            ("PF-13", "workload_image_is_named", (), self._image),
        )
        results: list[Result] = []
        for step_id, name, after, step in wanted:
            blocker = next(
                (r.id for r in results if r.id in after and r.outcome is not Outcome.PASS), None
            )
            results.append(self._step(step_id, name, step, blocker))
        known = self._known
        if all(result.outcome is Outcome.PASS for result in results) and known.profile is not None:
            self._run.subject = Subject(
                driver=known.driver,
                profile=known.profile,
                api_version=self._kube.dra_api,
                image=known.image,
                slots=known.free or {},
            )
        return results

    def _step(
        self, step_id: str, name: str, step: Callable[[], None], blocker: str | None
    ) -> Result:
        began = time.monotonic()
        result = Result(
            case=f"{step_id}_{name}",
            id=step_id,
            area=PREFLIGHT_AREA,
            outcome=Outcome.PASS,
            sentence=(step.__doc__ or "").strip(),
        )
        if blocker is not None:
            return replace(result, outcome=Outcome.SKIP, headline=f"blocked by {blocker}")
        try:
            step()
        except _NotSo as error:
            finding = error.finding
        except UnreachableError as error:
            finding = _finding(str(error), "the API server answers", Blame.CLUSTER)
        except ApiError as error:
            finding = _finding(
                f"the API server refuses: {error}",
                "the request is allowed",
                Blame.CLUSTER,
                "give the user or service account of this run the right that the message names",
            )
        else:
            return replace(result, seconds=time.monotonic() - began)
        return replace(
            result,
            outcome=Outcome.FAIL if finding.blame is Blame.DRIVER else Outcome.ERROR,
            headline=headline(step_id, None, finding),
            body=body(finding, result.sentence, "the same command again"),
            finding=finding,
            seconds=time.monotonic() - began,
        )

    @property
    def _kube(self) -> Kube:
        return self._run.kube

    @property
    def _options(self) -> Options:
        return self._run.options

    def _api(self) -> None:
        """The API server MUST answer."""
        self._known.kubernetes = str(self._kube.document("/version")["gitVersion"])

    def _resource_api(self) -> None:
        """The API group resource.k8s.io MUST be served in a version that the suite can use."""
        try:
            group = self._kube.document(f"/apis/{GROUP}")
        except ApiError as error:
            if error.status != 404:
                raise
            versions: list[str] = []
        else:
            versions = [str(entry["version"]) for entry in group.get("versions") or []]
        asked = self._options.api
        found = best(versions) if asked == "auto" else best({asked} & set(versions))
        if found is None:
            served = ", ".join(versions) or "no version of it"
            wanted = ", ".join(VERSIONS) if asked == "auto" else f"{asked} (--dra-api)"
            raise _NotSo(
                _finding(
                    f"the cluster does not serve {GROUP} in {wanted}; it serves {served}",
                    f"{GROUP} in {wanted}",
                    Blame.CLUSTER,
                    "--dra-api auto takes the best version that is served"
                    if best(versions)
                    else "upgrade the cluster to Kubernetes 1.34 or later, which serves v1; before,"
                    " enable the feature gate DynamicResourceAllocation and the API's beta version",
                )
            )
        self._kube.dra_api = found

    def _driver(self) -> None:
        """A driver that a profile knows MUST publish devices."""
        self._run.observer.observe(SLICE)
        published = driver_names(self._run.observer.objects(SLICE))
        wanted = self._options.driver or self._run.place.driver
        if not published or (wanted and wanted not in published):
            found = ", ".join(published) or "nobody"
            subject = f"driver {wanted}" if wanted else "no driver"
            raise _NotSo(
                _finding(
                    f"{subject} publishes {'no ' if wanted else ''}devices; published by: {found}",
                    "at least one ResourceSlice with devices",
                    Blame.DRIVER,
                    "kubectl get resourceslices; see the log of the driver's pods on the nodes",
                )
            )
        try:
            candidates = [wanted] if wanted else published
            profile = choose(self._options.profile, self._profiles, candidates)
        except ProfileError as error:
            raise _NotSo(
                _finding(str(error), "one profile that knows the driver", Blame.SUITE)
            ) from error
        fitting = [name for name in candidates if wanted or name in profile.drivers]
        if not fitting and len(published) == 1:
            fitting = published
        if len(fitting) != 1:
            raise _NotSo(
                _finding(
                    f"which driver is meant? profile {profile.name} fits"
                    f" {', '.join(fitting) or 'none'} of {', '.join(published)}",
                    "one driver",
                    Blame.SUITE,
                    "name it with --dra-driver",
                )
            )
        self._known.profile, self._known.driver = profile, fitting[0]

    def _device_class(self) -> None:
        """The driver's DeviceClass MUST exist."""
        profile = self._profile()
        try:
            self._kube.get(DEVICE_CLASS, profile.device_class)
        except ApiError as error:
            if error.status != 404:
                raise
            raise _NotSo(
                _finding(
                    f"there is no DeviceClass {profile.device_class}",
                    "the DeviceClass that the driver's installation brings",
                    Blame.DRIVER,
                    "kubectl get deviceclasses; install the driver's chart completely",
                )
            ) from error

    def _devices(self) -> None:
        """The driver MUST publish devices of the kind under test, with what identifies them."""
        profile = self._profile()
        slices = self._run.observer.objects(SLICE)
        found = devices(slices, self._known.driver, profile)
        if not found:
            raise _NotSo(
                _finding(
                    f"driver {self._known.driver} publishes no device whose attribute"
                    f" {profile.select_attribute} is {profile.select_value}",
                    f"devices with {profile.select_attribute} = {profile.select_value}",
                    Blame.DRIVER,
                    "kubectl get resourceslices -o yaml",
                )
            )
        nameless = [d for d in found if not d.uuid or not d.product or not d.node]
        if nameless:
            raise _NotSo(
                _finding(
                    f"device {nameless[0].name} is published without node,"
                    f" {profile.uuid_attribute} or {profile.product_attribute}",
                    "every device with a node and with what identifies it",
                    Blame.DRIVER,
                    "kubectl get resourceslices -o yaml",
                )
            )
        self._known.devices = tuple(found)

    def _free(self) -> None:
        """A node MUST have as many free devices as the largest check takes."""
        try:
            claims, _ = self._kube.list(CLAIM)
        except ApiError as error:
            if error.status != 403:
                raise
            # Not allowed to see others' claims: then the scheduler will say what is free.
            claims = []
        free = {n: len(f) for n, f in free_by_node(self._known.devices, claims).items()}
        self._known.free = free
        needed = max((check.devices for check in self._checks), default=0)
        if max(free.values(), default=0) < needed:
            shown = ", ".join(f"{count} on {node}" for node, count in sorted(free.items()))
            raise _NotSo(
                _finding(
                    f"the checks need {needed} free devices on one node; free are {shown}",
                    f"{needed} free devices of {self._known.driver} on one node",
                    Blame.CLUSTER,
                    "kubectl get resourceclaims --all-namespaces shows who holds devices",
                )
            )

    def _image(self) -> None:
        """The workload image MUST be known for checks that run a workload."""
        self._known.image = self._options.image or self._run.place.image
        if not self._known.image and any(check.needs for check in self._checks):
            raise _NotSo(
                _finding(
                    "no workload image is named that the cluster's nodes can pull",
                    "--dra-image IMAGE",
                    Blame.CLUSTER,
                    "push the workload image to a registry that the nodes reach and give it as"
                    " --dra-image; ./run dra needs none",
                )
            )

    def _profile(self) -> Profile:
        if self._known.profile is None:
            raise RuntimeError("a step was made before the one that it builds on")
        return self._known.profile


def _finding(head: str, expected: str, blame: Blame, next_step: str = "") -> Finding:
    return Finding(head=head, expected=expected, observed=head, blame=blame, next=next_step)
