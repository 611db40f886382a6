"""Causes: the words of a real cluster, and whom they blame.

The messages are those that Kubernetes 1.37.2 wrote, on the embedded cluster, when it was so; where
a cluster with what it takes was not at hand, those of its source (marked).
"""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.kinds import Object
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding, headline, text_of

NOT_HELPFUL = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
GPU_NODE_MESSAGE = f"0/1 nodes are available: 1 node(s) had untolerated taint(s). {NOT_HELPFUL}"
PULL = (
    'Failed to pull image "localhost/none:1": failed to pull and unpack image "localhost/none:1":'
    " failed to resolve image: failed to do request: Head"
    ' "https://localhost/v2/none/manifests/1": '
)
PREPARE = "Failed to prepare dynamic resources: prepare dynamic resources: "
EVENTS = {
    "no matching device": (
        "FailedScheduling",
        f"0/1 nodes are available: 1 cannot allocate all claims. {NOT_HELPFUL}",
        (Blame.CLUSTER, "enough free devices that match"),
    ),
    "class gone": (
        "FailedScheduling",
        (
            "0/1 nodes are available: request g: device class none.example.com does not exist."
            f" {NOT_HELPFUL}"
        ),
        (Blame.CLUSTER, "DeviceClass that the claim names is gone"),
    ),
    "attribute missing": (
        "FailedScheduling",
        (
            'running "DynamicResources" filter plugin: claim rec/celerr: selector #0 on device'
            " gpu.nvidia.com/node-1/gpu-0: CEL runtime error: no such key: nokey. consider using"
            " CEL optional chaining (.? followed by orValue()) or guarding the check with has() for"
            " optional fields"
        ),
        (Blame.SUITE, "asks for an attribute that a device does not have"),
    ),
    "attribute of the class missing": (  # source
        "FailedScheduling",
        (
            'running "DynamicResources" filter plugin: class gpu.nvidia.com: selector #0 on device'
            " gpu.nvidia.com/node-1/gpu-0: CEL runtime error: no such key: nosuch"
        ),
        (Blame.CLUSTER, "a selector of the DeviceClass"),
    ),
    "taint": (
        "FailedScheduling",
        GPU_NODE_MESSAGE,
        (Blame.CLUSTER, "taints that the pod does not tolerate"),
    ),
    "node not ready": (  # source: as before 1.35, with the taint's name
        "FailedScheduling",
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint"
            " {node.kubernetes.io/not-ready: }."
            f" {NOT_HELPFUL}"
        ),
        (Blame.CLUSTER, "no node is Ready"),
    ),
    "selector": (
        "FailedScheduling",
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
            f" {NOT_HELPFUL}"
        ),
        (Blame.CLUSTER, "node selector"),
    ),
    "cordoned": (
        "FailedScheduling",
        f"0/1 nodes are available: 1 node(s) were unschedulable. {NOT_HELPFUL}",
        (Blame.CLUSTER, "cordoned"),
    ),
    "StorageClass gone": (  # source: the class is not found, so nothing waits for a pod
        "FailedScheduling",
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
            f" {NOT_HELPFUL}"
        ),
        (Blame.CLUSTER, "its StorageClass does not exist"),
    ),
    "no volume left": (  # source
        "FailedScheduling",
        (
            "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind."
            f" {NOT_HELPFUL}"
        ),
        (Blame.CLUSTER, "or has none to give"),
    ),
    "too little CPU": (
        "FailedScheduling",
        f"0/1 nodes are available: 1 Insufficient cpu. {NOT_HELPFUL}",
        (Blame.CLUSTER, "too little CPU or memory"),
    ),
    "prepare failed": (  # source
        "FailedPrepareDynamicResources",
        f"{PREPARE}NodePrepareResources failed for ResourceClaim a: checkpoint is broken",
        (Blame.DRIVER, "refused or failed to prepare"),
    ),
    "prepare too slow": (  # source
        "FailedPrepareDynamicResources",
        (
            f"{PREPARE}NodePrepareResources: rpc error: code = DeadlineExceeded desc = context"
            " deadline exceeded"
        ),
        (Blame.DRIVER, "did not answer the kubelet's request"),
    ),
    "not registered": (  # source
        "FailedPrepareDynamicResources",
        f"{PREPARE}DRA driver gpu.nvidia.com is not registered",
        (Blame.DRIVER, "not registered with the node's kubelet"),
    ),
    "reserved for another pod": (  # source
        "FailedPrepareDynamicResources",
        f"{PREPARE}pod a (u-1) is not allowed to use ResourceClaim b (u-2)",
        (Blame.CLUSTER, "not reserved for the pod"),
    ),
    "claim made again": (  # source
        "FailedPrepareDynamicResources",
        (
            f"{PREPARE}old ResourceClaim with same name b and different UID u-2 still exists"
            " (previous pod force-deleted?!)"
        ),
        (Blame.CLUSTER, "made again under its name"),
    ),
    "socket gone": (  # source: gRPC
        "FailedPrepareDynamicResources",
        (
            f"{PREPARE}NodePrepareResources: rpc error: code = Unavailable desc = connection error:"
            ' desc = "transport: Error while dialing: dial unix'
            ' /var/lib/kubelet/plugins/gpu.nvidia.com/dra.sock: connect: no such file or directory"'
        ),
        (Blame.DRIVER, "its socket is gone"),
    ),
    "no image for the architecture": (  # source: containerd
        "Failed",
        (
            'Failed to pull image "r/w:1": failed to pull and unpack image "r/w:1": no match for'
            " platform in manifest: not found"
        ),
        (Blame.CLUSTER, "not for the node's architecture"),
    ),
    "image of another architecture": (  # source: runc
        "Failed",
        (
            "Error: failed to create containerd task: failed to create shim task: OCI runtime"
            " create failed: runc create failed: unable to start container process: exec"
            " /usr/bin/workload: exec format error"
        ),
        (Blame.CLUSTER, "not for the node's architecture"),
    ),
    "CDI unresolved": (  # source: containerd
        "Failed",
        (
            "Error: failed to create containerd container: CDI device injection failed:"
            " unresolvable CDI devices k8s.gpu.nvidia.com/claim=1"
        ),
        (Blame.DRIVER, "does not find the CDI device"),
    ),
    "registry refuses": (  # source: containerd
        "Failed",
        (
            'Failed to pull image "registry.example.com/w:1": failed to pull and unpack image'
            ' "registry.example.com/w:1": failed to resolve image: unexpected status from HEAD'
            " request to https://registry.example.com/v2/w/manifests/1: 401 Unauthorized"
        ),
        (Blame.CLUSTER, "registry does not let the node pull the workload image"),
    ),
    "registry unreachable": (
        "Failed",
        f"{PULL}dial tcp 127.0.0.1:443: connect: connection refused",
        (Blame.CLUSTER, "network policy"),
    ),
    "registry unknown": (
        "Failed",
        f"{PULL}dial tcp: lookup registry.invalid: no such host",
        (Blame.CLUSTER, "name resolution"),
    ),
    "pull secret missing": (
        "FailedToRetrieveImagePullSecret",
        (
            "Unable to retrieve some image pull secrets (none); attempting to pull the image may"
            " not succeed."
        ),
        (Blame.CLUSTER, "image pull secret is not in"),
    ),
    "image never pulled": (
        "ErrImageNeverPull",
        'Container image "localhost/none:2" is not present with pull policy of Never',
        (Blame.CLUSTER, "cannot pull the workload image"),
    ),
    "image name": (
        "Failed",
        "Error: InvalidImageName",
        (Blame.CLUSTER, "cannot pull the workload image"),
    ),
    "mount": (
        "FailedMount",
        (
            'MountVolume.SetUp failed for volume "h" : hostPath type check failed, /none is not a'
            ' directory, unable to determine its type: path "/none" does not exist'
        ),
        (Blame.CLUSTER, "cannot set up the pod"),
    ),
    "network policy": (  # source: a network plugin
        "FailedCreatePodSandBox",
        'Failed to create pod sandbox: plugin type="x" failed (add): cannot apply network policy',
        (Blame.CLUSTER, "network policies"),
    ),
    "runtime": (
        "Failed",
        (
            "Error: failed to create containerd task: failed to create shim task: OCI runtime"
            " create failed: runc create failed: unable to start container process: error during"
            ' container init: exec: "/none": stat /none: no such file or directory'
        ),
        (Blame.WORKLOAD, "does not have the program"),
    ),
    "no program in the image's path": (  # source: runc
        "Failed",
        (
            "Error: failed to create containerd task: failed to create shim task: OCI runtime"
            " create failed: runc create failed: unable to start container process: exec:"
            ' "produce": executable file not found in $PATH'
        ),
        (Blame.WORKLOAD, "does not have the program"),
    ),
    "a hook of the CDI specification": (  # source: runc
        "Failed",
        (
            "Error: failed to create containerd task: failed to create shim task: OCI runtime"
            " create failed: runc create failed: unable to start container process: error during"
            " container init: error running createContainer hook #0: fork/exec /usr/bin/hook: no"
            " such file or directory"
        ),
        (Blame.DRIVER, "runtime cannot start the container"),
    ),
    "no room to prepare": (  # source
        "FailedPrepareDynamicResources",
        (
            f"{PREPARE}NodePrepareResources failed for ResourceClaim a: write"
            " /var/run/cdi/a.json: no space left on device"
        ),
        (Blame.CLUSTER, "disk has no room"),
    ),
    "no room to prepare, as programs say it that are not in Go": (
        "FailedPrepareDynamicResources",
        (
            f"{PREPARE}NodePrepareResources failed for ResourceClaim a: [Errno 28] No space left on"
            " device: '/var/run/cdi/a.json'"
        ),
        (Blame.CLUSTER, "disk has no room"),
    ),
    "deadline of the pod": (  # source
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
        (Blame.CLUSTER, "activeDeadlineSeconds"),
    ),
    "too many pods": (  # source
        "FailedScheduling",
        f"0/1 nodes are available: 1 Too many pods. {NOT_HELPFUL}",
        (Blame.CLUSTER, "the message says why"),
    ),
    "kubelet may not read the claim": (  # source
        "FailedPrepareDynamicResources",
        (
            f'{PREPARE}fetch ResourceClaim n/b: resourceclaims.resource.k8s.io "b" is forbidden:'
            ' User "system:node:node-1" cannot get resource "resourceclaims" in API group'
            ' "resource.k8s.io" in the namespace "n": no relationship found between node "node-1"'
            " and this object"
        ),
        (Blame.CLUSTER, "did not let the kubelet read the claim"),
    ),
    "hook that others cannot execute": (  # source: runc
        "Failed",
        (
            "Error: failed to create containerd task: failed to create shim task: OCI runtime"
            " create failed: runc create failed: unable to start container process: error during"
            " container init: error running createContainer hook #0: fork/exec"
            " /var/lib/kubelet/plugins/gpu.nvidia.com/nvidia-cdi-hook: permission denied"
        ),
        (Blame.DRIVER, "cannot execute the driver's hook"),
    ),
    "evicted": (  # source
        "TaintManagerEviction",
        "Marking for deletion Pod n/p",
        (Blame.CLUSTER, "was evicted"),
    ),
    "node lost": ("NodeNotReady", "Node is not ready", (Blame.CLUSTER, "no longer Ready")),
}
REFUSALS = {
    "no credentials": (
        'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces"',
        "takes the run for nobody",
    ),
    "old credentials": (
        "the run's credentials are expired or unknown: Unauthorized",
        "credentials have expired",
    ),
    "quota of pods": (
        (
            'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited:'
            " pods=0"
        ),
        "a quota of the namespace",
    ),
    "quota of claims": (
        (
            'resourceclaims.resource.k8s.io "x" is forbidden: exceeded quota: q, requested:'
            " count/resourceclaims.resource.k8s.io=1, used: count/resourceclaims.resource.k8s.io=0,"
            " limited: count/resourceclaims.resource.k8s.io=0"
        ),
        "a quota of the namespace",
    ),
    "Pod Security": (
        (
            'pods "priv" is forbidden: violates PodSecurity "restricted:latest": host namespaces'
            ' (hostPID=true), allowPrivilegeEscalation != false (container "c" must set'
            " securityContext.allowPrivilegeEscalation=false)"
        ),
        "Pod Security Standard refuses",
    ),
    "policy": (
        (
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'rec' with binding 'rec' denied"
            " request: no pods here"
        ),
        "admission policy of the cluster",
    ),
    "webhook refuses": (  # source
        'admission webhook "validate.example.com" denied the request: image is not signed',
        "admission policy of the cluster",
    ),
    "webhook lost": (
        (
            'Internal error occurred: failed calling webhook "rec.example.com": failed to call'
            ' webhook: Post "https://127.0.0.1:1/x?timeout=1s": dial tcp 127.0.0.1:1: connect:'
            " connection refused"
        ),
        "webhook of the cluster cannot be reached",
    ),
    "OpenShift's range of users": (  # source: OpenShift
        (
            'pods "x" is forbidden: unable to validate against any security context constraint:'
            " [provider restricted-v2: .containers[0].runAsUser: Invalid value: 1000: must be in"
            " the ranges: [1000700000, 1000709999]]"
        ),
        "users of the namespace's own range",
    ),
    "no service account": (  # source
        (
            'pods "x" is forbidden: error looking up service account n/default: serviceaccount'
            ' "default" not found'
        ),
        "no service account yet",
    ),
    "no RuntimeClass": (  # source
        'pods "x" is forbidden: pod rejected: RuntimeClass "none" not found',
        "RuntimeClass that the pods name",
    ),
    "LimitRange": (  # source
        'pods "x" is forbidden: maximum memory usage per Container is 1Mi, but limit is 4Gi',
        "LimitRange",
    ),
}


