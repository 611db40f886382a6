"""Likely causes: what an error, an event or silence usually means, who must act, and what next.

CUDA's codes are those measured on hardware (NVIDIA driver 580.159.04, H100): 201 when exporter and
importer have the same own PID, 1 for freed memory or a GPU that is not in the container, 400 when
the exporting process is gone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from building.tree import COMMAND
from harness.cluster.kinds import Object, is_over
from harness.verdict.finding import Blame, Finding
from workload.result import INVALID_CONTEXT, Problem


@dataclass(frozen=True)
class Cause:
    """A likely cause."""

    text: str
    blame: Blame
    next: str = ""
    when: str = ""
    """A regular expression: what tells of it in an event (``reason: message``) or a message."""
    source: str = ""
    """A link to the source of the component that says so."""


_K8S = "https://github.com/kubernetes/kubernetes/blob/master"
_CDI = "https://github.com/cncf-tags/container-device-interface/blob/main"
_CONTAINERD = "https://github.com/containerd/containerd/blob/main"
_OPENSHIFT = "https://github.com/openshift/apiserver-library-go/blob/master"
_RUNC = "https://github.com/opencontainers/runc/blob/main"

_CUDA: Mapping[int, Cause] = {
    1: Cause(
        "the GPU that holds the memory is not in the importing container, or the memory was freed"
        " before (CUDA error 1)",
        Blame.DRIVER,
        "compare the GPUs that both containers report with the claim's allocation",
    ),
    2: Cause(
        "the GPU is out of memory (CUDA error 2): another process uses it",
        Blame.CLUSTER,
        "run nvidia-smi on the node to see which processes use the GPU outside of DRA",
    ),
    100: Cause(
        "CUDA finds no GPU (CUDA error 100): the device node /dev/nvidiaN is missing in the"
        " container, or the container's device cgroup forbids it",
        Blame.DRIVER,
        "look at the CDI specification that the driver wrote for the claim on the node",
    ),
    INVALID_CONTEXT: Cause(
        "CUDA takes the importing process for the exporting one (CUDA error 201), although their"
        " own PIDs differ",
        Blame.DRIVER,
        "report the version of the GPU's kernel driver: 580.159.04 does not do this",
    ),
    222: Cause(
        "the workload's kernels are too new for this GPU driver (CUDA error 222); the DRA driver is"
        " not responsible",
        Blame.WORKLOAD,
        "build the workload image with an older PTX version",
    ),
    400: Cause(
        "the process that exported the memory is gone (CUDA error 400)",
        Blame.WORKLOAD,
        "read in the producer's log why it ended",
    ),
}

EQUAL_OWN_PIDS = Cause(
    "both processes have the same own PID, so CUDA takes the importer for the exporter (CUDA error"
    " 201); only the number counts, not the PID namespace",
    Blame.SUITE,
    "start one of the two with another PID: see docs/own-pids.md",
)

CLAIM_CHANGED = Cause(
    "somebody else changes claims that pods use: a controller, or a person",
    Blame.CLUSTER,
    "see who writes them: kubectl get resourceclaims --output=yaml --show-managed-fields",
)

_LIBCUDA = Cause(
    "the dynamic loader does not find libcuda.so.1 in the container: the CDI specification lacks"
    " the library's mount or its ldcache hook, or the hook did not run",
    Blame.DRIVER,
    "look in the claim's CDI specification for the update-ldcache hook and the mount of libcuda",
)

_UNRESOLVED = Cause(
    "the workload needs a CUDA function that this GPU driver does not have",
    Blame.WORKLOAD,
    "build the workload image for the GPU driver's CUDA version",
)

_NODE_AUTHORIZER = r"forbidden: User \W*system:node:|no relationship found between node"
"""How the API server's node authorizer refuses something to a kubelet."""

