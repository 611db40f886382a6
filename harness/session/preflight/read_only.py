"""The steps that only read: the API server, rights, driver, devices, what others left and hold."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from http.client import BAD_REQUEST, FORBIDDEN, NOT_FOUND
from operator import attrgetter

from building.tree import CHECKS_RUN, COMMAND, EMBEDDED_RUN
from harness.cluster.anchor import LEASE_SECONDS
from harness.cluster.inventory import (
    Pool,
    devices,
    driver_names,
    free_by_node,
    has_room,
    holders,
    kept_away,
    partitions,
    pools,
)
from harness.cluster.kinds import (
    CLAIM,
    DEVICE_CLASS,
    NODE,
    POD,
    SLICE,
    TAINT_RULE,
    Object,
    describe_name,
    has_labels,
    name_of,
)
from harness.cluster.kube import ApiError
from harness.cluster.observe import WaitTimeoutError
from harness.cluster.profile import NO_POD, Profile, ProfileError, choose, load_all
from harness.cluster.profile import named as profile_named
from harness.cluster.versions import GROUP, VERSIONS, best
from harness.scenario.pods import EVIDENCE_LINES, describe
from harness.scenario.scenario import CUDA
from harness.session.permissions import manifest, missing, named, rights, user
from harness.session.preflight.context import Context, step_failed, unless_refused
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding, counted, judge

CLOCKS_SECONDS = 60.0
"""Reports order what this machine did and what the cluster did by two clocks."""
HARDWARE_LABEL = "dra-conformance.io/hardware"
"""What nodes of an embedded cluster say of their GPUs, so that nobody takes them for real ones."""
IDENTIFYING = ("uuid", "product")
"""What every device has to be published with, as far as the profile knows what it is called."""
RBAC_FILE = "rbac.yaml"
PUSH = (
    "push the workload image to a registry that the nodes pull from"
    f" ({COMMAND} push REGISTRY/NAME), and name it: --dra-image REGISTRY/NAME; or name any image"
    f" with Python and PyCUDA: --dra-python-image IMAGE; {EMBEDDED_RUN} needs none"
)


def api(context: Context) -> None:
    """The API server MUST answer."""
    context.kubernetes = str(context.run.kube.document("/version")["gitVersion"])


def clocks(context: Context) -> None:
    """The clocks of the API server and of this machine MUST agree."""
    told_time, unsure = context.run.kube.clock()
    off = told_time - time.time()
    if abs(off) - unsure > CLOCKS_SECONDS:
        raise step_failed(
            f"the API server's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this"
            " machine's",
            f"at most {CLOCKS_SECONDS:.0f} s",
            Blame.CLUSTER,
            "let both take the time from NTP (timedatectl status tells what this machine does)",
        )


def resource_api(context: Context) -> None:
    """The API group resource.k8s.io MUST be served in a version that the suite can use."""
    try:
        group = context.run.kube.document(f"/apis/{GROUP}")
    except ApiError as error:
        if error.status != 404:
            raise
        versions: list[str] = []
    else:
        versions = [str(entry["version"]) for entry in group.get("versions") or []]
    asked = context.run.options.api
    found = best(versions) if asked == "auto" else best({asked} & set(versions))
    if found is None:
        served = ", ".join(versions) or "no version of it"
        wanted = ", ".join(VERSIONS) if asked == "auto" else f"{asked} (--dra-api)"
        raise step_failed(
            f"the cluster does not serve {GROUP} in {wanted}; it serves {served}",
            f"{GROUP} in {wanted}",
            Blame.CLUSTER,
            "--dra-api auto takes the best version that is served"
            if best(versions)
            else "upgrade the cluster to Kubernetes 1.34 or later, which serves v1; before,"
            " enable the feature gate DynamicResourceAllocation and the API's beta version",
        )
    context.run.kube.dra_api = found


def permissions(context: Context) -> Finding | None:
    """The run's user MUST have every right that the planned checks take."""
    namespace = context.run.options.namespace
    wanted = context.checks.rules(context.run.options)
    lacking = missing(context.run.kube, rights(wanted, namespace))
    if not lacking:
        return None
    blocking = [right for right in lacking if right.rule.needed]
    who = user(context.run.kube)
    file = context.run.folder / RBAC_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest(wanted, namespace, who), encoding="utf-8")
    shown = blocking or lacking
    finding = Finding(
        f"{who or 'the user'} may not {named(shown)}",
        "every right that --dra-plan lists",
        "\n".join(f"may not {right}: {right.rule.why}" for right in lacking),
        Blame.CLUSTER,
        next=f"have an administrator give the rights: kubectl apply -f {file}",
    )
    if blocking:
        raise judge(finding)
    return finding