def event(reason: str, message: str = "", *, uid: str = "u", by: str = "kubelet") -> Object:
    """An event about a pod."""
    return {
        "reason": reason,
        "message": message,
        "source": {"component": by},
        "involvedObject": {"uid": uid},
    }


@pytest.mark.parametrize("name", EVENTS)
def test_events_have_causes(name: str) -> None:
    """For the faults of others no blame on the driver; each with a next step."""
    reason, message, (blame, words) = EVENTS[name]
    cause = causes.of_events([event("Pulled"), event(reason, message)])
    assert cause is not None
    assert cause.blame is blame
    assert words in cause.text
    assert cause.next


def test_every_cause_is_tried_on_the_words_of_its_component() -> None:
    """And says who has to act, what next, and where the words are from."""
    said = [f"{reason}: {message}" for reason, message, _ in EVENTS.values()]
    said += [message for message, _ in REFUSALS.values()]
    assert {cause.text for cause in causes.KNOWN} - {
        cause.text for text in said if (cause := causes.of_text(text)) is not None
    } == set()
    for cause in causes.KNOWN:
        assert cause.next
        assert cause.source.startswith("https://github.com/"), cause.text


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_the_clusters(name: str) -> None:
    """Who administrates it set the rule; each with a next step."""
    message, words = REFUSALS[name]
    cause = causes.of_text(message)
    assert cause is not None
    assert cause.blame is Blame.CLUSTER
    assert words in cause.text
    assert cause.next


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Scheduled", "Successfully assigned n/p to node-1"),
        ("Pulled", 'Container image "w" already present on machine and can be accessed by the pod'),
        ("Started", "Container started"),
        ("Killing", "Stopping container producer"),
        ("MissingClusterDNS", "kubelet does not have ClusterDNS IP configured"),
    ],
)
def test_what_is_as_it_should_be_is_no_cause(reason: str, message: str) -> None:
    """An event is not a fault."""
    assert causes.of_events([event(reason, message)]) is None