_UNREACHABLE = (
    "no such host|i/o timeout|connection refused|network is unreachable|TLS handshake|x509"
)
_ALREADY_SCHEDULED = "Scheduled"
_NOT_SCHEDULED = "FailedScheduling"
NOT_PREPARED = "FailedPrepareDynamicResources"
PREPARED = ("FailedCreatePodSandBox", "Pulling", "Pulled", "Failed", "BackOff", "Created")
"""Events of what the kubelet does only once a pod's claims are prepared."""
_OF_A_TRY = (_NOT_SCHEDULED, NOT_PREPARED)
"""The events of which a component writes one each time that it tries in vain."""
NOT_REGISTERED = Cause(
    "the driver is not registered with the node's kubelet: its pod does not run there, its"
    " registration failed, or it looks for the kubelet in another folder",
    Blame.DRIVER,
    "see the driver's pod on the node; compare its folders for plugins with the kubelet's"
    " --root-dir, in which plugins_registry is",
    when=r"FailedPrepareDynamicResources.*DRA driver \S+ is not registered",
    source=f"{_K8S}/pkg/kubelet/cm/dra/plugin/dra_plugin_manager.go",
)
NO_CDI_DEVICE = Cause(
    "the container runtime does not find the CDI device that the driver named: the driver wrote"
    " no CDI specification, or not where the runtime looks",
    Blame.DRIVER,
    "compare the driver's --cdi-root with the runtime's cdi_spec_dirs; with --dra-allow privileged"
    " a run looks on the node whose fault it is",
    when=r"unresolvable CDI device|CDI device injection failed",
    source=f"{_CDI}/pkg/cdi/cache.go",
)
CDI_ELSEWHERE = Cause(
    "the driver wrote the CDI specification where it belongs, and the node's container runtime does"
    " not look there (cdi_spec_dirs)",
    Blame.CLUSTER,
    "have the runtime on the node look in /etc/cdi and /var/run/cdi: cdi_spec_dirs of containerd"
    " and CRI-O",
)
_SEE_RUNTIME = (
    "have the node's runtime give containers the CDI devices that the kubelet names: containerd"
    " before 2.0 needs enable_cdi = true, and older runtimes have no CDI"
)
RUNTIME_WITHOUT_CDI = Cause(
    "the node's container runtime takes no notice of CDI devices: the kubelet has their names from"
    " the driver, the driver's CDI files have them, and the container has nothing of what they say",
    Blame.CLUSTER,
    _SEE_RUNTIME,
)
RUNTIME_OR_DRIVER = Cause(
    "either the driver gave the container nothing, or the node's container runtime takes no notice"
    " of CDI devices: no container of the run on that node has had one yet",
    Blame.CLUSTER,
    f"with --dra-allow privileged a run looks on the node whose fault it is; {_SEE_RUNTIME}",
)
WRONG_ARCHITECTURE = Cause(
    "the workload image is not for the node's architecture",
    Blame.CLUSTER,
    "kubectl get nodes -L kubernetes.io/arch tells it;"
    f" {COMMAND} push --arch amd64,arm64 makes an image for both",
    when=r"no match for platform in manifest|exec format error",
    source=f"{_CONTAINERD}/core/images/image.go",
)
TAINTED = Cause(
    "the nodes with devices have taints that the pod does not tolerate",
    Blame.CLUSTER,
    "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints shows them;"
    " --dra-pod-patch or the profile can add tolerations",
    when=rf"{_NOT_SCHEDULED}.*(untolerated taint|had taint)",
    source=f"{_K8S}/pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go",
)

