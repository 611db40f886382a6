"""Two pods share one claim of GPUs and pass GPU memory between each other by CUDA IPC.

The scenario (`suites.sharing.shared_claim`) runs once a form; each check judges its part:

* ``privileged``: as the original example has it, with host namespaces, privileged, a node folder;
* ``hostpid``: unprivileged, with the host's PID namespace only;
* ``restricted``: admitted under the restricted Pod Security Standard, nothing shared but the claim;
* ``one-gpu``: restricted, with a claim of one GPU where the others' is of two, so that nodes with
  one GPU are judged, too;
* ``any-driver``: restricted, with a claim of one device that no container touches, for drivers of
  which nothing else is known;
* ``equal-pids``: restricted, but both processes have the same PID for themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from harness.checks.check import check
from harness.cluster.inventory import Device, is_allocated, results
from harness.scenario.evidence import Member
from harness.scenario.workload_report import Transfer, WorkloadReport
from harness.verdict import causes
from harness.verdict.finding import Blame, UnmetError, UnsupportedError, counted, short_uuid
from suites.sharing.shared_claim import (
    ANY_DRIVER_FORM,
    EQUAL_PIDS_FORM,
    HOSTPID_FORM,
    ONE_GPU_FORM,
    PRIVILEGED_FORM,
    RESTRICTED_FORM,
    SharedClaim,
)

SHARING_TWO = (PRIVILEGED_FORM, HOSTPID_FORM, RESTRICTED_FORM)
SHARING = (*SHARING_TWO, ONE_GPU_FORM)
PRIVILEGED_ONLY = (PRIVILEGED_FORM,)
EQUAL_PIDS = (EQUAL_PIDS_FORM,)
TWO_GPUS = (*SHARING_TWO, EQUAL_PIDS_FORM)
RESTRICTED = (RESTRICTED_FORM, ONE_GPU_FORM, EQUAL_PIDS_FORM)
EVERY_FORM = (*SHARING, EQUAL_PIDS_FORM)
ANY_DRIVER = (ANY_DRIVER_FORM,)

PATHS = ("same", "cross")
WORD_BYTES = 8
CONTROL_PAGE_BYTES = 2 << 20
CUDA_NOT_FOUND = "libcuda.so.1"
INVALID_CONTEXT = 201
PEER_ACCESS_UNSUPPORTED = 217


# Admission and allocation


@check(
    id="ISO-007",
    force="MUST",
    level=2,
    source="ISO-7",
    variants=RESTRICTED + ANY_DRIVER,
    needs=("cuda",),
)
def test_restricted_namespace_admits_pods_with_a_claim(shared_claim: SharedClaim) -> None:
    """A namespace that enforces the restricted Pod Security Standard MUST admit pods that use GPUs
    through a claim.
    """
    for member in shared_claim.members:
        if member.refused is not None:
            raise member.refused
    shared_claim.producer.admitted.get()


@check(
    id="ALLOC-003",
    force="MUST",
    level=2,
    source="ALLOC-3",
    variants=TWO_GPUS,
    after=("ISO-007",),
    needs=("cuda",),
)
def test_claim_gets_two_distinct_devices(shared_claim: SharedClaim) -> None:
    """A claim with two requests MUST be allocated a device of the driver for each of them, and
    not the same one twice.
    """
    allocation, wanted = shared_claim.allocation.get(), shared_claim.form.requests
    found = results(allocation.claim)
    shown = ", ".join(f"{r['request']}={r['driver']}/{r['pool']}/{r['device']}" for r in found)
    expected = f"one published device for each of {', '.join(wanted)}"
    requests = Counter(str(result["request"]) for result in found)
    if requests != Counter(wanted):
        head = f"the claim was allocated {counted(len(found), 'device')} for 2 requests: {shown}"
        shared_claim.refuse(head, expected=expected, observed=shown, blame=Blame.SCHEDULER)
    unknown = [name for name in wanted if name not in allocation.devices]
    if unknown:
        head = f"request {unknown[0]} was allocated a device that is in no ResourceSlice: {shown}"
        shared_claim.refuse(head, expected=expected, observed=shown)
    if len({device.key for device in allocation.devices.values()}) != len(wanted):
        head = f"both requests were allocated the same device: {shown}"
        shared_claim.refuse(head, expected=expected, observed=shown, blame=Blame.SCHEDULER)
    uuids = {device.uuid for device in allocation.devices.values()}
    if len(uuids) != len(wanted):
        head = f"two published devices are one GPU: {', '.join(uuids)}"
        shared_claim.refuse(head, expected="devices that differ by UUID", observed=shown)


# Preparation on the node


@check(
    id="NODE-028",
    force="MUST",
    level=1,
    source="ALLOC-1, DISC-5, NODE-28, SHARE-4",
    variants=EVERY_FORM + ANY_DRIVER,
    after=("ISO-007", "ALLOC-003"),
    needs=("cuda",),
)
def test_containers_of_both_pods_start(shared_claim: SharedClaim) -> None:
    """The driver MUST prepare a shared claim for each pod that uses it, so that the containers of
    both start.
    """
    for member in shared_claim.members:
        member.started.get()


@check(
    id="SHARE-004",
    force="MUST",
    level=2,
    source="SHARE-4",
    variants=SHARING + ANY_DRIVER,
    after=("NODE-028",),
    needs=("cuda",),
)
def test_both_pods_use_the_claim_on_the_devices_node(shared_claim: SharedClaim) -> None:
    """Each pod that uses a claim MUST be in its reservedFor, and run on the node that its devices
    are on.
    """
    nodes = {device.node for device in shared_claim.allocation.get().devices.values()}
    for member in shared_claim.members:
        node = member.started.get()["spec"].get("nodeName")
        if nodes != {node}:
            shared_claim.refuse(
                f"the {member.role} runs on {node}, the devices are on {', '.join(sorted(nodes))}",
                expected="pods and devices on one node",
                observed=f"{member.role} on {node}, devices on {', '.join(sorted(nodes))}",
                blame=Blame.SCHEDULER,
            )
    if not shared_claim.consumer_opens:
        raise UnmetError("the producer ended before both could have the claim at the same time")
    shared_claim.sharing.get()


@check(
    id="IPC-015",
    force="MUST",
    level=4,
    source="IPC-15",
    variants=EVERY_FORM,
    after=("NODE-028",),
    needs=("cuda",),
)
def test_results_of_both_pods_arrive_unchanged(shared_claim: SharedClaim) -> None:
    """Each container's log MUST end with a result, and it MUST be the one whose hash and verdict
    are in the container's termination message.
    """
    for member in shared_claim.members:
        report = reported(member)
        judge_task(shared_claim, member.role, report)
        if member.ended_by_suite:
            continue  # its pod may be gone before the kubelet could tell its last words
        message = member.message.get()
        if message["sha256"] != report.sha256 or message["verdict"] != report.verdict:
            shared_claim.refuse(
                f"the {member.role}'s log and termination message tell different results",
                expected=f"sha256 {message['sha256']}, verdict {message['verdict']}",
                observed=f"sha256 {report.sha256}, verdict {report.verdict}",
                blame=Blame.CLUSTER,
            )


@check(
    id="NODE-029",
    force="MUST",
    level=4,
    source="NODE-29",
    variants=EVERY_FORM,
    after=("IPC-015",),
    needs=("cuda",),
)
def test_both_containers_find_libcuda(shared_claim: SharedClaim) -> None:
    """The GPU driver's library libcuda.so.1 MUST be found by the dynamic loader of a container
    that the claim was prepared for, without any help from the container.
    """
    for member in shared_claim.members:
        report = reported(member)
        if CUDA_NOT_FOUND in report.error_text():
            shared_claim.refuse(
                f"the {member.role} does not find {CUDA_NOT_FOUND} in its container",
                expected=f"{CUDA_NOT_FOUND} is found by the dynamic loader",
                observed=report.error_text(),
                cause=causes.of_cuda(report.error),
            )


@check(
    id="ISO-003",
    force="MUST",
    level=4,
    source="ISO-3, SHARE-5",
    variants=EVERY_FORM,
    after=("NODE-029",),
    needs=("cuda",),
)
def test_containers_see_exactly_the_allocated_gpus(shared_claim: SharedClaim) -> None:
    """A container MUST see each GPU that its claim was allocated and, unless it is privileged, no
    other GPU.
    """
    for member in shared_claim.members:
        report, wanted = reported(member), {device.uuid for device in member.devices}
        seen = [gpu.uuid for gpu in report.gpus]
        missing, surplus = sorted(wanted - set(seen)), sorted(set(seen) - wanted)
        expected = f"{'at least' if shared_claim.form.sees_all else 'exactly'} {listed(wanted)}"
        observed = listed(seen)
        if missing:
            there = len(wanted) - len(missing)
            head = (
                f"{member.role} saw {there} of the {len(wanted)} allocated GPUs:"
                f" {', '.join(short_uuid(uuid) for uuid in missing)} missing"
            )
            if surplus:
                head += f", {', '.join(short_uuid(uuid) for uuid in surplus)} instead"
            cause = causes.of_cuda(report.error)
            shared_claim.refuse(head, expected=expected, observed=observed, cause=cause)
        if surplus and not shared_claim.form.sees_all:
            head = (
                f"{member.role} saw {counted(len(surplus), 'GPU')} that"
                f" {'is' if len(surplus) == 1 else 'are'} not allocated to it:"
                f" {', '.join(short_uuid(uuid) for uuid in surplus)}"
            )
            shared_claim.refuse(head, expected=expected, observed=observed)
        if len(seen) != len(set(seen)):
            head = f"{member.role} saw one GPU more than once"
            shared_claim.refuse(head, expected=expected, observed=observed)


@check(
    id="SEC-008",
    force="MUST",
    level=4,
    source="SEC-8",
    variants=RESTRICTED,
    after=("NODE-029",),
    needs=("cuda",),
)
def test_restricted_containers_have_no_privileges(shared_claim: SharedClaim) -> None:
    """What a restricted container gets from the driver MUST NOT need or give it privileges: it
    MUST run with no capability, no_new_privs, a seccomp filter and a user other than root.
    """
    for member in shared_claim.members:
        process = reported(member).process
        wanted = {
            "cap_eff": int(process.cap_eff or "f", 16) == 0,
            "no_new_privs": process.no_new_privs == 1,
            "seccomp": process.seccomp == 2,
            "uid": process.uid not in (None, 0),
        }
        for name, fine in wanted.items():
            if not fine:
                shared_claim.refuse(
                    f"the {member.role} is not restricted: its {name} is {getattr(process, name)}",
                    expected="cap_eff 0, no_new_privs 1, seccomp 2 (filter), uid not 0",
                    observed=str(asdict(process)),
                    blame=Blame.CLUSTER,
                )


@check(
    id="SEC-003",
    force="SHOULD",
    level=4,
    source="SEC-3",
    variants=PRIVILEGED_ONLY,
    after=("ISO-003",),
    needs=("cuda",),
)
def test_privileged_containers_see_every_gpu_of_the_node(shared_claim: SharedClaim) -> None:
    """A privileged container SHOULD see every GPU that the driver publishes for its node, as on
    any machine.
    """
    wanted = {device.uuid for device in shared_claim.node_devices}
    for member in shared_claim.members:
        seen = {gpu.uuid for gpu in reported(member).gpus}
        if not wanted <= seen:
            shared_claim.refuse(
                f"privileged {member.role} saw {len(seen)} of the node's {len(wanted)} GPUs",
                expected=listed(wanted),
                observed=listed(seen),
            )


@check(
    id="SLICE-007",
    force="MUST",
    level=4,
    source="SLICE-7",
    variants=SHARING,
    after=("NODE-029",),
    needs=("cuda",),
)
def test_gpus_are_named_in_the_container_as_in_the_slice(shared_claim: SharedClaim) -> None:
    """A GPU MUST have the name in the container that its ResourceSlice gives for its UUID, and the
    pod's log MUST tell the same as its result.
    """
    published = {device.uuid: device for device in shared_claim.node_devices}
    compared = 0
    for member in shared_claim.members:
        report = reported(member)
        judge_log(shared_claim, member, report)
        for gpu in report.gpus:
            device = published.get(gpu.uuid)
            if device is None:
                continue
            compared += 1
            if gpu.name != device.product:
                shared_claim.refuse(
                    f"{short_uuid(gpu.uuid)} is {gpu.name!r} in the {member.role}, not"
                    f" {device.product!r} as published",
                    expected=f"{gpu.uuid} {device.product}",
                    observed=f"{gpu.uuid} {gpu.name}",
                )
    if not compared:
        raise UnmetError("no GPU that is in a ResourceSlice was seen in any container")


def judge_log(shared: SharedClaim, member: Member, report: WorkloadReport) -> None:
    """Compare the lines for people with the result for programs."""
    if not report.gpus:
        return
    title = member.role.capitalize()
    lines = [f"{title}: Found {len(report.gpus)} GPU(s)"]
    lines += [f"{title}: GPU {n}: {gpu.name} ({gpu.uuid}" for n, gpu in enumerate(report.gpus)]
    for wanted in lines:
        if not any(line.startswith(wanted) for line in report.lines):
            shared.refuse(
                f"the {member.role}'s log lacks the line {wanted!r}",
                expected=wanted,
                observed="\n".join(report.lines[:12]),
                blame=Blame.WORKLOAD,
            )


# CUDA IPC


@check(
    id="IPC-014",
    force="MUST",
    level=4,
    source="IPC-14",
    variants=SHARING,
    after=("ISO-003",),
    needs=("cuda",),
)
def test_own_pids_of_the_two_processes_differ(shared_claim: SharedClaim) -> None:
    """Exporter and importer MUST see different PIDs of themselves, or CUDA takes the one for the
    other; this is for the suite to arrange, not for the driver.
    """
    if not shared_claim.consumer_opens:
        raise UnmetError("the producer offered nothing, so nothing was imported")
    pids = {m.role: reported(m).own_pid for m in shared_claim.members}
    if len(set(pids.values())) != len(pids):
        shared_claim.refuse(
            f"both processes have the PID {pids['producer']} for themselves",
            expected="two different own PIDs",
            observed=str(pids),
            cause=causes.EQUAL_OWN_PIDS,
        )


@check(
    id="IPC-001",
    force="MUST",
    level=4,
    source="IPC-1",
    variants=SHARING,
    after=("ISO-003", "IPC-014"),
    needs=("cuda",),
)
def test_memory_opens_on_the_same_gpu(shared_claim: SharedClaim) -> None:
    """A pod MUST be able to open memory that another pod with the same claim exports, on the GPU
    that holds it.
    """
    if reported(shared_claim.producer).offer is None:
        report = reported(shared_claim.producer)
        shared_claim.refuse(
            f"the producer could not export its memory: {report.error_text()}",
            expected="an exported handle",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    judge_opened(shared_claim, "same")


@check(
    id="IPC-011",
    force="MUST",
    level=4,
    source="IPC-1",
    variants=SHARING,
    after=("IPC-001",),
    needs=("cuda",),
)
def test_whole_buffer_arrives_on_the_same_gpu(shared_claim: SharedClaim) -> None:
    """Every word that one pod wrote MUST be read by the other on the same GPU."""
    judge_words(shared_claim, "same")


@check(
    id="IPC-004",
    force="MUST",
    level=4,
    source="IPC-4",
    variants=SHARING_TWO,
    after=("ISO-003", "IPC-014", "IPC-001"),
    needs=("cuda",),
)
def test_memory_opens_on_the_other_gpu(shared_claim: SharedClaim) -> None:
    """A pod MUST be able to open memory that another pod with the same claim exports, on the
    claim's other GPU, if the two GPUs have peer access.
    """
    judge_opened(shared_claim, "cross")


@check(
    id="IPC-012",
    force="MUST",
    level=4,
    source="IPC-4",
    variants=SHARING_TWO,
    after=("IPC-004", "IPC-011"),
    needs=("cuda",),
)
def test_whole_buffer_arrives_on_the_other_gpu(shared_claim: SharedClaim) -> None:
    """Every word that one pod wrote on one GPU MUST be read by the other pod on the other GPU."""
    judge_words(shared_claim, "cross")


@check(
    id="IPC-013",
    force="MUST",
    level=4,
    source="IPC-1, IPC-4",
    variants=SHARING,
    after=("IPC-011", "IPC-012"),
    needs=("cuda",),
)
def test_producer_sees_what_the_consumer_wrote(shared_claim: SharedClaim) -> None:
    """What the importing pod writes into the shared memory MUST be seen by the exporting pod."""
    consumer, producer = reported(shared_claim.consumer), reported(shared_claim.producer)
    wrote = {transfer.path for transfer in consumer.transfers if transfer.wrote}
    buffer = buffer_words(producer)
    # With one path (one GPU, or no peer access) the consumer writes half of the buffer.
    least = buffer if len(wrote) == len(PATHS) else buffer // 2
    expected = f"the writes over {' and '.join(sorted(wrote))} in {least} words, none wrong"
    for seen in producer.seen:
        if seen.get("wrong_words") != 0:
            shared_claim.refuse(
                f"producer saw {seen.get('wrong_words')} of {seen.get('words')} words wrong that"
                f" the consumer wrote, the first at {seen.get('first_wrong')}",
                expected=expected,
                observed=str(dict(seen)),
            )
    looked = {str(seen.get("path")) for seen in producer.seen}
    words = sum(int(seen.get("words") or 0) for seen in producer.seen)
    if not wrote or looked != wrote or words < least:
        shared_claim.refuse(
            f"producer did not see the consumer's write: {producer.error_text()}",
            expected=expected,
            observed=f"{words} words over {', '.join(sorted(looked)) or 'no path'};"
            f" producer: {producer.error_text()}; consumer: {consumer.error_text()}",
            cause=causes.of_cuda(producer.error),
        )


@check(
    id="IPC-002",
    force="MUST",
    level=4,
    source="IPC-2",
    variants=EQUAL_PIDS,
    after=("ISO-003",),
    needs=("cuda",),
)
def test_equal_own_pids_are_refused_with_201(shared_claim: SharedClaim) -> None:
    """A process that has the same PID for itself as the exporting one MUST be refused the memory
    with CUDA error 201, in whatever namespaces the two are: the numbers decide, no privilege does.
    """
    producer, consumer = reported(shared_claim.producer), reported(shared_claim.consumer)
    offered = (producer.offer or {}).get("own_pid", producer.own_pid)
    if not shared_claim.consumer_opens:
        shared_claim.refuse(
            f"the producer offered nothing to open: {producer.error_text()}",
            expected="an exported handle",
            observed=producer.error_text(),
            cause=causes.of_cuda(producer.error),
        )
    if offered != consumer.own_pid:
        shared_claim.refuse(
            f"the own PIDs are {offered} and {consumer.own_pid}, so nothing is shown by this",
            expected="equal own PIDs",
            observed=f"producer {offered}, consumer {consumer.own_pid}",
            blame=Blame.SUITE,
        )
    expected = f"opening is refused with CUDA error {INVALID_CONTEXT} (invalid device context)"
    same = consumer.transfer("same")
    if same is not None and same.opened:
        shared_claim.refuse(
            f"memory opened although both processes have the PID {offered} for themselves",
            expected=expected,
            observed="the handle was opened",
        )
    error = (importing(shared_claim, "same").error or consumer.error) or {}
    if error.get("code") != INVALID_CONTEXT:
        shared_claim.refuse(
            f"opening failed with {consumer.error_text()}, not with {INVALID_CONTEXT}",
            expected=expected,
            observed=str(dict(error)),
            cause=causes.of_cuda(error),
        )


# The end


@check(
    id="LIFE-004",
    force="MUST",
    level=2,
    source="LIFE-4, NODE-8",
    variants=SHARING + ANY_DRIVER,
    after=("ISO-007", "ALLOC-003"),
    needs=("cuda",),
)
def test_claim_is_deallocated_when_its_pods_are_gone(shared_claim: SharedClaim) -> None:
    """When the last pod that used a claim is gone, which takes the driver's unprepare, the claim
    MUST be deallocated and reserved for nobody.
    """
    claim = shared_claim.released.get()
    users = (claim.get("status") or {}).get("reservedFor") or []
    if is_allocated(claim) or users:
        shared_claim.refuse(
            f"the claim is still reserved for {counted(len(users), 'pod')} after their end",
            expected="no allocation, reservedFor empty",
            observed=str(claim.get("status")),
            blame=Blame.CLUSTER,
        )


@check(
    id="LIFE-005",
    force="MUST",
    level=2,
    source="LIFE-5",
    variants=SHARING,
    after=("LIFE-004", "ISO-003"),
    needs=("cuda",),
)
def test_devices_can_be_claimed_again(shared_claim: SharedClaim) -> None:
    """Devices that were given back MUST be allocated to the next claim that asks for them, and its
    pod MUST run with them.
    """
    wanted = {device.key: device for device in shared_claim.allocation.get().devices.values()}
    claim, report = shared_claim.again.get()
    judge_task(shared_claim, "pod that uses them again", report)
    keys = {(r["driver"], r["pool"], r["device"]) for r in results(claim)}
    if keys != set(wanted):
        shared_claim.refuse(
            f"a claim for the same GPUs got {len(keys & set(wanted))} of {len(wanted)} of them",
            expected=str(sorted(wanted)),
            observed=str(sorted(keys)),
            blame=Blame.SCHEDULER,
        )
    seen = {gpu.uuid for gpu in report.gpus}
    missing = named(device for device in wanted.values() if device.uuid not in seen)
    # Of a pod without privileges, which the one in the privileged form is, too.
    if (missing and not shared_claim.form.sees_all) or report.exit != 0:
        shared_claim.refuse(
            f"GPUs claimed again are not seen: {missing or report.error_text()}",
            expected=named(wanted.values()),
            observed=f"{listed(seen)}; {report.error_text()}",
            cause=causes.of_cuda(report.error),
        )


# Judging


def reported(member: Member) -> WorkloadReport:
    """A pod's result, or the reason why there is none."""
    return member.report.get()