def test_what_the_scheduler_overcame_is_no_cause() -> None:
    """The pod waited for devices, then it was scheduled, and now it does not start."""
    waited = event("FailedScheduling", EVENTS["no matching device"][1], by="default-scheduler")
    assigned = event("Scheduled", "Successfully assigned n/p to node-1", by="default-scheduler")
    assert causes.of_events([waited, assigned]) is None
    other = event("Scheduled", "Successfully assigned n/q to node-1", uid="other")
    assert causes.of_events([waited, other]) is not None


def test_a_log_tells_of_a_program_of_another_architecture() -> None:
    """runc writes it there: the container has been started by then."""
    said = "exec /opt/python/bin/python3: exec format error"
    assert causes.of_output(f"{said}\n") is causes.WRONG_ARCHITECTURE
    assert causes.of_output("") is None
    assert causes.of_output(f"{said}\nanother line") is None


# Silence


def pod(**status: Any) -> Object:
    """A pod on a node."""
    return {"kind": "Pod", "spec": {"nodeName": "node-1"}, "status": status}


def node(status: str) -> Object:
    """A node that is Ready, not, or of which nobody knows."""
    return {"status": {"conditions": [{"type": "Ready", "status": status}]}}


ASSIGNED = event("Scheduled", by="default-scheduler")