KNOWN = (
    # Who the run is.
    Cause(
        "the run's credentials have expired, or the API server does not know them",
        Blame.CLUSTER,
        "log in again, or put the user of the kubeconfig's context right; what a run could not"
        " delete, --dra-sweep deletes",
        when=r"the run's credentials are expired or unknown",
        source=f"{_K8S}/staging/src/k8s.io/apiserver/pkg/endpoints/filters/authentication.go",
    ),
    Cause(
        "the API server takes the run for nobody: it was sent no credentials",
        Blame.CLUSTER,
        "give the user of the kubeconfig's context a token, a certificate or a credential plugin",
        when=r"User \W*system:anonymous",
        source=f"{_K8S}/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go",
    ),
    # What refuses an object: the API server's own words.
    Cause(
        "a quota of the namespace refuses the object",
        Blame.CLUSTER,
        "raise the ResourceQuota that the message names, or work in another namespace with"
        " --dra-namespace",
        when=r"(exceeded|failed) quota",
        source=f"{_K8S}/staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go",
    ),
    Cause(
        "the namespace's Pod Security Standard refuses the pod",
        Blame.CLUSTER,
        "see which fields the message names; --dra-pod-patch can change them",
        when=r"violates PodSecurity",
        source=f"{_K8S}/staging/src/k8s.io/pod-security-admission/admission/admission.go",
    ),
    Cause(
        "an admission webhook of the cluster cannot be reached, so the API server refuses the"
        " object",
        Blame.CLUSTER,
        "repair the webhook that the message names, or exempt the run's namespaces from it",
        when=r"failed calling webhook|failed to call webhook",
        source=f"{_K8S}/staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go",
    ),
    Cause(
        "OpenShift lets pods of the namespace run only as users of the namespace's own range, and"
        " the checks' pods name theirs",
        Blame.CLUSTER,
        "let the service accounts of the run's namespace use an SCC that takes any user:"
        " oc adm policy add-scc-to-group nonroot-v2 system:serviceaccounts:NAMESPACE, with"
        " --dra-namespace NAMESPACE",
        when=r"unable to validate against any security context constraint",
        source=f"{_OPENSHIFT}/pkg/securitycontextconstraints/sccadmission/admission.go",
    ),
    Cause(
        "an admission policy of the cluster refuses the object",
        Blame.CLUSTER,
        "the message says what the policy wants; --dra-pod-patch can change pods, or exempt the"
        " run's namespaces from the policy",
        when=r"admission webhook|ValidatingAdmissionPolicy|denied the request|denied request",
        source=f"{_K8S}/staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go",
    ),
    Cause(
        "the namespace has no service account yet: nobody makes the default one",
        Blame.CLUSTER,
        "kubectl --namespace kube-system get pods and leases; is kube-controller-manager alive?",
        when=r"error looking up service account .* not found",
        source=f"{_K8S}/plugin/pkg/admission/serviceaccount/admission.go",
    ),
    Cause(
        "the RuntimeClass that the pods name does not exist",
        Blame.CLUSTER,
        "kubectl get runtimeclasses; --dra-pod-patch, or a policy of the cluster, names it",
        when=r"RuntimeClass .* not found",
        source=f"{_K8S}/plugin/pkg/admission/runtimeclass/admission.go",
    ),
    Cause(
        "a LimitRange of the namespace refuses the pod's requests or limits",
        Blame.CLUSTER,
        "--dra-pod-patch can change the pods' resources",
        when=r"(maximum|minimum) (cpu|memory).* per (Container|Pod)",
        source=f"{_K8S}/plugin/pkg/admission/limitranger/admission.go",
    ),
    # What the node's part of DRA says.
    Cause(
        "the node's disk has no room, so the driver or the kubelet could not write what is to be"
        " prepared",
        Blame.CLUSTER,
        "df on the node: the folders are those of the CDI specifications and of the kubelet's"
        " plugins",
        when=r"FailedPrepareDynamicResources.*([Nn]o space left on device|[Dd]isk quota exceeded)",
        source=f"{_K8S}/pkg/kubelet/cm/dra/manager.go",
    ),
    NOT_REGISTERED,
    Cause(
        "the claim is not reserved for the pod: something put the pod on its node without the"
        " scheduler, or the claim is still reserved for a pod of that name that is gone; the driver"
        " was not asked",
        Blame.CLUSTER,
        "kubectl get resourceclaim NAME -o yaml: compare status.reservedFor with the pod's UID",
        when=r"FailedPrepareDynamicResources.*is not allowed to use ResourceClaim",
        source=f"{_K8S}/pkg/kubelet/cm/dra/manager.go",
    ),
    Cause(
        "the claim was deleted and made again under its name while the node had the old one"
        " prepared, as for a pod that is deleted by force; the driver was not asked",
        Blame.CLUSTER,
        "give the new claim another name, or wait until the old pod has ended on its node",
        when=r"FailedPrepareDynamicResources.*old ResourceClaim with same name",
        source=f"{_K8S}/pkg/kubelet/cm/dra/manager.go",
    ),
    Cause(
        "the driver is registered with the node's kubelet, but its socket is gone, or nobody"
        " answers at it",
        Blame.DRIVER,
        "see whether the driver's pod runs on the node, and has a liveness probe that asks the"
        " socket that the message names",
        when=r"FailedPrepareDynamicResources.*dial unix .*(no such file|connection refused)",
        source=f"{_K8S}/pkg/kubelet/cm/dra/plugin/dra_plugin.go",
    ),
    Cause(
        "the driver did not answer the kubelet's request to prepare the claim in time",
        Blame.DRIVER,
        "read the driver's log on the node: what does it wait for?",
        when=r"FailedPrepareDynamicResources.*(DeadlineExceeded|deadline exceeded)",
        source=f"{_K8S}/pkg/kubelet/cm/dra/plugin/dra_plugin.go",
    ),
    Cause(
        "the driver refused or failed to prepare the claim on the node",
        Blame.DRIVER,
        "read the driver's log on the node; its message is in the event",
        when=rf"FailedPrepareDynamicResources(?!.*({_NODE_AUTHORIZER}))",
        source=f"{_K8S}/pkg/kubelet/cm/dra/manager.go",
    ),
    Cause(
        "the API server did not let the kubelet read the claim: its node authorizer did not know"
        " yet that a pod of the node uses it; the driver was not asked",
        Blame.CLUSTER,
        "run the check again; the kubelet retries at the pod's next sync (60 to 90 s)",
        when=rf"FailedPrepareDynamicResources.*({_NODE_AUTHORIZER})",
        source=f"{_K8S}/plugin/pkg/auth/authorizer/node/node_authorizer.go",
    ),
    NO_CDI_DEVICE,
    # The image.
    WRONG_ARCHITECTURE,
    Cause(
        "the image pull secret is not in the pod's namespace",
        Blame.CLUSTER,
        "create the secret that --dra-image-pull-secret names in the namespace of --dra-namespace",
        when=r"Unable to retrieve some image pull secrets",
        source=f"{_K8S}/pkg/kubelet/kubelet_pods.go",
    ),
    Cause(
        "the registry does not let the node pull the workload image",
        Blame.CLUSTER,
        "give the nodes access to it, or name a secret with --dra-image-pull-secret",
        when=r"Failed to pull image.*(401|403|[Uu]nauthorized|denied|authorization failed)",
        source=f"{_K8S}/pkg/kubelet/images/image_manager.go",
    ),
    Cause(
        "the node cannot reach the registry of the workload image: name resolution, a firewall or"
        " network policy, a proxy, or a certificate that it does not trust",
        Blame.CLUSTER,
        "pull the image on the node by hand (crictl pull), or push it to a registry that the nodes"
        " reach and name it with --dra-image",
        when=rf"(Failed to pull|failed to resolve|Back-off pulling).*({_UNREACHABLE})",
        source=f"{_K8S}/pkg/kubelet/images/image_manager.go",
    ),
    Cause(
        "the node cannot pull the workload image",
        Blame.CLUSTER,
        "push the image where the nodes can pull it and name it with --dra-image",
        when=r"ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|Failed to pull",
        source=f"{_K8S}/pkg/kubelet/images/image_manager.go",
    ),
    # What the scheduler says.
    Cause(
        "a selector of the DeviceClass that the message names cannot be evaluated for a device that"
        " it names, so nothing of that class is allocated",
        Blame.CLUSTER,
        "let whoever wrote the class guard the expression with has(), or install the driver's chart"
        " again",
        when=rf"{_NOT_SCHEDULED}.*class \S+: selector #\d+.*CEL (runtime|compile) error",
        source=f"{_K8S}/staging/src/k8s.io/dynamic-resource-allocation/structured/internal/stable/allocator_stable.go",
    ),
    Cause(
        "a selector of the claim asks for an attribute that a device does not have",
        Blame.SUITE,
        "compare the expression in the message with kubectl get resourceslices -o yaml; the profile"
        " names the attributes",
        when=rf"{_NOT_SCHEDULED}.*CEL runtime error",
        source=f"{_K8S}/staging/src/k8s.io/dynamic-resource-allocation/structured/internal/stable/allocator_stable.go",
    ),
    Cause(
        "the DeviceClass that the claim names is gone",
        Blame.CLUSTER,
        "kubectl get deviceclasses; install the driver's chart completely",
        when=rf"{_NOT_SCHEDULED}.*device class \S+ does not exist",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go",
    ),
    Cause(
        "no node is Ready: the taints in the message are those of nodes that are not",
        Blame.CLUSTER,
        "kubectl describe nodes says why they are not Ready",
        when=rf"{_NOT_SCHEDULED}.*untolerated taint.*node\.kubernetes\.io/(not-ready|unreachable)",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go",
    ),
    Cause(
        "the pod's volume has no PersistentVolume: its StorageClass does not exist, or has none to"
        " give",
        Blame.CLUSTER,
        "kubectl get storageclasses; --dra-volume-class names one that gives ReadWriteOnce volumes",
        when=rf"{_NOT_SCHEDULED}.*(unbound immediate PersistentVolumeClaims"
        r"|find available persistent volumes)",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/volumebinding/volume_binding.go",
    ),
    TAINTED,
    Cause(
        "the scheduler finds no node with enough free devices that match the claim",
        Blame.CLUSTER,
        "see which claims hold devices: kubectl get resourceclaims --all-namespaces",
        when=rf"{_NOT_SCHEDULED}.*(cannot allocate all claims|resourceclaim)",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go",
    ),
    Cause(
        "no node fits the pod's node selector",
        Blame.CLUSTER,
        "compare --dra-node-selector with kubectl get nodes --show-labels",
        when=rf"{_NOT_SCHEDULED}.*node affinity/selector",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/nodeaffinity/node_affinity.go",
    ),
    Cause(
        "the nodes with devices are cordoned",
        Blame.CLUSTER,
        "kubectl uncordon NODE, or wait until its maintenance has ended",
        when=rf"{_NOT_SCHEDULED}.*were unschedulable",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go",
    ),
    Cause(
        "the nodes with devices have too little CPU or memory left for the pod",
        Blame.CLUSTER,
        "free some, or ask for less with --dra-pod-patch",
        when=rf"{_NOT_SCHEDULED}.*Insufficient (cpu|memory|ephemeral-storage)",
        source=f"{_K8S}/pkg/scheduler/framework/plugins/noderesources/fit.go",
    ),
    Cause(
        "no node fits the pod; the message says why",
        Blame.CLUSTER,
        "--dra-pod-patch can add tolerations and resources",
        when=_NOT_SCHEDULED,
        source=f"{_K8S}/pkg/scheduler/schedule_one.go",
    ),
    # What the node says.
    Cause(
        "the pod's node is no longer Ready",
        Blame.CLUSTER,
        "kubectl describe node NODE says since when and why",
        when=r"NodeNotReady|Node is not ready|NodeStatusUnknown",
        source=f"{_K8S}/pkg/controller/util/node/controller_utils.go",
    ),
    Cause(
        "the node's network plugin cannot set up the network policies of the pod",
        Blame.CLUSTER,
        "see the log of the network plugin on the node",
        when=r"FailedCreatePodSandBox.*[Nn]etwork ?[Pp]olic",
        source=f"{_K8S}/pkg/kubelet/events/event.go",
    ),
    Cause(
        "the node cannot set up the pod (sandbox, network or volumes), before any device is"
        " involved",
        Blame.CLUSTER,
        "the message is the kubelet's: kubectl describe pod, and the kubelet's log",
        when=r"FailedCreatePodSandBox|FailedMount|NetworkNotReady",
        source=f"{_K8S}/pkg/kubelet/events/event.go",
    ),
    Cause(
        "a pod with a user namespace of its own cannot execute the driver's hook: the hook lies in"
        " the kubelet's folder for plugins, which has mode 0750",
        Blame.DRIVER,
        "pods without hostUsers: false do start; the driver should keep its hook where every user"
        " can execute it",
        when=r"error running createContainer hook.*permission denied",
        source=f"{_RUNC}/libcontainer/configs/config.go",
    ),
    Cause(
        "the image does not have the program that is to run in it",
        Blame.WORKLOAD,
        "name the workload's own image with --dra-image, or any with Python and PyCUDA with"
        " --dra-python-image, or with a shell with --dra-shell-image",
        when=r'exec: "[^"]*": (stat \S+: no such file|executable file not found)',
        source=f"{_RUNC}/libcontainer/standard_init_linux.go",
    ),
    Cause(
        "the pod was to end after a time (activeDeadlineSeconds), which is over",
        Blame.CLUSTER,
        "--dra-pod-patch, or a policy of the cluster, sets activeDeadlineSeconds: leave it out",
        when=r"DeadlineExceeded: Pod was active on the node longer|exceeded its deadline",
        source=f"{_K8S}/pkg/kubelet/active_deadline.go",
    ),
    Cause(
        "the container runtime cannot start the container; with a claim the usual reason is a"
        " device node, mount or hook of the CDI specification that does not work",
        Blame.DRIVER,
        "the runtime's message is in the event",
        when=r"failed to create containerd task|failed to create shim|OCI runtime",
        source=f"{_RUNC}/libcontainer/standard_init_linux.go",
    ),
    Cause(
        "the pod was evicted",
        Blame.CLUSTER,
        "kubectl get events in the pod's namespace says by whom; then run the check again",
        when=r"Evicted|Preempt(ed|ing)\b|DisruptionTarget|TaintManagerEviction",
        source=f"{_K8S}/pkg/controller/tainteviction/taint_eviction.go",
    ),
)
"""The causes that an event or a message can tell of; the first that matches counts."""

