"""Two pods that share a claim: good evidence in each form, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from harness.cluster.inventory import Device
from harness.scenario.evidence import REST, Evidence
from harness.scenario.report import Report
from harness.verdict.finding import Blame, Finding, InconclusiveError
from suites.sharing.shared_claim import (
    AGAIN,
    ANY_DRIVER_FORM,
    CLAIM,
    CONSUME,
    CONSUMER,
    EQUAL_PIDS_FORM,
    HOSTPID_FORM,
    ONE_GPU_FORM,
    PRIVILEGED_FORM,
    PRODUCER,
    RESTRICTED_FORM,
    ROLES,
    SharedClaim,
)
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NO_GPU,
    PRODUCT,
    WORDS,
    Change,
    alter,
    does_not_start,
    error,
    gpus,
    is_process,
    lose,
    made,
    not_opened,
    offer,
    process,
    report,
    saw,
    says,
    transfer,
    transfers,
    with_claim,
)
from workload.result import Problem, Verdict

ONE, OTHER, THIRD, FOURTH = DEVICES
HALF = WORDS // 2
TAKEN = InconclusiveError(Finding("the claim is not free", "free", "held", Blame.KUBELET))
REFUSED = InconclusiveError(Finding("the pod is refused", "taken", "a policy", Blame.CLUSTER))


def _rest(form: SharedClaim) -> Evidence:
    """Two pods that touched no device."""
    evidence = with_claim(
        made(form.name, **{role: report(*DEVICES[: form.devices]) for role in ROLES}),
        form.claim,
        *DEVICES[: form.devices],
    )
    for container in evidence.containers.values():
        container.args = (REST,)
        container.report = lose(container.report, TAKEN)
    return evidence


def _shared(form: SharedClaim) -> Evidence:
    """Memory went from one pod to the other, and the devices were claimed once more."""
    allocated = DEVICES[: form.devices]
    paths = ("same", "cross")[: form.devices]
    pids = form.own_pids or {PRODUCER: 46, CONSUMER: 47}
    visible = DEVICES if form.security.privileged else allocated
    own = {role: process(form.security, "one", own_pid=pids[role]) for role in ROLES}
    producer = report(
        *visible,
        process=own[PRODUCER],
        offer=offer(pids[PRODUCER]),
        seen=tuple(saw(path, HALF) for path in paths),
    )
    consumer = report(
        *visible, process=own[CONSUMER], transfers=tuple(transfer(path) for path in paths)
    )
    if form.equal_own_pids:
        refused = (not_opened(201),)
        consumer = replace(
            consumer, verdict=Verdict.NOT_OPENED, error=error(201), transfers=refused
        )
    reports = {PRODUCER: producer, CONSUMER: consumer}
    if not form.equal_own_pids:
        reports[AGAIN] = report(*allocated)
    evidence = made(form.name, **{role: _with_lines(role, one) for role, one in reports.items()})
    for role in ROLES:
        evidence.containers[role].devices = allocated
    evidence.containers[CONSUMER].args = (CONSUME,)
    with_claim(evidence, form.claim, *allocated)
    return evidence if form.equal_own_pids else with_claim(evidence, AGAIN, *allocated)


def _with_lines(role: str, one: Report) -> Report:
    """The same report, with the lines for people."""
    title = role.capitalize()
    lines = [f"{title}: Found {len(one.gpus)} GPU(s)"]
    lines += [f"{title}: GPU {n}: {gpu.name} ({gpu.uuid})" for n, gpu in enumerate(one.gpus)]
    return replace(one, lines=tuple(lines), sha256="5a" * 32)


GOOD: Mapping[str, Callable[[], Evidence]] = {
    ANY_DRIVER_FORM.name: partial(_rest, ANY_DRIVER_FORM),
    **{
        form.name: partial(_shared, form)
        for form in (PRIVILEGED_FORM, HOSTPID_FORM, RESTRICTED_FORM, ONE_GPU_FORM, EQUAL_PIDS_FORM)
    },
}


def not_admitted(role: str) -> Change:
    """The API server refuses the pod of a container."""

    def change(evidence: Evidence) -> None:
        container = evidence.containers[role]
        container.refused = REFUSED
        container.admitted = lose(container.admitted, REFUSED)

    return change


def allocated(claim: str, *devices: Device) -> Change:
    """The claim holds these devices, for its first requests."""

    def change(evidence: Evidence) -> None:
        requests = evidence.claims[claim].requests
        with_claim(evidence, claim, *devices)
        evidence.claims[claim].requests = requests

    return change


def not_published(evidence: Evidence) -> None:
    """The second of the allocated devices is in no slice."""
    evidence.claims[CLAIM].by_request = {"gpu-1": (ONE,)}


def runs_on(role: str, node: str) -> Change:
    """The container runs on another node."""

    def change(evidence: Evidence) -> None:
        evidence.containers[role].started.found({"spec": {"nodeName": node}})

    return change


def nothing_offered(evidence: Evidence) -> None:
    """The producer had no memory to offer, so the consumer only looked around."""
    alter(evidence, PRODUCER, offer=None, seen=(), **NO_GPU)
    alter(evidence, CONSUMER, transfers=())
    evidence.containers[CONSUMER].args = ("inventory",)


def not_in_use(evidence: Evidence) -> None:
    """The claim does not say that both pods use it."""
    for claim in evidence.claims.values():
        claim.in_use = lose(claim.in_use, TAKEN)


def of_no_node(evidence: Evidence) -> None:
    """The claim's devices are for any node; nor does it say that both pods use it."""
    claim = evidence.claims[CLAIM]
    claim.by_request = {
        request: tuple(replace(device, node="") for device in devices)
        for request, devices in claim.by_request.items()
    }
    not_in_use(evidence)