def test_a_pod_of_which_no_scheduler_has_spoken() -> None:
    """No event and no condition: that is what a stopped scheduler looks like."""
    pending = {"kind": "Pod", "spec": {}, "status": {"phase": "Pending", "qosClass": "BestEffort"}}
    assert causes.of_silence(pending, [], None) is causes.SCHEDULER_SILENT
    refused = {**pending, "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}}
    assert causes.of_silence(refused, [], None) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (node("Unknown"), causes.KUBELET_STOPPED),
        (node("False"), causes.NODE_NOT_READY),
        (node("True"), causes.KUBELET_SILENT),
        (None, causes.KUBELET_SILENT),
    ],
)
def test_a_pod_of_which_its_kubelet_has_not_spoken(
    found: Object | None, expected: causes.Cause
) -> None:
    """The node's condition follows a stopped kubelet after 40 s or more."""
    assert causes.of_silence(pod(), [ASSIGNED], found) is expected


@pytest.mark.parametrize(
    ("found", "events"),
    [
        (pod(containerStatuses=[{"state": {"waiting": {}}}]), [ASSIGNED]),
        (pod(), [ASSIGNED, event("Pulling")]),
        (pod(), [{**event("Pulling", by=""), "reportingComponent": "kubelet"}]),
    ],
)
def test_a_kubelet_that_has_spoken_is_not_silent(found: Object, events: list[Object]) -> None:
    """Whatever is wrong, it is something else."""
    assert causes.of_silence(found, events, node("True")) is None