SCHEDULER_SILENT = Cause(
    "no scheduler has reported anything about the pod: the scheduler is stopped, far behind, or not"
    " responsible for it",
    Blame.SCHEDULER,
    "kubectl --namespace kube-system get pods and leases; is kube-scheduler alive?",
)
ENDED_FROM_OUTSIDE = Cause(
    "somebody ended the driver: the kubelet does if the driver's liveness probe is not answered in"
    " time, as it may not be on a slow machine",
    Blame.KUBELET,
    "kubectl describe pod of the driver, and events: is a failed probe among them?",
)
NOT_ASKED_AGAIN = Cause(
    "the kubelet has not asked the driver again to prepare the claim since the driver is back",
    Blame.KUBELET,
    "run the check again on a machine with less load; a kubelet asks again within 60 to 90 s",
)
KUBELET_STOPPED = Cause(
    "the node's kubelet has stopped: it no longer reports the node's status",
    Blame.KUBELET,
    "check on the node whether the kubelet runs: systemctl status kubelet",
)
END_SECONDS = 20
"""How long a kubelet may take to let a pod go of which no container runs any more."""
NOT_UNPREPARED = Cause(
    "no container of the pod runs and it stays: the driver does not unprepare its claims",
    Blame.DRIVER,
    "see the logs of the driver and of the kubelet on the pod's node",
)
UNKNOWN_TO_THE_KUBELET = Cause(
    "the driver's pod runs on the node and its kubelet does not know it: they look in different"
    " folders, for the kubelet's is not /var/lib/kubelet (--root-dir), or the driver's registration"
    " failed",
    Blame.CLUSTER,
    "compare the hostPath volumes of the driver's pod with the kubelet's --root-dir, in which"
    " plugins_registry is; if they agree, the driver's log says why it is not registered",
)
DRIVER_ENDS = Cause(
    "the driver's container on the node ends with an error again and again (CrashLoopBackOff)",
    Blame.DRIVER,
    "kubectl logs --previous of the driver's pod on the node says what it ended with",
)
KILLED = (137, 143)
"""Exit codes of containers that somebody has killed."""
KUBELET_SILENT = Cause(
    "the pod is scheduled, but the node's kubelet has reported nothing about it",
    Blame.KUBELET,
    "check on the node whether the kubelet runs and reaches the API server",
)
DISK_PRESSURE = Cause(
    "the node's disk is too full (DiskPressure): its kubelet takes no pods and evicts some",
    Blame.CLUSTER,
    "kubectl describe nodes; make room on the node's disk (crictl rmi --prune)",
)
NODE_NOT_READY = Cause(
    "the pod's node is not Ready",
    Blame.CLUSTER,
    "kubectl describe node NODE says why",
)


