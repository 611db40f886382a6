"""The steps that create something, once all that is only read is well: namespaces and small pods.

What they make belongs to the run and goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.cluster.features import find
from harness.cluster.inventory import KEEP_AWAY, Device, is_allocated, results
from harness.cluster.kinds import NODE, POD, Object, name_of
from harness.cluster.kube import ApiError
from harness.cluster.observe import WaitTimeoutError
from harness.cluster.render import tolerations_of
from harness.scenario import program
from harness.scenario.claim_spec import ClaimSpec, Request
from harness.scenario.pods import NOT_PULLED, container_state
from harness.scenario.run import ADMIN_ACCESS, PRIVILEGED, RESTRICTED
from harness.session.preflight.context import Context, step_failed
from harness.session.preflight.read_only import PUSH
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding, FindingError, counted, judge

ENFORCE = "pod-security.kubernetes.io/enforce"
ADMIN_LABEL = "=".join(*ADMIN_ACCESS.items())
PROBE = "preflight"
NODES_TO_PULL_ON = 4
"""On how many nodes at most the image is tried: with more, one stands for the others."""


def admission(context: Context) -> None:
    """The run's namespaces MUST admit pods and claims such as the checks make."""
    for standard in context.standards():
        namespace = context.run.open_namespace(standard)
        # One that was there before may enforce what it likes: the pod below tells whether it fits.
        made = {name_of(item): item for item in context.run.namespaces()}
        labels = made[namespace]["metadata"].get("labels") or {} if namespace in made else None
        if labels is not None and labels.get(ENFORCE) != standard:
            raise step_failed(
                f"namespace {namespace} was made to enforce Pod Security {standard}, and does not:"
                f" {ENFORCE} is {labels.get(ENFORCE, 'gone')}",
                f"{ENFORCE}: {standard}",
                Blame.CLUSTER,
                "a policy of the cluster changes the labels of new namespaces: exempt those that"
                " begin with dra-conformance-, or name one that is fit (--dra-namespace)",
            )
        pod = _pod(
            *(context, "pod-image.yaml.j2", standard),
            image=context.image or "none",
            as_large_as_checks=True,  # quotas and LimitRanges must have room for those
        )
        try:
            context.run.kube.create(pod, dry_run=True)
        except ApiError as error:
            raise judge(
                causes.refusal(
                    f"the cluster does not admit a pod under Pod Security {standard}: {error}",
                    "pods such as the checks make are admitted",
                    error,
                    "see what refuses it (quota, limits, an admission policy);"
                    " --dra-pod-patch=FILE changes every pod of the run",
                )
            ) from error
    namespace = context.run.open_namespace(RESTRICTED)
    count = max((scenario.devices for scenario in context.checks.scenarios()), default=1)
    request = Request(
        "device",
        max(1, min(count, max((context.free or {}).values(), default=1))),
        admin=context.run.options.admin,
    )
    values = ClaimSpec(PROBE, [request]).values(context.driver, context.device_class)
    claim = context.run.render("claim.yaml.j2", {"namespace": namespace, **values})
    try:
        made = context.run.kube.create(claim, dry_run=True)
    except ApiError as error:
        raise judge(
            causes.refusal(
                f"the cluster admits no claim of {counted(request.count, 'device')}: {error}",
                "claims such as the checks make are admitted",
                error,
                "see what refuses it (quota, an admission policy)"
                if not request.admin
                else f"kubectl label namespace {namespace} {ADMIN_LABEL}, or see what refuses it",
            )
        ) from error
    if request.admin and not made["spec"]["devices"]["requests"][0]["exactly"].get("adminAccess"):
        raise step_failed(
            "the API server drops adminAccess from claims, which would then take devices",
            "a claim with admin access",
            Blame.CLUSTER,
            "enable the feature gate DRAAdminAccess, or run without --dra-admin",
        )
    context.features = find(context.run.kube, namespace)