def message(role: str, **parts: Any) -> Change:
    """The container's termination message is another."""

    def change(evidence: Evidence) -> None:
        piece = evidence.containers[role].message
        piece.found(replace(piece.get(), **parts))

    return change


def named(role: str, name: str) -> Change:
    """CUDA calls the container's first GPU otherwise, and its log does, too."""

    def change(evidence: Evidence) -> None:
        first, *others = evidence.report(role).gpus
        alter(evidence, role, gpus=(replace(first, name=name), *others))
        alter(evidence, role, lines=_with_lines(role, evidence.report(role)).lines)

    return change


def no_slice(evidence: Evidence) -> None:
    """What the containers see, nobody publishes."""
    evidence.claims[CLAIM].node_devices = ()


def leaves_out(gpu: Device, *more: Device) -> Change:
    """One GPU of the node is not published; others are beside it."""

    def spoil(evidence: Evidence) -> None:
        claim = evidence.claims[CLAIM]
        claim.node_devices = (*(one for one in claim.node_devices if one != gpu), *more)

    return spoil


def not_released(evidence: Evidence) -> None:
    """The claim did not become free."""
    claim = evidence.claims[CLAIM]
    claim.released = lose(claim.released, TAKEN)


NO_LIBCUDA = Problem(
    "load libcuda", "libcuda.so.1: cannot open shared object file: No such file or directory"
)
STALE = Problem("take the offer", "stale")