def of_cuda(
    error: Problem | None, *, equal_own_pids: bool = False, at_fault: bool = False
) -> Cause | None:
    """Find the likely cause of a workload's error.

    Where the workload reports a fault of its own, nobody else is responsible.

    Args:
        error: what the workload reported, if it did.
        equal_own_pids: whether exporter and importer had the same own PID.
        at_fault: whether the workload's verdict says that it is at fault.
    """
    cause = _of_cuda(error, equal_own_pids) if error is not None else None
    at_fault = at_fault or (error is not None and error.blame == "workload")
    if at_fault and (cause is None or cause.blame is not Blame.WORKLOAD):
        return Cause("the workload itself is at fault", Blame.WORKLOAD)
    return cause


def _of_cuda(error: Problem, equal_own_pids: bool) -> Cause | None:
    if "libcuda.so.1" in error.text and re.search(
        r"cannot open|not found|No such file", error.text
    ):
        return _LIBCUDA
    if "undefined symbol" in error.text:
        return _UNRESOLVED
    if error.code == INVALID_CONTEXT and equal_own_pids:
        return EQUAL_OWN_PIDS
    return _CUDA.get(error.code) if error.code is not None else None


def of_events(events: Iterable[Object]) -> Cause | None:
    """Find the likely cause in events: the first rule that one of them matches.

    What the scheduler reported before it found a node after all is no cause.
    """
    listed = _not_overtaken(events)
    scheduled = {about(event) for event in listed if event.get("reason") == _ALREADY_SCHEDULED}
    lines = [
        f"{event.get('reason', '')}: {event.get('message', '')}"
        for event in listed
        if event.get("reason") != _NOT_SCHEDULED or about(event) not in scheduled
    ]
    return of_text(*lines)