ENDED = [{"state": {"terminated": {"exitCode": 137}}}]


@pytest.mark.parametrize(
    ("statuses", "claims", "quiet", "expected"),
    [
        (ENDED, ["gpus"], 20, causes.NOT_UNPREPARED),
        ([], ["gpus"], 20, causes.NOT_UNPREPARED),
        (ENDED, ["gpus"], 19, None),
        (ENDED, [], 20, None),
        ([{"state": {"running": {}}}], ["gpus"], 20, None),
    ],
)
def test_a_pod_that_was_deleted_and_stays(
    statuses: list[Object], claims: list[str], quiet: float, expected: causes.Cause | None
) -> None:
    """Its driver is the cause if it has claims, and nothing has happened since its end."""
    there = pod(containerStatuses=statuses)
    there["metadata"] = {"deletionTimestamp": "2026-11-23T00:00:00Z"}
    there["spec"] = {"nodeName": "node", "resourceClaims": [{"name": name} for name in claims]}
    assert causes.of_end(there, quiet) is expected
    del there["metadata"]["deletionTimestamp"]
    assert causes.of_end(there, quiet) is None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_whose_claims_are_unprepared_stays_for_others(phase: str) -> None:
    """A kubelet writes such a phase only then; what is left is its own, however slow it is."""
    there = pod(containerStatuses=ENDED, phase=phase)
    there["metadata"] = {"deletionTimestamp": "2026-11-23T00:00:00Z"}
    there["spec"] = {"nodeName": "node", "resourceClaims": [{"name": "gpus"}]}
    assert causes.of_end(there, 60) is None


def test_a_pod_with_an_extended_resource_stays_for_its_driver_too() -> None:
    """The claim of it is in the pod's status alone."""
    there = pod(containerStatuses=ENDED, extendedResourceClaimStatus={"resourceClaimName": "gpus"})
    there["metadata"] = {"deletionTimestamp": "2026-11-23T00:00:00Z"}
    there["spec"] = {"nodeName": "node"}
    assert causes.of_end(there, 20) is causes.NOT_UNPREPARED


# In a finding


@pytest.mark.parametrize("name", EVENTS)
def test_a_finding_is_for_strangers(name: str) -> None:
    """A first line of at most 120 characters, free of Python; who must act and what next below."""
    reason, message, _ = EVENTS[name]
    cause = causes.of_text(f"{reason}: {message}")
    assert cause is not None
    finding = Finding(
        head=f"the start of the producer's container did not come within 120 s: {message}",
        expected="the start within 120 s (budget start)",
        observed=message,
        blame=cause.blame,
        likely=cause.text,
        next=cause.next,
    )
    first = headline("NODE-028", "restricted", finding)
    assert len(first) <= 120
    assert not any(word in first for word in ("Error(", "Traceback", "object at 0x"))
    rerun = "the same command with --dra-check NODE-028"
    rows = text_of(finding.rows("The sentence.", rerun)).splitlines()
    titles = {row[2:13].strip() for row in rows if row[2:3].strip()}
    assert {"check", "expected", "observed", "likely", "responsible", "next", "rerun"} <= titles