CASES = (
    # Admission and allocation
    Case(
        "ISO-007",
        "the producer is refused",
        not_admitted(PRODUCER),
        r"the pod is refused$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "ISO-007",
        "the consumer is refused",
        not_admitted(CONSUMER),
        r"the pod is refused$",
        form="any-driver",
        blame=Blame.CLUSTER,
    ),
    Case(
        "ALLOC-003",
        "one device for two requests",
        allocated(CLAIM, ONE),
        r"the claim was allocated 1 device for 2 requests$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-003",
        "a device that no slice publishes",
        not_published,
        r"request gpu-2 was allocated a device that is in no ResourceSlice$",
    ),
    Case(
        "ALLOC-003",
        "one device twice",
        allocated(CLAIM, ONE, ONE),
        r"both requests were allocated the same device, gpu-0$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-003",
        "one GPU as two devices",
        allocated(CLAIM, ONE, replace(OTHER, uuid=ONE.uuid)),
        r"two published devices are one GPU: GPU-10000000…$",
    ),
    # Preparation on the node
    *(
        Case(
            "NODE-028",
            f"the {role} does not start in the form {form}",
            does_not_start(role, Blame.DRIVER),
            r"the start did not come within 120 s$",
            form=form,
        )
        for role, form in ((PRODUCER, "restricted"), (CONSUMER, "any-driver"))
    ),
    Case(
        "NODE-028",
        "the node has no image",
        does_not_start(CONSUMER, Blame.CLUSTER),
        r"the start did not come within 120 s$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SHARE-004",
        "one pod is on another node",
        runs_on(CONSUMER, "node-2"),
        r"the consumer runs on node-2, not with the devices on node-1$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "SHARE-004",
        "not both are in reservedFor, and any node will do",
        of_no_node,
        r"the claim is not free$",
        blame=Blame.KUBELET,
    ),
    Case(
        "SHARE-004",
        "not both are in reservedFor",
        not_in_use,
        r"the claim is not free$",
        blame=Blame.KUBELET,
    ),
    Case(
        "SHARE-004",
        "not both are in reservedFor with any driver",
        not_in_use,
        r"the claim is not free$",
        form="any-driver",
        blame=Blame.KUBELET,
    ),
    Case(
        "SHARE-004",
        "the producer ended at once",
        nothing_offered,
        r"the producer ended before both could have the claim at the same time$",
        blame=None,
    ),
    *(
        Case(
            "IPC-015",
            f"the {role} has another {what} in its termination message",
            message(role, **{what: other}),
            rf"the {role}'s log and termination message tell different results$",
            blame=Blame.CLUSTER,
        )
        for role, what, other in (
            (PRODUCER, "sha256", "00" * 32),
            (CONSUMER, "verdict", Verdict.NO_GPU),
        )
    ),
    Case(
        "NODE-029",
        "no libcuda",
        says(CONSUMER, gpus=(), verdict=Verdict.NO_GPU, error=NO_LIBCUDA),
        r"the consumer does not find libcuda.so.1 in its container$",
    ),
    # What the containers see
    Case(
        "ISO-003",
        "a GPU too few",
        gpus(PRODUCER, ONE),
        r"producer saw 1 of the 2 allocated GPUs: GPU-20000000… missing$",
        form="restricted",
    ),
    Case(
        "ISO-003",
        "another GPU",
        gpus(CONSUMER, ONE, THIRD),
        r"consumer saw 1 of the 2 allocated GPUs: GPU-2.*… missing, GPU-30000000… instead$",
        form="restricted",
    ),
    Case(
        "ISO-003",
        "no GPU",
        says(CONSUMER, gpus=(), **NO_GPU),
        r"consumer saw 0 of the 1 allocated GPUs: GPU-10000000… missing$",
        form="one-gpu",
    ),
    Case(
        "ISO-003",
        "a GPU too many",
        gpus(CONSUMER, ONE, OTHER, THIRD),
        r"consumer saw 1 GPU that is not allocated to it: GPU-30000000…$",
        form="hostpid",
    ),
    Case(
        "ISO-003",
        "two GPUs too many",
        gpus(PRODUCER, *DEVICES),
        r"producer saw 2 GPUs that are not allocated to it: GPU-30000000…, GPU-40000000…$",
        form="equal-pids",
    ),
    Case(
        "ISO-003",
        "one GPU twice",
        gpus(PRODUCER, ONE, OTHER, ONE),
        r"producer saw one GPU more than once$",
        form="restricted",
    ),
    Case(
        "ISO-003",
        "a GPU too few for a privileged container",
        gpus(PRODUCER, ONE, THIRD, FOURTH),
        r"producer saw 1 of the 2 allocated GPUs: GPU-20000000… missing",
        form="privileged",
    ),
    *(
        Case(
            "SEC-008",
            f"its {name} is {value}",
            is_process(PRODUCER, **{name: value}),
            rf"the producer is not restricted: its {name} is {value}$",
            blame=Blame.CLUSTER,
        )
        for name, value in (
            ("cap_eff", "0000000000004000"),
            ("no_new_privs", 0),
            ("seccomp", 0),
            ("uid", 0),
        )
    ),
    Case(
        "SEC-008",
        "it does not report its capabilities",
        is_process(CONSUMER, cap_eff=None),
        r"the consumer is not restricted: its cap_eff is not reported$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-003",
        "a GPU too few",
        gpus(CONSUMER, ONE, OTHER, THIRD),
        r"privileged consumer saw 3 of the node's 4 GPUs$",
    ),
    Case(
        "SLICE-003",
        "a GPU that is left out",
        leaves_out(ONE),
        r"privileged producer saw GPU-10000000…, which no slice of the node has$",
    ),
    Case(
        "SLICE-003",
        "devices without a UUID",
        leaves_out(ONE, replace(ONE, uuid="")),
        r"unsupported: the driver publishes devices without a UUID$",
        blame=None,
    ),
    Case(
        "SLICE-007",
        "another name",
        named(PRODUCER, "NVIDIA A100"),
        rf"GPU-10000000… is NVIDIA A100 in the producer, not {PRODUCT} as published$",
    ),
    Case(
        "SLICE-007",
        "the log tells other GPUs than the result",
        says(CONSUMER, lines=("Consumer: Found 1 GPU(s)",)),
        r"the consumer's log does not tell the GPUs of its result$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "SLICE-007",
        "no GPU that a slice publishes",
        no_slice,
        r"no GPU that is in a ResourceSlice was seen in any container$",
        form="restricted",
        blame=None,
    ),
    # CUDA IPC
    Case(
        "IPC-014",
        "equal own PIDs",
        is_process(CONSUMER, own_pid=46),
        r"both processes have the PID 46 for themselves$",
        blame=Blame.SUITE,
    ),
    Case(
        "IPC-014",
        "nothing was imported",
        nothing_offered,
        r"the producer offered nothing, so nothing was imported$",
        blame=None,
    ),
    Case(
        "IPC-001",
        "nothing was exported",
        nothing_offered,
        r"the producer could not export its memory: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    Case(
        "IPC-001",
        "it was not tried",
        says(CONSUMER, transfers=(), verdict=Verdict.STALE_OFFER, error=STALE),
        r"the consumer did not try to open the memory on the same GPU: stale$",
    ),
    Case(
        "IPC-001",
        "the memory does not open",
        transfers(CONSUMER, not_opened(1)),
        r"the consumer could not open the memory on the same GPU: CUDA_ERROR_INVALID_VALUE \(1\)$",
    ),
    Case(
        "IPC-001",
        "201 although own PIDs differ",
        transfers(CONSUMER, not_opened(201)),
        r"the consumer could not open the memory on the same GPU: .*_INVALID_CONTEXT \(201\)$",
    ),
    Case(
        "IPC-001",
        "the producer is gone",
        transfers(CONSUMER, not_opened(400)),
        r"the consumer could not open the memory on the same GPU: .*_INVALID_HANDLE \(400\)$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-011",
        "a word is wrong",
        transfers(CONSUMER, transfer(wrong_words=1, first_wrong=600, checksum="cd" * 8)),
        rf"the consumer read 1 of {WORDS} words wrong on the same GPU$",
    ),
    Case(
        "IPC-011",
        "another buffer than the exported one",
        transfers(CONSUMER, transfer(checksum="cd" * 8, expected_checksum="cd" * 8)),
        rf"the consumer read 0 of {WORDS} words wrong on the same GPU$",
    ),
    Case(
        "IPC-011",
        "it cannot be read",
        transfers(CONSUMER, transfer(wrong_words=None, error=error(700))),
        r"the consumer opened the memory on the same GPU and could not read it: .*UNKNOWN \(700\)$",
    ),
    Case(
        "IPC-011",
        "not all of it was read",
        transfers(CONSUMER, transfer(words=HALF)),
        rf"the consumer verified {HALF} words of a buffer of {WORDS} on the same GPU$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-004",
        "the memory does not open",
        transfers(CONSUMER, transfer(), not_opened(1, "cross")),
        r"the consumer could not open the memory on the other GPU: CUDA_ERROR_INVALID_VALUE \(1\)$",
    ),
    Case(
        "IPC-004",
        "GPUs without peer access",
        transfers(CONSUMER, transfer(), not_opened(217, "cross", can_access_peer=False)),
        r"unsupported: the two GPUs have no peer access \(CUDA error 217\)$",
        blame=None,
    ),
    Case(
        "IPC-004",
        "it was not tried",
        transfers(CONSUMER, transfer()),
        r"the consumer did not try to open the memory on the other GPU: ok$",
    ),
    Case(
        "IPC-012",
        "a word is wrong",
        transfers(CONSUMER, transfer(), transfer("cross", wrong_words=2, first_wrong=0)),
        rf"the consumer read 2 of {WORDS} words wrong on the other GPU$",
    ),
    Case(
        "IPC-013",
        "a word that the consumer wrote is wrong",
        says(PRODUCER, seen=(saw("same", HALF, wrong_words=3, first_wrong=7),)),
        rf"producer saw 3 of {HALF} words wrong that the consumer wrote, the first at 7$",
    ),
    Case(
        "IPC-013",
        "one path was not looked at",
        says(PRODUCER, seen=(saw("same", HALF),)),
        r"producer did not see the consumer's write: ok$",
    ),
    Case(
        "IPC-013",
        "the producer looked at nothing",
        says(PRODUCER, seen=(), verdict=Verdict.PARTNER_NEVER_CAME),
        r"producer did not see the consumer's write: partner-never-came$",
        form="one-gpu",
    ),
    Case(
        "IPC-013",
        "the producer looked at a part",
        says(PRODUCER, seen=(saw("same", HALF), saw("cross", HALF - 1))),
        r"producer did not see the consumer's write: ok$",
    ),
    Case(
        "IPC-013",
        "the consumer wrote nothing",
        transfers(CONSUMER, transfer(wrote=False)),
        r"producer did not see the consumer's write: ok$",
        form="one-gpu",
    ),
    Case(
        "IPC-002",
        "nothing was exported",
        nothing_offered,
        r"the producer offered nothing to open: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    Case(
        "IPC-002",
        "the own PIDs differ",
        is_process(CONSUMER, own_pid=300),
        r"the own PIDs are 1 and 300, so nothing is shown by this$",
        blame=Blame.SUITE,
    ),
    Case(
        "IPC-002",
        "it opens",
        transfers(CONSUMER, transfer()),
        r"memory opened although both processes have the PID 1 for themselves$",
    ),
    Case(
        "IPC-002",
        "another error",
        says(CONSUMER, transfers=(not_opened(400),), error=error(400)),
        r"opening failed with CUDA_ERROR_INVALID_HANDLE \(400\), not with 201$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-002",
        "it was not tried",
        says(CONSUMER, transfers=(), error=STALE),
        r"the consumer did not try to open the memory on the same GPU: stale$",
    ),
    # The end
    Case(
        "LIFE-004",
        "the claim is not released",
        not_released,
        r"the claim is not free$",
        blame=Blame.KUBELET,
    ),
    Case(
        "LIFE-005",
        "other devices",
        allocated(AGAIN, ONE, THIRD),
        r"a claim for the same GPUs got 1 of 2 of them$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "LIFE-005",
        "one is not seen",
        gpus(AGAIN, ONE),
        r"GPUs claimed again are not seen: GPU-20000000…$",
        form="restricted",
    ),
    Case(
        "LIFE-005",
        "CUDA does not work with them",
        says(AGAIN, gpus=(), **NO_GPU),
        r"GPUs claimed again are not seen: GPU-10000000…$",
        form="one-gpu",
    ),
)
