"""What the suite knows: causes, profiles, devices, reports of the workload, checks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.checks.check import Check, Force, check, check_of
from harness.cluster.inventory import (
    devices,
    driver_names,
    free_by_node,
    partitions,
    pools,
    selector,
)
from harness.cluster.kinds import Object
from harness.cluster.observe import Budgets
from harness.cluster.profile import NO_POD, ProfileError, choose, load, load_all
from harness.options import Impact
from harness.scenario.report import offer_of, parse, parse_termination
from harness.scenario.scenario import Scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import Blame
from workload.reading import ReportError
from workload.result import AfterGone, NvmlGpu, Problem, Seen, Termination, Verdict

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"
NVIDIA = PROFILES / "nvidia.yaml"


# Causes


@pytest.mark.parametrize(
    ("error", "blame", "words"),
    [
        (Problem("", "invalid device context", 201), Blame.DRIVER, "own PIDs differ"),
        (Problem("", "invalid argument", 1), Blame.DRIVER, "or the memory was freed"),
        (Problem("", "invalid handle", 400), Blame.WORKLOAD, "exported the memory is gone"),
        (Problem("", "unsupported PTX", 222), Blame.WORKLOAD, "too new"),
        (Problem("", "no device", 100), Blame.DRIVER, "/dev/nvidiaN"),
        (Problem("", "libcuda.so.1: cannot open shared object file"), Blame.DRIVER, "ldcache hook"),
        (Problem("", "undefined symbol: cuFoo"), Blame.WORKLOAD, "does not have"),
        (Problem("", "", 100, blame="workload"), Blame.WORKLOAD, "workload itself"),
        (Problem("", "no option --x", blame="workload"), Blame.WORKLOAD, "workload itself"),
    ],
)
def test_errors_of_cuda_have_causes(error: Problem, blame: Blame, words: str) -> None:
    """As measured on hardware."""
    cause = causes.of_cuda(error)
    assert cause is not None
    assert cause.blame is blame
    assert words in cause.text


def test_201_is_no_fault_of_the_driver_when_own_pids_are_equal() -> None:
    """The finding about PIDs."""
    cause = causes.of_cuda(Problem("", "", 201), equal_own_pids=True)
    assert cause is causes.EQUAL_OWN_PIDS
    assert cause.blame is not Blame.DRIVER


@pytest.mark.parametrize(
    ("reason", "message", "blame"),
    [
        ("FailedPrepareDynamicResources", "claim x: broken", Blame.DRIVER),
        ("Failed", "unresolvable CDI devices nvidia.com/gpu=1", Blame.DRIVER),
        ("Failed", "Failed to pull image x: ErrImagePull", Blame.CLUSTER),
        ("FailedScheduling", "0/1 nodes: cannot allocate all claims", Blame.CLUSTER),
        ("FailedCreate", "exceeded quota: q", Blame.CLUSTER),
        ("Failed", "violates PodSecurity restricted:latest", Blame.CLUSTER),
    ],
)
def test_events_have_causes(reason: str, message: str, blame: Blame) -> None:
    """For faults of others no blame on the driver."""
    cause = causes.of_events([{"reason": "Pulled"}, {"reason": reason, "message": message}])
    assert cause is not None
    assert cause.blame is blame
    assert causes.of_events([{"reason": "Started"}]) is None


FORBIDDEN = (
    'fetch ResourceClaim n/c: resourceclaims.resource.k8s.io "c" is forbidden: User "{user}" cannot'
    ' get resource "resourceclaims" in API group "resource.k8s.io" in the namespace "n"'
)


@pytest.mark.parametrize(
    ("messages", "blame"),
    [
        ([FORBIDDEN.format(user="system:node:node-1")], Blame.CLUSTER),
        (["claim n/c: no relationship found between node 'n' and this object"], Blame.CLUSTER),
        # The driver's own rights are the driver's affair.
        ([FORBIDDEN.format(user="system:serviceaccount:driver:plugin")], Blame.DRIVER),
        # Once the claim was let through, the driver failed.
        ([FORBIDDEN.format(user="system:node:node-1"), "driver says: broken"], Blame.DRIVER),
    ],
)
def test_a_claim_refused_to_the_kubelet_is_no_fault_of_the_driver(
    messages: list[str], blame: Blame
) -> None:
    """The node authorizer may learn of a pod later than its kubelet."""
    reason = "FailedPrepareDynamicResources"
    cause = causes.of_events([{"reason": reason, "message": message} for message in messages])
    assert cause is not None
    assert cause.blame is blame


# Time


def test_a_kubelet_can_prepare_a_second_time_within_the_budgets() -> None:
    """It tries again after 60 to 90 s (kubernetes/kubernetes#139836)."""
    budgets = Budgets()
    assert min(budgets.start.seconds, budgets.reclaim.seconds) > 90
    assert Budgets(2).start.seconds == 2 * budgets.start.seconds


# Profiles


def test_the_profile_is_found_by_the_driver() -> None:
    """One that publishes devices and that a profile knows."""
    profile, driver = choose("", PROFILES, ["compute-domain.nvidia.com", "gpu.nvidia.com"])
    assert (driver, profile.name, profile.device_class, profile.visible_by) == (
        *("gpu.nvidia.com", "nvidia", "gpu.nvidia.com", "cuda"),
    )
    assert choose("", PROFILES, ["gpu.example.com"])[0].visible_by == "env"
    for wanted in ("nvidia", str(NVIDIA)):
        assert choose(wanted, PROFILES, [driver]) == (profile, driver)


def test_a_driver_that_no_profile_knows_gets_the_empty_one() -> None:
    """Then nothing is known but its name, and nothing is judged by more."""
    profile, driver = choose("", PROFILES, ["gpu.amd.com"])
    assert (driver, profile.name, profile.device_class) == ("gpu.amd.com", "default", "")
    assert (profile.visible_by, profile.plugin_selector) == ("unknown", NO_POD)
    found = devices([slice_of("n", 1, "a", "b", driver="gpu.amd.com")], driver, profile)
    assert [(device.name, device.uuid, device.product) for device in found] == [
        *(("a", "", ""), ("b", "", "")),
    ]


@pytest.mark.parametrize(
    ("wanted", "drivers", "words"),
    [
        ("", ["gpu.nvidia.com", "gpu.example.com"], "choose one with --dra-driver gpu.example.com"),
        ("", ["gpu.amd.com", "gpu.intel.com"], "several drivers publish devices: gpu.amd.com, gpu"),
        ("amd", ["a"], "no profile 'amd'; there are default, example, nvidia, reference"),
        ("/none.yaml", ["a"], "cannot be read: .*No such file"),
    ],
)
def test_what_is_no_profile_is_refused(wanted: str, drivers: list[str], words: str) -> None:
    """With those that there are."""
    with pytest.raises(ProfileError, match=words):
        choose(wanted, PROFILES, drivers)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "visible-by: cuda",
            "visible-by: magic",
            "18: 'magic' is wrong: expected one of cuda, dev",
        ),
        ("title: NVIDIA DRA driver for GPUs", "", "2: title is missing"),
        ("name: nvidia", "name: nvidia\nsize: full", "4: unknown key size; there are schema, name"),
        ("name: nvidia", "name: nvidia\nname: n", "4: name stands here a second time"),
        ("profile/v1", "profile/v9", "2: schema is not dra-conformance/profile/v1"),
        ("  uuid: uuid", "  id: uuid", "10: unknown key id"),
        ("class: gpu.nvidia.com", "class: [a]", "6: expected text"),
        ("[gpu.nvidia.com]", "gpu.nvidia.com", "5: expected a list"),
        ("class: gpu.nvidia.com", "class: {", "9: expected ',' or '}'"),
    ],
)
def test_a_wrong_profile_names_what_is_wrong(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    """File, line and cause."""
    path = tmp_path / "p.yaml"
    path.write_text(NVIDIA.read_text().replace(old, new))
    with pytest.raises(ProfileError, match=f"^profile p.yaml:{words}"):
        load(path)


def test_configurations_say_what_the_driver_must_do_with_them(tmp_path: Path) -> None:
    """Parameters are the driver's affair, but it has to know them by their kind."""
    found = load(NVIDIA).configurations
    assert [(one.name, one.expect) for one in found] == [
        *(("plain", "prepared"), ("long-time-slices", "optional"), ("mps", "optional")),
        *(("unknown-kind", "refused"), ("unknown-field", "refused")),
    ]
    assert found[4].parameters["nope"] == 1
    assert [one.names for one in found] == ["", "", "MPSSupport", "", "nope"]
    assert found[1].asks == ("nvidia-smi", "compute-policy", "-l")
    assert found[1].daemon is None
    assert found[2].daemon is not None
    assert found[2].daemon.asks == ("nvidia-cuda-mps-control",)
    shown = {one.name: one.shows for one in load(PROFILES / "reference.yaml").configurations}
    assert shown["red"] == ("REFERENCE_GPU_*_LABEL=red",)
    path = tmp_path / "p.yaml"
    path.write_text(NVIDIA.read_text().replace("kind: NoSuchKind", "kid: NoSuchKind"))
    with pytest.raises(ProfileError, match=r"p.yaml:\d+: kind is missing"):
        load(path)


def test_every_profile_can_be_read() -> None:
    """Those that come with the suite."""
    assert {profile.name for profile in load_all(PROFILES)} == {
        *("default", "example", "nvidia", "reference"),
    }


# Devices


def slice_of(
    node: str,
    generation: int,
    *names: str,
    kind: str = "gpu",
    driver: str = "gpu.nvidia.com",
    count: int = 1,
) -> Object:
    """A slice with devices."""
    attributes = {"type": {"string": kind}, "productName": {"string": "H100"}}
    return {
        "spec": {
            "driver": driver,
            "nodeName": node,
            "pool": {"name": node, "generation": generation, "resourceSliceCount": count},
            "devices": [
                {"name": name, "attributes": {**attributes, "uuid": {"string": f"GPU-{name}"}}}
                for name in names
            ],
        }
    }


def test_devices_are_those_of_the_newest_generation() -> None:
    """Of the kind that the profile means, with what identifies them."""
    slices = [
        slice_of("n", 1, "old"),
        slice_of("n", 2, "b", "a"),
        slice_of("m", 1, "mig", kind="mig"),
    ]
    found = devices(slices, "gpu.nvidia.com", load(NVIDIA))
    assert [(d.node, d.name, d.uuid, d.product) for d in found] == [
        ("n", "a", "GPU-a", "H100"),
        ("n", "b", "GPU-b", "H100"),
    ]
    assert driver_names([*slices, {"spec": {"driver": "empty"}}]) == ["gpu.nvidia.com"]


def test_a_selector_is_of_one_device_only() -> None:
    """By an attribute that no other has; there is none where two are alike."""
    slices = [slice_of("n", 1, "a", "b")]
    found = devices(slices, "gpu.nvidia.com", load(NVIDIA))
    assert selector(slices, found[0]) == (
        'has(device.attributes["gpu.nvidia.com"].uuid)'
        ' && device.attributes["gpu.nvidia.com"].uuid == "GPU-a"'
    )
    for one in slices[0]["spec"]["devices"]:
        del one["attributes"]["uuid"]
    assert [selector(slices, one) for one in found] == ["", ""]


def test_a_selector_tells_a_device_from_its_parts() -> None:
    """They have all that it has, and a number that it has not."""
    slices = [slice_of("n", 1, "a", "half-1", "half-2", "b")]
    *parts, _ = whole, *_ = slices[0]["spec"]["devices"]
    for number, one in enumerate(parts):
        one["attributes"]["uuid"] = whole["attributes"]["uuid"]
        one["attributes"]["whole"] = {"bool": one is whole}
        if number:
            one["attributes"]["part"] = {"int": number}
    found = devices(slices, "gpu.nvidia.com", load(NVIDIA))
    of = 'device.attributes["gpu.nvidia.com"]'
    uuid = f'has({of}.uuid) && {of}.uuid == "GPU-a"'
    assert [selector(slices, one) for one in found if one.name != "b"] == [
        f"{uuid} && !has({of}.part)",
        f"{uuid} && has({of}.part) && {of}.part == 1",
        f"{uuid} && has({of}.part) && {of}.part == 2",
    ]


def test_a_pool_is_complete_with_all_slices_of_its_newest_generation() -> None:
    """And with none of an older one."""
    driver = "gpu.nvidia.com"

    def shown(*slices: Object) -> list[str]:
        return [str(pool) for pool in pools(slices, driver) if not pool.complete]

    assert shown(slice_of("n", 2, "a", count=2), slice_of("n", 2, "b", count=2)) == []
    assert shown(slice_of("n", 2, "a", count=2)) == ["pool n has 1 of 2 slices of generation 2"]
    assert shown(slice_of("n", 1, "a"), slice_of("n", 2, "a")) == [
        "pool n has 1 of 1 slices of generation 2, and 1 of older generations"
    ]
    assert pools([slice_of("n", 1, "a", count=9)], "gpu.example.com") == []


def test_parts_of_gpus_are_counted_apart() -> None:
    """They are devices, but not those that the checks ask for."""
    slices = [slice_of("n", 1, "a"), slice_of("m", 1, "x", "y", kind="mig")]
    assert partitions(slices, "gpu.nvidia.com", load(NVIDIA)) == 2
    assert len(devices(slices, "gpu.nvidia.com", load(NVIDIA))) == 1


def test_what_others_hold_is_not_free() -> None:
    """Administrators' access takes nothing away."""
    found = devices([slice_of("n", 1, "a", "b", "c")], "gpu.nvidia.com", load(NVIDIA))

    def claim(device: str, **more: object) -> Object:
        result = {"driver": "gpu.nvidia.com", "pool": "n", "device": device, **more}
        status = {"allocation": {"devices": {"results": [result]}}}
        return {"metadata": {"name": "c", "namespace": "x"}, "status": status}

    free = free_by_node(
        found, [claim("a"), claim("b", adminAccess=True), {"metadata": {"name": ""}}]
    )
    assert [device.name for device in free["n"]] == ["b", "c"]


# The workload's reports

RESULT = {
    "schema": "dra-conformance/workload/v1",
    "role": "consumer",
    "verdict": "ok",
    "exit": 0,
    "error": None,
    "process": {"own_pid": 7},
    "gpus": [
        {"ordinal": 0, "uuid": "GPU-1", "name": "H100", "pci": "0000:18:00.0"}
        | {"memory": 1 << 30, "compute_capability": "9.0"}
    ],
    "transfers": [{"path": "same", "opened": True, "words": 5, "wrong_words": 0}],
}


def test_the_result_is_the_logs_last_line() -> None:
    """Lines for people before it, an empty one after it."""
    report = parse(f"Consumer: Found 1 GPU(s)\n{json.dumps(RESULT)}\n\n")
    assert (report.verdict, report.process.own_pid, report.gpus[0].uuid) == ("ok", 7, "GPU-1")
    same = report.transfer("same")
    assert same is not None
    assert (same.words, same.wrong_words, same.wrote) == (5, 0, False)
    assert report.transfer("cross") is None
    assert not report.at_fault
    assert report.sha256 == hashlib.sha256(json.dumps(RESULT).encode()).hexdigest()


def test_all_that_a_result_has_is_read() -> None:
    """Every field of the workload's schema arrives, and null is told from nothing."""
    process = {"own_pid": 7, "nspid": [99, 7], "uid": 0, "uid_map": ["0 1 2"], "of_tomorrow": 1}
    transfer = {**RESULT["transfers"][0], "open_ms": 0.5}  # type: ignore[index]
    document = {
        **RESULT,
        "process": process,
        "transfers": [{**transfer, "after_gone": {"words": 5, "wrong_words": 1}}],
        "cuda": {"driver_version": 13000},
        "driver_version": "580.159.04",
        "device_nodes": ["nvidia0"],
        "nvml": [{"index": 0, "uuid": "GPU-1", "minor": 3}],
        "peers": [{"importer": "GPU-1", "exporter": "GPU-2", "link": "NVLink"}],
        "attempts": [
            {"name": "freed", "function": "cuIpcOpenMemHandle", "code": 1, "error": "E"}
            | {"ms": 0.1, "words": 0, "wrong_words": None, "note": ""}
        ],
        "bandwidth": [
            {"path": "same", "direction": "read", "method": "copy", "bytes": 8, "gbps": 2.0}
            | {"samples": [1.0, 2.0, 3.0]}
        ],
        "open": [{"path": "same", "ms_median": 0.2, "samples": [1, 0.2]}],
        "seen": [{"path": "same", "words": 5, "wrong_words": 0}],
        "error": {"step": "run", "text": "no"},
        "compute": [
            {"uuid": "GPU-1", "bytes": 8, "words": 1, "wrong_words": 0, "first_wrong": None}
            | {"foreign_words": 0, "seconds": 0.5}
        ],
    }
    report = parse(json.dumps(document))
    assert (report.process.nspid, report.process.uid_map, report.process.gid) == (
        (99, 7),
        ("0 1 2",),
        None,
    )
    same = report.transfer("same")
    assert same is not None
    assert (same.open_ms, same.after_gone) == (0.5, AfterGone(5, 1))
    assert (report.driver_version, report.cuda.driver_version) == ("580.159.04", 13000)
    assert report.device_nodes == ("nvidia0",)
    assert report.nvml == (NvmlGpu(0, "GPU-1", minor=3),)
    peer = report.peer("GPU-1", "GPU-2")
    assert peer is not None
    assert (peer.link, peer.can_access_peer) == ("NVLink", None)
    assert report.peer("GPU-2", "GPU-1") is None
    freed = report.attempt("freed")
    assert freed is not None
    assert (freed.code, freed.error) == (1, "E")
    assert report.bandwidth[0].samples == (1.0, 2.0, 3.0)
    assert (report.open[0].ms_median, report.open[0].samples) == (0.2, (1, 0.2))
    assert report.seen == (Seen("same", 5, 0),)
    assert report.error == Problem("run", "no")
    assert (report.compute[0].words, report.compute[0].foreign_words) == (1, 0)
    assert parse(json.dumps(RESULT)).nvml is None
    with pytest.raises(ReportError, match=r"no complete result: 'attempts\[0\].function' is None"):
        parse(json.dumps({**document, "attempts": [{"name": "freed"}]}))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"verdict": "great"}, "'verdict' is 'great', no verdict"),
        ({"exit": 2}, "'verdict' is 'ok' and 'exit' 2"),
        ({"verdict": None}, "'verdict' is None and 'exit' 0"),
        ({"process": {}}, "'process.own_pid' is None, not a int"),
        ({"process": {"own_pid": True}}, "'process.own_pid' is True, not a int"),
        ({"process": {"own_pid": 7, "nspid": [1, "7"]}}, r"'process.nspid\[1\]' is '7', not a int"),
        ({"gpus": {}}, "'gpus' is {}, not a JSON array"),
        ({"cuda": 13}, "'cuda' is 13, not a JSON object"),
        ({"environment": {"PATH": 1}}, "'environment.PATH' is 1, not a str"),
        (
            {"open": [{"path": "a", "ms_median": "0"}]},
            r"'open\[0\].ms_median' is '0', not a float",
        ),
    ],
)
def test_what_is_wrong_with_a_result_is_said(part: dict[str, Any], said: str) -> None:
    """By its place in the document."""
    with pytest.raises(ReportError, match=f"no complete result: {said}$"):
        parse(json.dumps({**RESULT, **part}))