def driver(context: Context) -> None:
    """A driver MUST publish devices; a profile tells what is known about it."""
    context.run.observer.observe(SLICE)
    slices = context.run.observer.objects(SLICE)
    published = driver_names(slices)
    wanted = context.run.options.driver or context.run.cluster.driver
    if not published or (wanted and wanted not in published):
        _must_not_end(context, {wanted} if wanted else set())
        found = ", ".join(published) or "nobody"
        subject = f"driver {wanted}" if wanted else "no driver"
        silent = sorted({str(item["spec"]["driver"]) for item in slices} - set(published))
        empty = f" (slices without devices: {', '.join(silent)})" if silent else ""
        # Of a driver of which nothing is seen, nobody knows whether it has a node to run on.
        seen = silent or context.run.cluster.driver
        raise step_failed(
            f"{subject} publishes {'no ' if wanted else ''}devices; published by: {found}{empty}",
            "at least one ResourceSlice with devices",
            Blame.DRIVER if seen else Blame.CLUSTER,
            "kubectl get resourceslices; see the log of the driver's pods on the nodes; where it"
            " has none (kubectl get daemonsets -A: DESIRED is 0), no node has the labels it wants;"
            " in a virtual cluster there may be no slices to see: run in its host cluster",
        )
    options = context.run.options
    try:
        profile, context.driver = choose(
            options.profile, context.profiles, [wanted] if wanted else published
        )
    except ProfileError as error:
        raise step_failed(
            str(error),
            "one driver under test, and its profile",
            Blame.SUITE,
            "--dra-driver NAME chooses the driver under test, --dra-profile its profile",
        ) from error
    context.profile = profile.where_told(
        device_class=options.class_,
        visible_by=options.visible_by,
        channel_class=options.channel_class,
    )
    context.checks.learn(profile=context.profile)


def _must_not_end(context: Context, drivers: set[str]) -> None:
    """End the run where a driver that publishes nothing ends again and again.

    Args:
        context: of the run.
        drivers: which; empty: any that a profile knows.
    """
    wanted, folder = context.run.options.profile, context.profiles
    with suppress(ProfileError):  # else it is said where the profile is chosen
        profiles = [profile_named(wanted, folder)] if wanted else load_all(folder)
        for profile in profiles:
            known = not drivers or not drivers.isdisjoint(profile.drivers)
            if profile.plugin_selector == NO_POD or not (wanted or known):
                continue
            for pod in unless_refused(partial(_pods_of, context, profile)):
                if causes.of_driver([pod], causes.NOT_REGISTERED) is causes.DRIVER_ENDS:
                    log = partial(_log_of, context, pod, profile)
                    said = unless_refused(log, (FORBIDDEN, NOT_FOUND, BAD_REQUEST))
                    raise judge(causes.because(causes.DRIVER_ENDS, _ends(pod, said)))


def _pods_of(context: Context, profile: Profile) -> list[Object]:
    return context.run.kube.list(POD, labels=profile.plugin_selector)[0]


def _log_of(context: Context, pod: Object, profile: Profile) -> list[str]:
    """The lines of the container's last life."""
    return context.run.kube.log(pod, profile.plugin_container).splitlines()


def _ends(pod: Object, log: list[str]) -> Finding:
    last = log[-1] if log else "its log is empty"
    return Finding(
        f"no devices: the driver's container on {pod['spec'].get('nodeName')} ends again and again:"
        f" {last}",
        "at least one ResourceSlice with devices",
        "\n".join([f"{describe_name(pod)}: {describe(pod)}", *log[-EVIDENCE_LINES:]]),
        Blame.DRIVER,
    )


def device_class(context: Context) -> None:
    """The driver's DeviceClass MUST exist, and that of IMEX channels if one is named."""
    classes, _ = context.run.kube.list(DEVICE_CLASS)
    names = sorted(map(name_of, classes))
    wanted = context.the_profile().device_class
    if not wanted:
        about = [name_of(item) for item in classes if _speaks_of(item, context.driver)]
        wanted = context.driver if context.driver in names or len(about) != 1 else about[0]
    if wanted not in names and context.creates():  # else DISC-010 says so
        raise step_failed(
            f"there is no DeviceClass {wanted}; there are {', '.join(names) or 'none'}",
            "the DeviceClass that the driver's installation brings",
            Blame.DRIVER,
            "install the driver's chart completely; --dra-class NAME names a class that is called"
            " otherwise",
        )
    context.device_class = wanted
    channels = context.the_profile().channel_class
    if channels and channels not in names and context.creates():
        raise step_failed(
            f"there is no DeviceClass {channels}; there are {', '.join(names) or 'none'}",
            "the DeviceClass of IMEX channels that the user or the profile names",
            Blame.SUITE,
            "--dra-channel-class NAME names another one",
        )


