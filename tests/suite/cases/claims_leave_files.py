"""What claims leave on their node: good evidence, and what can be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from harness.scenario.evidence import Container, Evidence, Observed
from harness.scenario.metrics import asked
from harness.scenario.node_files import File
from harness.verdict.finding import Blame
from suites.residue.test_metrics import CALL, FAILED
from suites.residue.test_node_files import ENDS, HELD, OFTEN, ONCE
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change, both, made, with_claim

UIDS = ("cc587667-b5ed-4310-bf1c-91317e891b7a", "0a9f3c1e-6f0e-4a55-9b1e-0d1c2b3a4f5e")
PLUGIN = "/var/lib/kubelet/plugins/gpu.nvidia.com"


def _spec(*names: str, **fields: object) -> str:
    edits = {"env": ["A=1"], "deviceNodes": [{"path": "/dev/nvidia0"}]}
    devices = [{"name": name, "containerEdits": edits} for name in names]
    spec = {"cdiVersion": "0.5.0", "kind": "k8s.gpu.nvidia.com/claim", "devices": devices}
    return json.dumps({**spec, **fields})


def _cdi(uid: str, text: str | None = None) -> File:
    text = _spec(f"{uid}-gpu-0") if text is None else text
    return File(f"/run/cdi/gpu-claim_{uid}.json", "file", len(text), text[-20:], text)


FOLDER = File("/run/cdi", "folder", 60)
OTHERS = File("/run/cdi/other.json", "file", 4, "00", "torn")
"""Another vendor's, which is no affair of this driver's."""
RECORD = File(f"{PLUGIN}/checkpoint.json", "file", 2, "01", "{}")
LOG = File(f"{PLUGIN}/plugin.log", "file", 60, "02", f"prepared {UIDS[0]}\nunprepared {UIDS[0]}\n")
OWN = (File(PLUGIN, "folder", 60), RECORD, LOG, File(f"{PLUGIN}/dra.sock", "socket", 0))


def _claims_leave_files() -> Evidence:
    evidence = made("claims-leave-files")
    for number, uid in enumerate(UIDS):
        claim = with_claim(evidence, str(number), DEVICES[number]).claims[str(number)]
        claim.obj["metadata"]["uid"] = uid
    for number in range(6):
        evidence.containers[f"round-{number}"] = Container(f"round-{number}")
    rotated = File(f"{PLUGIN}/plugin.log.1", "file", 60, "03", "prepared")
    lock = File(f"/run/cdi/.{UIDS[0]}.lock", "file", 0, "04", "")
    evidence.looks = {
        HELD: (FOLDER, OTHERS, lock, *map(_cdi, UIDS)),
        ONCE: (FOLDER, OTHERS, *OWN),
        OFTEN: (FOLDER, OTHERS, *OWN, rotated),
    }
    for name in list(evidence.claims)[:2]:  # of the first round
        evidence.claims[name].obj["metadata"]["name"] = f"0-{name}-claims-leave-files"
    _counts(evidence, **{HELD: "devices 3", ONCE: "devices 1"})
    _started(evidence, **{HELD: {"pod": 1}, OFTEN: {"pod": 1}})
    # The kubelet was faster than the rights that its API server gives it for each claim.
    evidence.events = [f"kubelet {FAILED} round-1: fetch ResourceClaim 1-0: forbidden"]
    return evidence


def _counts(evidence: Evidence, **texts: str) -> None:
    for called, text in texts.items():
        evidence.metrics[called] = asked(called, partial(str, text), "devices")


def _started(evidence: Evidence, **times: dict[str, int]) -> None:
    for when, of_pods in times.items():
        evidence.noted[when] = Observed("the driver's pods")
        evidence.noted[when].found(of_pods)


def _starts(**times: int) -> Change:
    return lambda evidence: _started(evidence, **{OFTEN: times})


def _ended(end: dict[str, Any]) -> Change:
    def spoil(evidence: Evidence) -> None:
        evidence.noted[ENDS] = [None, end]

    return spoil


def _count(called: str, text: str) -> Change:
    return lambda evidence: _counts(evidence, **{called: text})


def _look(look: str, *more: File) -> Change:
    def spoil(evidence: Evidence) -> None:
        paths = {one.path for one in more}
        kept = [one for one in evidence.looks[look] if one.path not in paths]
        evidence.looks[look] = (*kept, *more)

    return spoil


def _no_names(evidence: Evidence) -> None:
    evidence.looks[HELD] = (FOLDER, OTHERS)


def _one_device(evidence: Evidence) -> None:
    for number in range(2, 6):
        with_claim(evidence, str(number), DEVICES[0]).claims[str(number)].obj["metadata"].update(
            uid=f"another-{number}"
        )


def _invalid(text: str, what: str, words: str) -> Case:
    return Case(
        "NODE-027",
        what,
        _look(HELD, _cdi(UIDS[0], text)),
        rf"1 CDI file of the driver cannot be used: {words}$",
    )


TEMPORARY = [File(f"{PLUGIN}/tmp-{number}", "file", 0, "05", "") for number in range(5)]

GOOD: Mapping[str, Callable[[], Evidence]] = {"claims-leave-files": _claims_leave_files}

CASES = (
    Case(
        "DISC-017",
        "it was started again",
        _starts(pod=2),
        r"the driver ended 1 time while 2 claims came and went$",
    ),
    Case(
        "DISC-017",
        "it ended with an error",
        both(_starts(pod=2), _ended({"exitCode": 1, "reason": "Error"})),
        r"the driver ended 1 time while 2 claims came and went$",
    ),
    Case(
        "DISC-017",
        "it had no memory",
        both(_starts(pod=2), _ended({"exitCode": 137, "reason": "OOMKilled"})),
        r"the driver ended 1 time while 2 claims came and went$",
    ),
    Case(
        "DISC-017",
        "its probe was not answered on a slow machine",
        both(_starts(pod=2), _ended({"exitCode": 137, "reason": "Error"})),
        r"the driver ended 1 time while 2 claims came and went$",
        blame=Blame.KUBELET,
    ),
    Case(
        "DISC-017",
        "somebody else's pod",
        _starts(other=0),
        r"the driver's pod was replaced meanwhile, or none was on the node$",
        blame=None,
    ),
    Case(
        "LIFE-009",
        "a file is left",
        _look(OFTEN, _cdi(UIDS[1])),
        r"1 CDI file of claims that are gone: the driver does not remove them when it unprepares$",
    ),
    Case(
        "LIFE-009",
        "a file of all claims still has one",
        _look(ONCE, File("/run/cdi/all.json", "file", 9, "06", _spec(f"{UIDS[0]}-gpu-0"))),
        r"1 CDI file of claims that are gone: the driver does not remove them when it unprepares$",
    ),
    Case(
        "LIFE-009",
        "a driver that calls its files otherwise",
        _no_names,
        r"unsupported: no CDI file of the node names a claim by its UID$",
        blame=None,
    ),
    Case(
        "LIFE-020",
        "a record in a file of all claims",
        _look(ONCE, replace(RECORD, text=json.dumps({"claims": {UIDS[0]: {}}}))),
        r"checkpoint\.json in the driver's folder still has claims on record that are gone$",
    ),
    Case(
        "LIFE-020",
        "a folder of the claim's own",
        _look(OFTEN, File(f"{PLUGIN}/claims/{UIDS[1]}", "folder", 60)),
        rf"{UIDS[1]} in the driver's folder still has claims on record that are gone$",
    ),
    Case(
        "LIFE-021",
        "a file each time",
        _look(OFTEN, *TEMPORARY),
        r"6 files more in the driver's folders after 2 claims, such as plugin\.log\.1$",
    ),
    _invalid(_spec(UIDS[0])[:40], "half a file", "it is neither JSON nor YAML"),
    _invalid("", "an empty file", "it is no object"),
    _invalid(_spec(UIDS[0], cdiVersion=""), "no version", "it has no cdiVersion"),
    _invalid(_spec(UIDS[0], kind="claim"), "no vendor", "its kind is not VENDOR/CLASS"),
    _invalid(_spec(UIDS[0], devices=None), "no devices", "it has no list of devices"),
    _invalid(_spec("a/b"), "a name that is none", "a/b is no name of a device"),
    _invalid(_spec("a", "a"), "a device twice", "device a is in it twice"),
    _invalid(
        _spec("a", containerEdits={"mounts": [{"hostPath": "/a"}]}),
        "a mount to nowhere",
        "an entry of mounts has no containerPath",
    ),
    _invalid(
        _spec("a", containerEdits={"env": "A=1"}), "no list", "env is no list of what it has to be"
    ),
    _invalid(_spec("a", containerEdits={"env": ["A"]}), "no value", "an entry of env has no ="),
    _invalid(_spec("a", containerEdits=[]), "no edits", "containerEdits is no object"),
    Case(
        "NODE-027",
        "a driver without CDI files",
        _no_names,
        r"unsupported: the driver writes no CDI file for a claim$",
        blame=None,
    ),
    Case(
        "NODE-040",
        "two claims, one name",
        _look(HELD, *(_cdi(uid, _spec("gpu-0")) for uid in UIDS)),
        r"CDI device k8s\.gpu\.nvidia\.com/claim=gpu-0 is defined in 2 files$",
    ),
    Case(
        "NODE-040",
        "a driver without CDI files",
        _no_names,
        r"unsupported: the driver writes no CDI file for a claim$",
        blame=None,
    ),
    Case(
        "NODE-040",
        "a node with one device",
        _one_device,
        r"unsupported: needs 2 free devices on one node; the most that one has is 1$",
        blame=None,
    ),
    Case(
        "MET-002",
        "it does not go down",
        _count(ONCE, "devices 3"),
        r"3 devices are counted as prepared with 2 claims held, and 3 when these are gone$",
    ),
    Case(
        "MET-002",
        "it does not go up",
        _count(HELD, "devices 0"),
        r"0 devices are counted as prepared with 2 claims held, and 1 when these are gone$",
    ),
    Case(
        "MET-002",
        "a driver that does not count",
        _count(HELD, "up 1"),
        r"unsupported: the driver's metrics do not tell how many devices are prepared$",
        blame=None,
    ),
    Case(
        "MET-003",
        "a call failed",
        lambda evidence: evidence.events.append(
            f"kubelet {FAILED} (x2) round-2: prepare dynamic resources: {CALL}: try again"
        ),
        r"claims were prepared only when the kubelet asked again: try again$",
    ),
)