@pytest.mark.parametrize(("verdict", "code"), [("usage", 2), ("workload-fault", 15)])
def test_a_workload_that_did_not_come_to_its_task_says_so(verdict: str, code: int) -> None:
    """Then nobody else is to blame, whatever it met."""
    assert parse(json.dumps({**RESULT, "verdict": verdict, "exit": code})).at_fault


@pytest.mark.parametrize(
    "log",
    [
        "",
        "Traceback (most recent call last):\nImportError",
        json.dumps({"schema": "dra-conformance/workload/v1", "role": "x"}),
        json.dumps(RESULT) + "\nkilled",
        json.dumps(RESULT)[:-1],
    ],
)
def test_a_log_without_a_result_is_none(log: str) -> None:
    """And the last line is quoted."""
    with pytest.raises(ReportError, match="the log's last line is no"):
        parse(log)


def test_termination_messages_are_the_workloads() -> None:
    """Verdict and hash."""
    message = json.dumps({"verdict": "ok", "sha256": "ab"})
    assert parse_termination(message) == Termination(Verdict.OK, "ab")
    for wrong in (None, "", "{}", "out of memory"):
        with pytest.raises(ReportError, match="termination message"):
            parse_termination(wrong)


def test_an_offer_is_handed_on_as_it_was_written() -> None:
    """Nothing else in the log is taken for one."""
    assert offer_of('Producer: offer {"handle": "00"}') == '{"handle": "00"}'
    for line in ("Producer: offer {", "Producer: offer {}", 'Producer: saw {"handle": 1}', ""):
        assert offer_of(line) is None