def judge_task(shared: SharedClaim, who: str, report: WorkloadReport) -> None:
    """The workload came to its task; if not, that is its own fault, whatever it met."""
    if report.at_fault:
        shared.refuse(
            f"the {who} did not come to its task: {report.error_text()}",
            expected="a result about the GPUs",
            observed=report.error_text(),
            cause=causes.of_cuda({**(report.error or {}), "blame": "workload"}),
        )


def importing(shared: SharedClaim, path: str) -> Transfer:
    """How the consumer fared on a path."""
    consumer = reported(shared.consumer)
    transfer = consumer.transfer(path)
    if transfer is None:
        shared.refuse(
            f"the consumer never came to open the memory ({path}): {consumer.error_text()}",
            expected=f"a transfer on path {path}",
            observed=f"verdict {consumer.verdict}: {consumer.error_text()}",
            cause=causes.of_cuda(consumer.error),
            blame=Blame.WORKLOAD,
        )
    return transfer


def judge_opened(shared: SharedClaim, path: str) -> None:
    """The memory was opened on a path."""
    transfer = importing(shared, path)
    if transfer.opened:
        return
    need_peer_access(transfer)
    error = transfer.error or reported(shared.consumer).error or {}
    code = error.get("code")
    name = error.get("name") or "an error"
    where = "the GPU that holds it" if path == "same" else "the other GPU"
    pids = {reported(member).own_pid for member in shared.members}
    shared.refuse(
        f"consumer could not open the memory on {where}: {name} ({code})",
        expected="cuIpcOpenMemHandle succeeds",
        observed=str(error.get("text") or dict(error)),
        cause=causes.of_cuda(error, equal_own_pids=len(pids) == 1),
    )