def matching_class(context: Context) -> None:
    """The DeviceClass MUST select devices of the driver."""
    run = context.run
    namespace = run.open_namespace(RESTRICTED)
    request = Request("device", admin=run.options.admin)
    values = ClaimSpec(PROBE, [request]).values(context.driver, context.device_class)
    claim = run.create(run.render("claim.yaml.j2", {"namespace": namespace, **values}))
    pod = run.create(
        _pod(context, "pod-class.yaml.j2", RESTRICTED, claim=PROBE, image=context.image or "none")
    )

    def allocated() -> Object | None:
        # Not only the last state: the kubelet has turned the pod away a moment later, and with
        # it goes the allocation.
        return next(filter(is_allocated, run.observer.versions(claim)), None)

    try:
        seen = run.observer.wait(
            "a device of the class",
            allocated,
            run.budgets.observe,
            lambda: _unschedulable(run.observer.last(pod).obj),
        )
    except WaitTimeoutError as error:
        raise _no_device(context, pod, error) from error
    finally:
        for obj in (pod, claim):
            run.kube.delete(obj)
    drivers = sorted({str(result["driver"]) for result in results(seen)})
    if drivers != [context.driver]:
        raise step_failed(
            f"DeviceClass {context.device_class} gives devices of {', '.join(drivers)}, not of"
            f" {context.driver}",
            f"a device of {context.driver}",
            Blame.CLUSTER,
            "name the class of the driver in a profile (--dra-profile=FILE, class)",
        )
    _await_release(context, claim)


def _no_device(context: Context, pod: Object, error: WaitTimeoutError) -> FindingError:
    """The finding that nothing was allocated: by the class's fault, or by others'."""
    said = error.seen
    tainted = {one: _taints(one) for one in context.devices}
    if all(tainted.values()):
        shown = sorted({taint for taints in tainted.values() for taint in taints})
        return step_failed(
            f"no device was allocated: the driver taints every one itself: {', '.join(shown)}",
            "a device without a taint that keeps claims away",
            Blame.DRIVER,
            "see the log of the driver's pods: what does it hold against its devices?",
            said,
        )
    if "cannot allocate all claims" in said:
        return step_failed(
            f"DeviceClass {context.device_class} matches none of the free devices of"
            f" {context.driver}",
            "a device that its selectors match",
            Blame.DRIVER,
            f"compare its selectors (kubectl get deviceclass {context.device_class} -o yaml) with"
            " the devices (kubectl get resourceslices -o yaml)",
            said,
        )
    if node := context.run.observer.last(pod).obj["spec"].get("nodeName"):
        return step_failed(
            f"no device was allocated: the pod is on {node} and its claim is not allocated",
            "a scheduler that allocates a pod's claims before it places the pod",
            Blame.SCHEDULER,
            "the pods are placed by a scheduler that knows no claims: see their schedulerName"
            " (--dra-pod-patch, or a policy of the cluster, sets it)",
            said,
        )
    cause = context.run.cause_of(pod) or causes.of_scheduler(said)
    if cause is causes.TAINTED:  # nodes that are not well have taints, too
        used = set(map(name_of, context.used_nodes()))
        now = [node for node in context.run.observer.objects(NODE) if name_of(node) in used]
        cause = next(filter(None, map(causes.of_node, now)), cause)
    finding = Finding(
        f"no device of DeviceClass {context.device_class} was allocated: {said}",
        f"an allocation within {error.budget.seconds:g} s",
        said,
        Blame.SCHEDULER,
        next="see the log of kube-scheduler",
    )
    return judge(causes.because(cause, finding))


def _taints(device: Device) -> list[str]:
    """The taints with which a driver publishes a device that keep claims away from it."""
    return [
        f"{taint.get('key')}={taint.get('value', '')}:{taint['effect']}"
        for taint in device.entry.get("taints") or []
        if taint.get("effect") in KEEP_AWAY
    ]


def _unschedulable(pod: Object) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason"))
    node = pod["spec"].get("nodeName")
    return f"the pod is on {node}" if node else "the scheduler says nothing about the pod"