def _not_overtaken(events: Iterable[Object]) -> list[Object]:
    """Leave out what was said of earlier tries: why they failed is not why the last one does, and
    claims that were prepared after that hold nothing up.
    """
    listed = sorted(events, key=last_said)
    last: dict[tuple[str, str], Object] = {}
    for event in listed:
        reason = str(event.get("reason"))
        if reason in _OF_A_TRY:
            last[about(event), reason] = event
        elif reason in PREPARED:
            last[about(event), NOT_PREPARED] = event
    return [one for one in listed if last.get((about(one), str(one.get("reason"))), one) is one]


def last_said(event: Object) -> float:
    """Tell when an event was said last, in seconds since 1970; for ever if it does not tell."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    known = [datetime.fromisoformat(str(one)).timestamp() for one in times if one]
    return max(known, default=math.inf)


def refusal(head: str, expected: str, error: Exception, otherwise: str = "") -> Finding:
    """Explain what the API server refused.

    Args:
        head: the first line.
        expected: what should have been.
        error: the refusal.
        otherwise: the next step where its message fits no known cause.
    """
    cause = of_text(str(error))
    return Finding(
        head,
        expected,
        str(error),
        Blame.CLUSTER,
        likely=cause.text if cause else "",
        next=cause.next if cause else otherwise,
    )


def because(cause: Cause | None, finding: Finding) -> Finding:
    """Put a likely cause into a finding, if one is known: what it is, who must act, what next."""
    if cause is None:
        return finding
    return replace(finding, blame=cause.blame, likely=cause.text, next=cause.next)


def of_scheduler(message: str) -> Cause | None:
    """Find the likely cause in the message of a pod's condition PodScheduled."""
    return of_text(f"{_NOT_SCHEDULED}: {message}")