def _speaks_of(device_class: Object, driver: str) -> bool:
    """Whether a class names a driver at all; what its selectors select, only allocation tells."""
    return f'"{driver}"' in str(device_class.get("spec")) or f"'{driver}'" in str(
        device_class.get("spec")
    )


def complete_pools(context: Context) -> None:
    """Each pool of the driver MUST have all slices of its newest generation, and no others."""
    if not context.creates():
        return  # SLICE-010 says so

    def wrong() -> list[Pool]:
        found = pools(context.run.observer.objects(SLICE), context.driver)
        return [pool for pool in found if not pool.complete]

    try:
        context.run.observer.wait(
            "the driver's complete pools",
            lambda: not wrong(),
            context.run.budgets.observe,
            lambda: "",
        )
    except WaitTimeoutError as error:
        left = list(map(str, wrong()))
        raise step_failed(
            left[0] if left else "the driver's pools change all the time",
            "all slices of each pool's newest generation, and no older ones, for"
            f" {error.budget.seconds:g} s",
            Blame.DRIVER,
            "kubectl get resourceslices -o yaml; see the log of the driver's pods",
            "\n".join(left),
        ) from error


def published_devices(context: Context) -> None:
    """The driver MUST publish devices of the kind under test, with what identifies them."""
    profile = context.the_profile()
    slices = context.run.observer.objects(SLICE)
    selector = context.run.options.node_selector
    # Before there are namespaces: those are watched only where the whole is not.
    context.run.observe_cluster()
    may_fail = () if selector else (FORBIDDEN,)  # without a selector nobody needs to see nodes
    context.nodes = tuple(unless_refused(lambda: context.run.seen(NODE), may_fail))
    found = devices(slices, context.driver, profile)
    context.partitions = partitions(slices, context.driver, profile)
    if not found:
        raise step_failed(
            f"driver {context.driver} publishes no device whose attribute"
            f" {profile.select_attribute} is {profile.select_value}",
            f"devices with {profile.select_attribute} = {profile.select_value}",
            Blame.DRIVER,
            "kubectl get resourceslices -o yaml",
        )
    known = [(what, profile.attributes[what]) for what in IDENTIFYING if what in profile.attributes]
    for device in found if context.creates() else ():  # else checks of what is published say so
        lacking = [name for what, name in known if not getattr(device, what)]
        if lacking:
            raise step_failed(
                f"device {device.name} is published without {lacking[0]}",
                "every device with what identifies it",
                Blame.DRIVER,
                "kubectl get resourceslices -o yaml",
            )
        if not device.node:
            raise step_failed(
                f"device {device.name} of pool {device.pool} belongs to no one node, which this"
                " suite cannot test",
                "devices with the name of their node; DRA allows others",
                Blame.SUITE,
                "--dra-level 0 judges what is published",
            )
    if selector:
        chosen = {name_of(node) for node in context.nodes if has_labels(node, selector)}
        found = [device for device in found if device.node in chosen]
        if not found:
            shown = ",".join(f"{key}={value}" for key, value in selector.items())
            raise step_failed(
                f"no node with devices has the labels {shown} (--dra-node-selector)",
                "at least one",
                Blame.SUITE,
                f"kubectl get nodes -l {shown}",
            )
    context.devices = tuple(found)
    if profile.plugin_selector == NO_POD:
        # For a driver of which nothing is known only.
        from harness.session.preflight.driver_pods import with_driver_pods  # noqa: PLC0415

        context.profile = with_driver_pods(context, profile)
    describe = {
        (node["metadata"].get("labels") or {}).get(HARDWARE_LABEL, "")
        for node in context.used_nodes()
    }
    context.hardware = describe.pop() if len(describe) == 1 else ""