# Checks


def no_steps(_: Steps) -> None:
    """A script that is never run."""


A_SCENARIO = Scenario("a", no_steps)


def declare(function: Any = None, **changes: Any) -> Check:
    """Declare a function with changes to a good declaration."""

    def test_it_is_so() -> None:
        """It MUST be so."""

    good: dict[str, Any] = {"id": "ALLOC-001", "level": 2, "source": "here"}
    declared = check_of(check(**{**good, **changes})(function or test_it_is_so))
    assert declared is not None
    return declared


def test_a_check_is_its_declaration_and_its_docstring() -> None:
    """ID, name, sentence, area."""
    found = declare(forms=(A_SCENARIO, Scenario("b", no_steps, frozenset({Impact.PRIVILEGED}))))
    assert (found.id, found.name, found.area) == ("ALLOC-001", "it_is_so", "harness")
    assert (found.sentence, found.force) == ("It MUST be so.", Force.MUST)
    assert found.case("a") == "ALLOC-001_it_is_so[a]"
    assert (found.impacts_of("a"), found.impacts_of("b")) == (
        frozenset(),
        frozenset({Impact.PRIVILEGED}),
    )


def test_what_is_no_check_is_refused() -> None:
    """When it is declared, not when it runs."""

    def test_silent() -> None:
        pass

    def test_binding() -> None:
        """It may be so."""

    def it() -> None:
        """It MUST be."""

    for function, changes, words in (
        (None, {"id": "alloc-1"}, "expected AREA-NNN"),
        (None, {"level": 6}, "is not 0 to 5"),
        (test_binding, {}, "does not say MUST or SHOULD"),
        (test_silent, {}, "no docstring"),
        (it, {}, "does not begin with"),
        (None, {"scenario": A_SCENARIO, "forms": (A_SCENARIO,)}, "a scenario or forms, not both"),
    ):
        with pytest.raises(ValueError, match=words):
            declare(function, **changes)