@pytest.mark.parametrize("name", ["cordoned", "attribute missing", "taint"])
def test_a_condition_of_the_scheduler_tells_what_its_event_tells(name: str) -> None:
    """The condition PodScheduled has the event's message without its reason."""
    _, message, (blame, words) = EVENTS[name]
    cause = causes.of_scheduler(message)
    assert cause is not None
    assert (cause.blame, words in cause.text) == (blame, True)


@pytest.mark.parametrize("verb", ["exceeded", "failed"])
def test_quotas_refuse_in_two_ways(verb: str) -> None:
    """Too many, and without a limit where the quota wants one."""
    cause = causes.of_text(f'pods "x" is forbidden: {verb} quota: q: must specify limits.cpu')
    assert cause is not None
    assert "quota" in cause.text


# The driver's own pods


def driver_pod(restarts: int, **states: Any) -> Object:
    """One whose container is in a state, and was in one before."""
    return {"status": {"containerStatuses": [{"restartCount": restarts, **states}]}}


CRASH = {"terminated": {"exitCode": 2, "reason": "Error"}}
KILL = {"terminated": {"exitCode": 137, "reason": "Error"}}
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        (driver_pod(4, state=BACK_OFF, lastState=CRASH), True),
        (driver_pod(4, state={"running": {}}, lastState=CRASH), True),
        (driver_pod(4, state=OOM), True),
        (driver_pod(0, state={"running": {}}), False),
        (driver_pod(1, state={"running": {}}, lastState=CRASH), False),
        (driver_pod(4, state={"running": {}}, lastState=KILL), False),
    ],
)
def test_a_driver_that_ends_again_and_again(found: Object, ends: bool) -> None:
    """Not one that ended once, or that a check has killed."""
    other = causes.SCHEDULER_SILENT
    cause = causes.of_driver([driver_pod(0), found], other)
    assert cause is (causes.DRIVER_ENDS if ends else other)


@pytest.mark.parametrize(
    ("ready", "restarts", "expected"),
    [
        ("True", 0, causes.UNKNOWN_TO_THE_KUBELET),
        ("False", 0, causes.NOT_REGISTERED),
        ("True", 4, causes.DRIVER_ENDS),
    ],
)
def test_a_driver_that_runs_and_that_the_kubelet_does_not_know(
    ready: str, restarts: int, expected: causes.Cause
) -> None:
    """Nobody knows whether the kubelet or the driver looks in the wrong folder."""
    found = driver_pod(restarts, state={"running": {}}, lastState=CRASH)
    found["status"]["conditions"] = [{"type": "Ready", "status": ready}]
    assert causes.of_driver([found], causes.NOT_REGISTERED) is expected
    assert causes.of_driver([], causes.NOT_REGISTERED) is causes.NOT_REGISTERED


@pytest.mark.parametrize(("second", "expected"), [(9, causes.NOT_REGISTERED), (11, None)])
def test_claims_that_were_prepared_are_no_cause(second: int, expected: causes.Cause | None) -> None:
    """A kubelet that has come to the image has them; what comes later is not the driver's."""
    said = (
        ("FailedPrepareDynamicResources", "DRA driver gpu.example.com is not registered", 10),
        ("Pulled", "the image is there", second),
    )
    events = [
        {
            "reason": reason,
            "message": f"{PREPARE}{message}",
            "lastTimestamp": f"2026-11-30T10:00:{at:02}Z",
            "involvedObject": {"uid": "u-1"},
        }
        for reason, message, at in said
    ]
    assert causes.of_events(events) is expected


@pytest.mark.parametrize("turned", [False, True])
def test_what_a_later_try_said_is_the_cause(turned: bool) -> None:
    """A pod waited for the driver, and then the driver refused its claim."""
    about = {"uid": "u-1"}
    events = [
        {
            "reason": "FailedPrepareDynamicResources",
            "message": f"{PREPARE}{said}",
            "lastTimestamp": f"2026-11-30T10:00:{second}Z",
            "involvedObject": about,
        }
        for second, said in (
            (10, "DRA driver gpu.example.com is not registered"),
            (20, "NodePrepareResources failed for ResourceClaim c: gpu-0 is in use"),
        )
    ]
    cause = causes.of_events(reversed(events) if turned else events)
    assert cause is not None
    assert "refused or failed to prepare" in cause.text
    first = causes.of_events(events[:1])
    assert first is causes.NOT_REGISTERED