def free_devices(context: Context) -> Finding | None:
    """A node MUST have as many free devices as the smallest check takes.

    Those that take more are skipped, each with this reason.
    """
    # Admin access gets devices whoever has them.
    claims = [] if context.run.options.admin else context.run.seen(CLAIM)
    rules: list[Object] = []
    if context.creates():
        kube = context.run.kube
        rules = unless_refused(lambda: kube.list(TAINT_RULE)[0], (FORBIDDEN, NOT_FOUND))
    tainted = kept_away(context.devices, rules)
    free = {
        node: sum(device.key not in tainted for device in left)
        for node, left in free_by_node(context.devices, claims).items()
    }
    held = holders(claims)
    for device in context.devices:
        if device.key in held and device.key not in tainted and has_room(device, claims):
            free[device.node] += 1
    needed = min(map(attrgetter("devices"), context.checks.scenarios()), default=0)
    context.free = free
    context.checks.learn(largest=max(free.values(), default=0))
    if max(free.values(), default=0) >= needed:
        return _offered_twice(context)
    shown = ", ".join(f"{count} on {node}" for node, count in sorted(free.items()))
    if tainted:
        rule = min(tainted.values())
        raise step_failed(
            f"the checks need {counted(needed, 'free device')} on one node; free are {shown}:"
            f" DeviceTaintRule {rule} keeps claims away from {counted(len(tainted), 'device')}",
            f"{counted(needed, 'free device')} of {context.driver} on one node",
            Blame.CLUSTER,
            f"see what it is for (kubectl get devicetaintrule {rule} -o yaml): one with an empty"
            f" selector taints all devices; kubectl delete devicetaintrule {rule} ends it",
            "\n".join(f"{rule} taints {key[2]} of pool {key[1]}" for key, rule in tainted.items()),
        )
    by_claim: dict[str, list[str]] = {}
    for device in context.devices:
        if device.key in held:
            by_claim.setdefault(held[device.key], []).append(f"{device.name} on {device.node}")
    names = sorted(by_claim)
    others = f" and {counted(len(names) - 3, 'more claim')}" if len(names) > 3 else ""
    holding = f"; held by {', '.join(names[:3])}{others}" if names else "; no claim holds any"
    raise step_failed(
        f"the checks need {counted(needed, 'free device')} on one node; free are {shown}{holding}",
        f"{counted(needed, 'free device')} of {context.driver} on one node",
        Blame.CLUSTER,
        "wait until they are given back, or use other nodes (--dra-node-selector)"
        + ("" if any(free.values()) else "; --dra-admin takes none, and says what can be said so")
        if names
        else "use nodes with more devices (--dra-node-selector), or fewer checks (--dra-check)",
        "\n".join(f"claim {claim} holds {', '.join(have)}" for claim, have in by_claim.items()),
    )


def _offered_twice(context: Context) -> Finding | None:
    """Advise where a device plugin of the driver's vendor gives the same devices away."""
    vendor = ".".join(context.driver.split(".")[-2:])
    offered = {
        f"{name_of(node)} offers {amount} x {name}"
        for node in context.used_nodes()
        for name, amount in ((node.get("status") or {}).get("allocatable") or {}).items()
        if f".{name.partition('/')[0]}".endswith(f".{vendor}") and "/" in name and amount != "0"
    }
    if not offered:
        return None
    return Finding(
        f"{min(offered)} by a device plugin, which knows nothing of claims",
        "one who gives a node's devices away",
        "\n".join(sorted(offered)),
        Blame.CLUSTER,
        next="take the device plugin from nodes with a DRA driver: both give the same devices away,"
        " and a check then finds a GPU in use",
    )


def leftovers(context: Context) -> Finding | None:
    """Earlier runs SHOULD have left nothing."""
    where = context.run.options.namespace
    left = sorted(describe_name(other.anchor) for other in context.others if not other.keep)
    if not left:
        return None
    option = f" --dra-namespace {where}" if where else ""
    return Finding(
        f"runs that were killed left {', '.join(left)}, and what it owns",
        "nothing of a run whose Lease has expired",
        "\n".join(left),
        Blame.CLUSTER,
        next=f"{CHECKS_RUN} --dra-sweep{option} removes it",
    )


def others_at_work(context: Context) -> Finding | None:
    """No other run SHOULD be at work; in this run's --dra-namespace none MAY be."""
    where = context.run.options.namespace
    alive = sorted(filter(None, map(attrgetter("alive"), context.others)))
    if not alive:
        return None
    finding = Finding(
        f"another run is at work{f' in namespace {where}' if where else ''}: {'; '.join(alive)}",
        "one run at a time",
        "\n".join(alive),
        Blame.CLUSTER,
        next=("both give their objects the same names" if where else "both take the same GPUs")
        + f": wait for its end; if it was killed, for at most {LEASE_SECONDS} s",
    )
    if where:
        raise judge(finding)
    return finding


def image(context: Context) -> None:
    """The workload image MUST be known for checks that run a workload."""
    options = context.run.options
    context.image = options.named_image or context.run.cluster.image
    if not context.image and context.creates():
        raise step_failed(
            "no workload image is named that the cluster's nodes can pull",
            "--dra-image IMAGE, --dra-python-image IMAGE or --dra-shell-image IMAGE",
            Blame.CLUSTER,
            PUSH,
        )
    profile = context.profile
    by_cuda = profile is not None and profile.visible_by == CUDA
    if options.shell_image and by_cuda and context.creates():
        raise step_failed(
            f"--dra-shell-image {options.shell_image}: the devices of {context.driver} are found by"
            " CUDA, which takes more than a shell",
            "an image with Python and PyCUDA for this driver",
            Blame.SUITE,
            "--dra-python-image IMAGE, or --dra-image IMAGE; or --dra-visible-by devnode or env, if"
            " the driver's devices are seen so, too",
        )