def _await_release(context: Context, claim: Object) -> None:
    """Let the device be free again for the first check; that it stays is not judged here."""
    try:
        context.run.observer.wait(
            "the end of preflight's claim",
            lambda: context.run.observer.last(claim).gone,
            context.run.budgets.observe,
            lambda: "",
        )
    except WaitTimeoutError:
        context.run.journal.write("trouble", text="preflight's claim is not released")


def pulled_image(context: Context) -> None:
    """The nodes with devices MUST be able to pull the workload image."""
    if not context.image or context.image == context.run.cluster.image:
        return  # nothing runs, or the place was brought up with it
    run = context.run
    nodes = run.kube.list(NODE)[0] if context.nodes else ()
    having = {name_of(node) for node in nodes if _has_image(node, context.image)}
    free = context.free or {}
    lacking = sorted(node for node, count in free.items() if count and node not in having)
    pods = [
        run.create(
            _pod(
                *(context, "pod-image.yaml.j2", RESTRICTED),
                name=f"{PROBE}-{number}",
                image=context.image,
                node=node,
            )
        )
        for number, node in enumerate(lacking[:NODES_TO_PULL_ON])
    ]
    for pod in pods:
        _await_pull(context, pod)
    for pod in pods:
        run.kube.delete(pod)


def _await_pull(context: Context, pod: Object) -> None:
    run, node = context.run, pod["spec"]["nodeName"]

    def decided() -> Mapping[str, Any] | None:
        seen = run.observer.last(pod).obj
        state = container_state(seen)
        waiting = state.get("waiting")
        if state and (waiting is None or waiting.get("reason") in NOT_PULLED):
            return state
        failed = (seen.get("status") or {}).get("phase") == "Failed"
        return {"terminated": {}} if failed else None

    try:
        state = run.observer.wait(
            f"the workload image on {node}",
            decided,
            run.budgets.pull,
            lambda: _events(context, pod),
        )
    except WaitTimeoutError as error:
        raise step_failed(
            f"node {node} has not pulled {context.image} within {error.budget.seconds:g} s",
            "the image is pulled",
            Blame.CLUSTER,
            "let the nodes pull it before (a DaemonSet), or give more time: --dra-timeout-scale",
            error.seen,
        ) from error
    waiting = state.get("waiting") or {}
    if waiting:
        said = f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
        # kubelet's second word on it, that it waits before it tries again, says no reason.
        why = _events(context, pod) if "back-off" in said.lower() else said
        raise step_failed(
            f"{node} cannot pull the workload image {context.image}: {why}",
            "an image that the nodes can pull",
            Blame.CLUSTER,
            PUSH,
            f"{said}\n{_events(context, pod)}".strip(),
        )


def _events(context: Context, pod: Object) -> str:
    events = [str(event.get("message") or "") for event in context.run.events_of(pod)]
    describe = [text for text in events if "Failed to pull" in text] or events
    return describe[-1] if describe else "no event"


def _has_image(node: Object, image: str) -> bool:
    """Whether a node says that it has an image; it does not tell of all that it has."""
    names = {
        str(name)
        for item in (node.get("status") or {}).get("images") or []
        for name in item.get("names") or []
    }
    # A name without a registry stands there behind the one that the runtime takes for it.
    return any(name == image or name.endswith(f"/{image}") for name in names)


def _pod(context: Context, template: str, standard: str, **values: Any) -> Object:
    given = {
        "name": PROBE,
        "namespace": context.run.open_namespace(standard),
        "node": "",
        "as_large_as_checks": False,
        "user": context.run.options.run_as,
        "command": program.does_nothing(shell=bool(context.run.options.shell_image)),
        "privileged": standard == PRIVILEGED,
        "tolerations": [
            *map(dict, context.the_profile().tolerations),
            *tolerations_of(context.used_nodes()),
        ],
        **values,
    }
    pod = context.run.render(f"preflight/{template}", given)
    assert pod["kind"] == POD.name
    return pod