def about(event: Object) -> str:
    """Tell the UID of what an event is about."""
    return str((event.get("involvedObject") or {}).get("uid"))


def of_text(*texts: str) -> Cause | None:
    """Find the likely cause in refusals of the API server, or in a container's state."""
    for cause in KNOWN:
        if any(re.search(cause.when, text, re.DOTALL) for text in texts):
            return cause
    return None


def of_output(log: str) -> Cause | None:
    """Find the likely cause in the log of a container that ended without a result.

    A program of another architecture is started, and then it is runc that says why it ended.
    """
    last = (log.splitlines() or [""])[-1]
    return WRONG_ARCHITECTURE if "exec format error" in last else None


def of_end(pod: Object, quiet: float) -> Cause | None:
    """Find the likely cause when a pod that was deleted stays.

    Args:
        pod: as it is now.
        quiet: for how many seconds nothing of it has changed.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if is_over(pod):
        return None
    asked = pod["metadata"].get("deletionTimestamp") and spec.get("nodeName")
    kinds = ("containerStatuses", "initContainerStatuses")
    states = [one.get("state") or {} for kind in kinds for one in status.get(kind) or []]
    running = any("running" in state for state in states)
    over = not running and quiet >= END_SECONDS
    has_claims = spec.get("resourceClaims") or status.get("extendedResourceClaimStatus")
    return NOT_UNPREPARED if asked and has_claims and over else None


def of_driver(pods: Iterable[Object], found: Cause) -> Cause:
    """Find the likely cause of what the driver does not do in its own pods, as they are now.

    Args:
        pods: the driver's, on the nodes on which it happened.
        found: what else is the cause.
    """
    listed = list(pods)
    for pod in listed:
        for one in (pod.get("status") or {}).get("containerStatuses") or []:
            now, before = one.get("state") or {}, one.get("lastState") or {}
            end = now.get("terminated") or before.get("terminated") or {}
            waits = (now.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
            killed = end.get("exitCode", 0) in (0, *KILLED) and end.get("reason") != "OOMKilled"
            if waits or (one.get("restartCount", 0) > 1 and not killed):
                return DRIVER_ENDS
    if found is NOT_REGISTERED and listed and all(map(_is_ready, listed)):
        return UNKNOWN_TO_THE_KUBELET
    return found


def of_ends(ends: Iterable[Mapping[str, Any] | None]) -> Cause | None:
    """Find the likely cause of a driver's ends: how its containers ended, those that did."""
    told = [end for end in ends if end]
    asked = all(one.get("exitCode") in (0, *KILLED) for one in told)
    memory = any(one.get("reason") == "OOMKilled" for one in told)
    return ENDED_FROM_OUTSIDE if told and asked and not memory else None