def need_peer_access(transfer: Transfer) -> None:
    """Skip what GPUs without peer access cannot do: no driver for Kubernetes can change that."""
    refused = (transfer.error or {}).get("code") == PEER_ACCESS_UNSUPPORTED
    if transfer.path == "cross" and transfer.can_access_peer is False and refused:
        raise UnsupportedError("the two GPUs have no peer access (CUDA error 217)")


def judge_words(shared: SharedClaim, path: str) -> None:
    """Every word of the buffer is right on a path."""
    transfer, offer = importing(shared, path), reported(shared.producer).offer or {}
    need_peer_access(transfer)
    buffer = buffer_words(reported(shared.producer))
    observed = (
        f"{transfer.words} words verified, {transfer.wrong_words} wrong, first"
        f" {transfer.first_wrong}, checksum {transfer.checksum}"
    )
    expected = f"{buffer} words, 0 wrong, checksum {transfer.expected_checksum}"
    where = "the same GPU" if path == "same" else "the other GPU"
    if transfer.wrong_words is None:
        error = transfer.error or reported(shared.consumer).error
        head = f"consumer could not verify the memory on {where}"
        cause = causes.of_cuda(error)
        shared.refuse(head, expected=expected, observed=str(error), cause=cause)
    if transfer.wrong_words:
        head = (
            f"consumer read {transfer.wrong_words} of {transfer.words} words wrong on {where}, the"
            f" first at {transfer.first_wrong}"
        )
        shared.refuse(head, expected=expected, observed=observed)
    if transfer.words != buffer:
        head = f"consumer verified {transfer.words} words of a buffer of {buffer} on {where}"
        shared.refuse(head, expected=expected, observed=observed, blame=Blame.WORKLOAD)
    if transfer.checksum != transfer.expected_checksum or (
        path == "same" and transfer.checksum != offer.get("checksum")
    ):
        head = f"consumer's checksum differs from the producer's on {where}"
        shared.refuse(head, expected=f"{expected} ({offer.get('checksum')})", observed=observed)


def buffer_words(producer: WorkloadReport) -> int:
    """How many words of data the buffer has; its last page holds the doorbell."""
    return (int((producer.offer or {}).get("bytes") or 0) - CONTROL_PAGE_BYTES) // WORD_BYTES


def listed(uuids: Iterable[str]) -> str:
    """UUIDs, as a person reads them."""
    return ", ".join(sorted(uuids)) or "no GPU"


def named(devices: Iterable[Device]) -> str:
    """Devices, as a person reads them."""
    return ", ".join(sorted(f"{device.name} ({device.uuid})" for device in devices))
