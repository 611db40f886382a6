"""The driver's pods on the nodes, found by the folders that they mount."""

from __future__ import annotations

from dataclasses import replace

from harness.cluster.kinds import POD, Object
from harness.cluster.profile import Profile
from harness.session.preflight.context import Context, unless_refused

REGISTRY, PLUGINS = "/plugins_registry", "/plugins"
"""How the paths of the kubelet's folders end, in which a driver has its sockets."""
OF_ONE_REVISION = ("controller-revision-hash", "pod-template-generation")
"""Labels that a pod has from its DaemonSet's controller, and its successor has otherwise."""
STORAGE = "driver-registrar"
"""What the image of a storage driver's registrar is called: it uses the same folders."""


def with_driver_pods(context: Context, profile: Profile) -> Profile:
    """Answer the profile with labels and container of the driver's pods, where it says none.

    They are those of the only pod of a node with devices that mounts the folder of the driver's
    sockets, or of all drivers' sockets, and the one in which drivers register.
    """
    on_a_node = f"spec.nodeName={context.devices[0].node}"
    pods = unless_refused(lambda: context.run.kube.list(POD, fields=on_a_node)[0])
    own, every = f"{PLUGINS}/{context.driver}", PLUGINS
    for folder in (own, every):
        found = [pod for pod in pods if _mounts(pod, folder) and _mounts(pod, REGISTRY)]
        if len(found) == 1:
            return _known_by(profile, found[0], folder)
    return profile


def _mounts(pod: Object, folder: str) -> list[str]:
    """Name the volumes of a pod that are this folder of its node."""
    if any(STORAGE in str(one.get("image")) for one in pod["spec"]["containers"]):
        return []
    return [
        str(volume["name"])
        for volume in pod["spec"].get("volumes") or []
        if str((volume.get("hostPath") or {}).get("path")).rstrip("/").endswith(folder)
    ]


def _known_by(profile: Profile, pod: Object, folder: str) -> Profile:
    labels = pod["metadata"].get("labels") or {}
    shown = {name: text for name, text in labels.items() if name not in OF_ONE_REVISION}
    volumes = _mounts(pod, folder)
    containers = [
        str(one["name"])
        for one in pod["spec"]["containers"]
        if any(mount["name"] in volumes for mount in one.get("volumeMounts") or [])
    ]
    if not shown or not containers:
        return profile
    selector = ",".join(f"{name}={text}" for name, text in sorted(shown.items()))
    return replace(profile, plugin_selector=selector, plugin_container=containers[0])