def _is_ready(pod: Object) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def of_silence(pod: Object, events: Iterable[Object], node: Object | None) -> Cause | None:
    """Find the likely cause when a pod makes no progress and nobody reports why.

    Args:
        pod: as it is now.
        events: about the pod.
        node: its node, if it has one and the run may read it.
    """
    status = pod.get("status") or {}
    if not (pod.get("spec") or {}).get("nodeName"):
        judged = any(c["type"] == "PodScheduled" for c in status.get("conditions") or [])
        return None if judged or list(events) else SCHEDULER_SILENT
    lost = of_node(node)
    if lost is not None:
        return lost
    heard = status.get("containerStatuses") or any(map(_is_by_kubelet, events))
    return None if heard else KUBELET_SILENT


def of_node(node: Object | None) -> Cause | None:
    """Say why nothing runs on a node; None when it is well, or the run may not read it."""
    ready = _condition(node, "Ready")
    if _condition(node, "DiskPressure").get("status") == "True":
        return DISK_PRESSURE
    return {"Unknown": KUBELET_STOPPED, "False": NODE_NOT_READY}.get(str(ready.get("status")))


def _condition(obj: Object | None, name: str) -> Mapping[str, Any]:
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == name), {})


def _is_by_kubelet(event: Object) -> bool:
    source = (event.get("source") or {}).get("component")
    return "kubelet" in (source, event.get("reportingComponent"))
