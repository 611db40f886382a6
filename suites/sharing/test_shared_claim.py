"""Two pods share one claim of GPUs.

The scenario (`suites.sharing.shared_claim`) runs once a form; each check judges its part, those of
`suites.sharing.test_shared_memory` the memory that one pod gives the other:

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

from harness.checks.check import check
from harness.cluster.inventory import Device, key_of, results
from harness.scenario.evidence import Container, Evidence
from harness.scenario.report import Report, describe
from harness.verdict import causes
from harness.verdict.finding import Blame, UnmetError, UnsupportedError, counted, short_uuid
from suites.sharing.shared_claim import (
    AGAIN,
    ANY_DRIVER,
    EVERY_FORM,
    PRIVILEGED_FORM,
    PRODUCER,
    RESTRICTED_FORMS,
    SHARING,
    TWO_GPUS,
    SharedClaim,
    both,
    consumer_opens,
)
from workload.result import Verdict

CUDA_NOT_FOUND = "libcuda.so.1"


# Admission and allocation


@check(id="ISO-007", level=2, source="ISO-7", forms=RESTRICTED_FORMS + ANY_DRIVER)
def test_restricted_namespace_admits_pods_with_a_claim(
    evidence: Evidence, form: SharedClaim
) -> None:
    """A namespace that enforces the restricted Pod Security Standard MUST admit pods that use GPUs
    through a claim.
    """
    for container in evidence.containers.values():
        if container.refused is not None:
            raise container.refused
    evidence.container(PRODUCER).admitted.get()


@check(id="ALLOC-003", level=2, source="ALLOC-3", forms=TWO_GPUS, after=("ISO-007",))
def test_claim_gets_two_distinct_devices(evidence: Evidence, form: SharedClaim) -> None:
    """A claim with two requests MUST be allocated a device of the driver for each of them, and
    not the same one twice.
    """
    claim, wanted = evidence.claim(form.claim), form.requests
    found = results(claim.allocated.get())
    shown = ", ".join(f"{r['request']}={r['driver']}/{r['pool']}/{r['device']}" for r in found)
    expected = f"one published device for each of {', '.join(wanted)}"
    requests = Counter(str(result["request"]) for result in found)
    if requests != Counter(wanted):
        head = f"the claim was allocated {counted(len(found), 'device')} for 2 requests"
        evidence.fail(head, expected=expected, observed=shown, blame=Blame.SCHEDULER)
    unknown = [name for name in wanted if name not in claim.by_request]
    if unknown:
        head = f"request {unknown[0]} was allocated a device that is in no ResourceSlice"
        evidence.fail(head, expected=expected, observed=shown)
    if len({device.key for device in claim.devices}) != len(wanted):
        head = f"both requests were allocated the same device, {claim.devices[0].name}"
        evidence.fail(head, expected=expected, observed=shown, blame=Blame.SCHEDULER)
    uuids = {device.uuid for device in claim.devices}
    if len(uuids) != len(wanted):
        head = f"two published devices are one GPU: {', '.join(map(short_uuid, uuids))}"
        evidence.fail(head, expected="devices that differ by UUID", observed=shown)


# Preparation on the node


@check(
    id="NODE-028",
    level=1,
    source="ALLOC-1, DISC-5, NODE-28, SHARE-4",
    forms=EVERY_FORM + ANY_DRIVER,
    after=("ISO-007", "ALLOC-003"),
)
def test_containers_of_both_pods_start(evidence: Evidence, form: SharedClaim) -> None:
    """The driver MUST prepare a shared claim for each pod that uses it, so that the containers of
    both start.
    """
    for container in both(evidence):
        container.started.get()


@check(
    id="SHARE-004",
    level=2,
    source="SHARE-4",
    forms=SHARING + ANY_DRIVER,
    after=("NODE-028",),
    judges_driver=False,
)
def test_both_pods_use_the_claim_on_the_devices_node(evidence: Evidence, form: SharedClaim) -> None:
    """Each pod that uses a claim MUST be in its reservedFor, and run on the node that its devices
    are on, where they belong to one.
    """
    claim = evidence.claim(form.claim)
    claim.allocated.get()
    nodes = {device.node for device in claim.devices if device.node}
    for container in both(evidence):
        node = container.started.get()["spec"].get("nodeName")
        if nodes - {node}:
            evidence.fail(
                f"the {container.role} runs on {node}, not with the devices on"
                f" {', '.join(sorted(nodes))}",
                expected="pods and devices on one node",
                observed=f"{container.role} on {node}, devices on {', '.join(sorted(nodes))}",
                blame=Blame.SCHEDULER,
            )
    if not form.rests and not consumer_opens(evidence):
        raise UnmetError("the producer ended before both could have the claim at the same time")
    claim.in_use.get()


@check(
    id="IPC-015",
    level=4,
    source="IPC-15",
    forms=EVERY_FORM,
    after=("NODE-028",),
    judges_driver=False,
)
def test_results_of_both_pods_arrive_unchanged(evidence: Evidence, form: SharedClaim) -> None:
    """Each container's log MUST end with a result, and it MUST be the one whose hash and verdict
    are in the container's termination message.
    """
    for container in both(evidence):
        report = evidence.report(container.role)
        if container.ended_by_suite:
            continue  # its pod may be gone before the kubelet could tell its last words
        message = container.message.get()
        if (message.sha256, message.verdict) != (report.sha256, report.verdict):
            evidence.fail(
                f"the {container.role}'s log and termination message tell different results",
                expected=f"sha256 {message.sha256}, verdict {message.verdict}",
                observed=f"sha256 {report.sha256}, verdict {report.verdict}",
                blame=Blame.CLUSTER,
            )


@check(id="NODE-029", level=4, source="NODE-29", forms=EVERY_FORM, after=("IPC-015",))
def test_both_containers_find_libcuda(evidence: Evidence, form: SharedClaim) -> None:
    """The GPU driver's library libcuda.so.1 MUST be found by the dynamic loader of a container
    that the claim was prepared for, without any help from the container.
    """
    for container in both(evidence):
        report = container.report.get()
        if CUDA_NOT_FOUND in report.error_text():
            evidence.fail(
                f"the {container.role} does not find {CUDA_NOT_FOUND} in its container",
                expected=f"{CUDA_NOT_FOUND} is found by the dynamic loader",
                observed=report.error_text(),
                cause=causes.of_cuda(report.error),
            )


@check(
    id="ISO-003",
    level=4,
    source="ISO-3, SHARE-5",
    forms=EVERY_FORM,
    after=("NODE-029", "ALLOC-007", "ALLOC-004", "LIFE-002"),
)
def test_containers_see_exactly_the_allocated_gpus(evidence: Evidence, form: SharedClaim) -> None:
    """A container MUST see each GPU that its claim was allocated and, unless it is privileged, no
    other GPU.
    """
    for container in both(evidence):
        report, wanted = container.report.get(), {device.uuid for device in container.devices}
        seen = [gpu.uuid for gpu in report.gpus]
        missing, surplus = sorted(wanted - set(seen)), sorted(set(seen) - wanted)
        expected = f"{'at least' if form.security.privileged else 'exactly'} {listed(wanted)}"
        observed = listed(seen)
        if missing:
            there = len(wanted) - len(missing)
            head = (
                f"{container.role} saw {there} of the {len(wanted)} allocated GPUs:"
                f" {', '.join(short_uuid(uuid) for uuid in missing)} missing"
            )
            if surplus:
                head += f", {', '.join(short_uuid(uuid) for uuid in surplus)} instead"
            cause = causes.of_cuda(report.error)
            evidence.fail(head, expected=expected, observed=observed, cause=cause)
        if surplus and not form.security.privileged:
            head = (
                f"{container.role} saw {counted(len(surplus), 'GPU')} that"
                f" {'is' if len(surplus) == 1 else 'are'} not allocated to it:"
                f" {', '.join(short_uuid(uuid) for uuid in surplus)}"
            )
            evidence.fail(head, expected=expected, observed=observed)
        if len(seen) != len(set(seen)):
            head = f"{container.role} saw one GPU more than once"
            evidence.fail(head, expected=expected, observed=observed)


@check(id="SEC-008", level=4, source="SEC-8", forms=RESTRICTED_FORMS, after=("NODE-029",))
def test_restricted_containers_have_no_privileges(evidence: Evidence, form: SharedClaim) -> None:
    """What a restricted container gets from the driver MUST NOT need or give it privileges: it
    MUST run with no capability, no_new_privs, a seccomp filter and a user other than root.
    """
    for container in both(evidence):
        process = container.report.get().process
        wanted = {
            "cap_eff": int(process.cap_eff or "f", 16) == 0,
            "no_new_privs": process.no_new_privs == 1,
            "seccomp": process.seccomp == 2,
            "uid": process.uid not in (None, 0),
        }
        for name, fine in wanted.items():
            if not fine:
                evidence.fail(
                    f"the {container.role} is not restricted: its {name} is"
                    f" {_or_not_reported(getattr(process, name))}",
                    expected="cap_eff 0, no_new_privs 1, seccomp 2 (filter), uid not 0",
                    observed=describe(process),
                    blame=Blame.CLUSTER,
                )


@check(id="SEC-003", level=4, source="SEC-3", forms=(PRIVILEGED_FORM,), after=("ISO-003",))
def test_privileged_containers_see_every_gpu_of_the_node(
    evidence: Evidence, form: SharedClaim
) -> None:
    """A privileged container SHOULD see every GPU that the driver publishes for its node, as on
    any machine.
    """
    wanted = {device.uuid for device in evidence.claim(form.claim).node_devices}
    for container in both(evidence):
        seen = {gpu.uuid for gpu in container.report.get().gpus}
        if not wanted <= seen:
            evidence.fail(
                f"privileged {container.role} saw {len(seen)} of the node's {len(wanted)} GPUs",
                expected=listed(wanted),
                observed=listed(seen),
            )


@check(id="SLICE-003", level=4, source="SLICE-3", forms=(PRIVILEGED_FORM,), after=("ISO-003",))
def test_every_gpu_of_the_node_is_published(evidence: Evidence, form: SharedClaim) -> None:
    """Every GPU that a privileged container sees on its node SHOULD be published; one that is to be
    left out needs a reason that somebody can find.
    """
    published = {device.uuid for device in evidence.claim(form.claim).node_devices}
    if not all(published):
        raise UnsupportedError("the driver publishes devices without a UUID")
    for container in both(evidence):
        seen = {gpu.uuid for gpu in container.report.get().gpus}
        if left_out := sorted(seen - published):
            evidence.fail(
                f"privileged {container.role} saw {short_uuid(left_out[0])}, which no slice of the"
                " node has",
                expected=listed(published),
                observed=listed(seen),
            )


@check(id="SLICE-007", level=4, source="SLICE-7", forms=SHARING, after=("NODE-029", "ALLOC-008"))
def test_gpus_are_named_in_the_container_as_in_the_slice(
    evidence: Evidence, form: SharedClaim
) -> None:
    """A GPU MUST have the name in the container that its ResourceSlice gives for its UUID, and the
    pod's log MUST tell the same as its result.
    """
    published = {device.uuid: device for device in evidence.claim(form.claim).node_devices}
    compared = 0
    for container in both(evidence):
        report = container.report.get()
        judge_log(evidence, container, report)
        for gpu in report.gpus:
            device = published.get(gpu.uuid)
            if device is None:
                continue
            compared += 1
            if gpu.name != device.product:
                evidence.fail(
                    f"{short_uuid(gpu.uuid)} is {gpu.name} in the {container.role}, not"
                    f" {device.product} as published",
                    expected=f"{gpu.uuid} {device.product}",
                    observed=f"{gpu.uuid} {gpu.name}",
                )
    if not compared:
        raise UnmetError("no GPU that is in a ResourceSlice was seen in any container")


def judge_log(evidence: Evidence, container: Container, report: Report) -> None:
    """Compare the lines for people with the result for programs."""
    if not report.gpus:
        return
    title = container.role.capitalize()
    lines = [f"{title}: Found {len(report.gpus)} GPU(s)"]
    lines += [f"{title}: GPU {n}: {gpu.name} ({gpu.uuid}" for n, gpu in enumerate(report.gpus)]
    for wanted in lines:
        if not any(line.startswith(wanted) for line in report.lines):
            evidence.fail(
                f"the {container.role}'s log does not tell the GPUs of its result",
                expected=wanted,
                observed="\n".join(report.lines[:12]),
                blame=Blame.WORKLOAD,
            )


# The end


@check(
    id="LIFE-004",
    level=2,
    source="LIFE-4, NODE-8",
    forms=SHARING + ANY_DRIVER,
    after=("ISO-007", "ALLOC-003"),
)
def test_claim_is_deallocated_when_its_pods_are_gone(evidence: Evidence, form: SharedClaim) -> None:
    """When the last pod that used a claim is gone, which takes the driver's unprepare, the claim
    MUST be deallocated and reserved for nobody.
    """
    # Seen without an allocation, which the API server takes for reserved for nobody, too.
    evidence.claim(form.claim).released.get()


@check(id="LIFE-005", level=2, source="LIFE-5", forms=SHARING, after=("LIFE-004", "ISO-003"))
def test_devices_can_be_claimed_again(evidence: Evidence, form: SharedClaim) -> None:
    """Devices that were given back MUST be allocated to the next claim that asks for them, and its
    pod MUST run with them.
    """
    wanted = {device.key: device for device in evidence.claim(form.claim).devices}
    report = evidence.report(AGAIN)
    claim = evidence.claim(AGAIN).allocated.get()
    keys = set(map(key_of, results(claim)))
    if keys != set(wanted):
        evidence.fail(
            f"a claim for the same GPUs got {len(keys & set(wanted))} of {len(wanted)} of them",
            expected=", ".join(sorted(f"{pool}/{name}" for _, pool, name in wanted)),
            observed=", ".join(sorted(f"{pool}/{name}" for _, pool, name in keys)),
            blame=Blame.SCHEDULER,
        )
    seen = {gpu.uuid for gpu in report.gpus}
    missing = [short_uuid(one.uuid) for one in wanted.values() if one.uuid not in seen]
    # Of a pod without privileges, which the one in the privileged form is, too.
    if (missing and not form.security.privileged) or report.verdict is not Verdict.OK:
        evidence.fail(
            f"GPUs claimed again are not seen: {', '.join(missing) or report.error_text()}",
            expected=named(wanted.values()),
            observed=f"{listed(seen)}; {report.error_text()}",
            cause=causes.of_cuda(report.error),
        )


# Judging


def _or_not_reported(value: object) -> object:
    return "not reported" if value is None else value


def listed(uuids: Iterable[str]) -> str:
    """UUIDs, as a person reads them."""
    return ", ".join(sorted(uuids)) or "no GPU"


def named(devices: Iterable[Device]) -> str:
    """Devices, as a person reads them."""
    return ", ".join(sorted(f"{device.name} ({device.uuid})" for device in devices))
