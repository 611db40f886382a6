"""Pods of the workload as data: the values of ``fixtures/manifests/pod.yaml.j2``.

What a pod may do is all that the restricted standard allows, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypedDict

from harness.options import USER
from harness.scenario import program
from harness.scenario.evidence import REST
from harness.scenario.run import Subject


@dataclass(frozen=True)
class Security:
    """Security settings of a pod and its container (Kubernetes API: PodSpec, SecurityContext)."""

    host_pid: bool = False
    host_ipc: bool = False
    host_network: bool = False
    share_process_namespace: bool = False
    user_namespace: bool = False
    """``hostUsers: false``: a user namespace of the pod's own."""
    privileged: bool = False
    capabilities: tuple[str, ...] = ()
    """Added; all others are dropped unless the container is privileged."""
    uid: int | None = None
    """None: the run's (`Subject.user`), which is not root."""
    seccomp: str = "RuntimeDefault"
    read_only_root: bool = True

    def __str__(self) -> str:
        """What is not as the restricted standard wants it, or else what makes it special."""
        words = [
            *(name for name in self.of_pod() if name != "hostUsers"),
            *(["user namespace"] if self.user_namespace else []),
            *(["privileged"] if self.privileged else []),
            *self.capabilities,
            *([f"uid {self.uid}"] if self.uid is not None else []),
            *([f"seccomp {self.seccomp}"] if self.seccomp != Security.seccomp else []),
            *(["writable root"] if not self.read_only_root and not self.privileged else []),
        ]
        return ", ".join(words) or "nothing"

    def of_pod(self) -> dict[str, Any]:
        """The fields of ``spec``."""
        wanted = {
            "hostPID": self.host_pid,
            "hostIPC": self.host_ipc,
            "hostNetwork": self.host_network,
            "shareProcessNamespace": self.share_process_namespace,
        }
        fields: dict[str, Any] = {name: True for name, on in wanted.items() if on}
        return {**fields, "hostUsers": False} if self.user_namespace else fields

    def of_container(self, user: int | None = USER) -> dict[str, Any]:
        """Make the container's ``securityContext``.

        Args:
            user: of the run, where these settings name none; None: the cluster is to say.
        """
        uid = user if self.uid is None else self.uid
        context: dict[str, Any] = {
            **({} if uid is None else {"runAsUser": uid}),
            "runAsNonRoot": self.uid != 0,
            "readOnlyRootFilesystem": self.read_only_root,
        }
        add = {"add": list(self.capabilities)} if self.capabilities else {}
        if self.privileged:
            added = {"capabilities": add} if add else {}
            return {**context, "privileged": True, **added}
        return {
            **context,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], **add},
            "seccompProfile": {"type": self.seccomp},
        }


RESTRICTED = Security()
EXAMPLE = Security(
    host_pid=True,
    host_ipc=True,
    privileged=True,
    capabilities=("IPC_LOCK",),
    uid=0,
    read_only_root=False,
)
"""What the original example asks for."""


POD_TEMPLATE = "pod.yaml.j2"
LONG, SHORT = "3600", "0.1"
"""Seconds that a container rests: until the suite ends it; only to report."""
MAIN, INIT, SIDECAR = "main", "init", "sidecar"
FOLDER = "/shared"
"""Where containers see the folder that they share."""


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a pod of the workload."""

    role: str
    args: Sequence[str]
    own_pid: int | None = None
    """What PID its process is to see of itself; None: as it comes."""
    requests: Sequence[str] = ()
    """Of the pod's first claim, those that it gets; all of them where none is named."""
    waits: bool = True
    """Whether it starts only when it can be told which GPUs were allocated."""
    command: Sequence[str] = ()
    """Instead of the image's own."""
    kind: str = MAIN
    """`MAIN`; `INIT`: runs to its end before the others start; `SIDECAR`: starts before them and
    stays."""
    uses_claims: bool = True
    """Whether it gets the devices of the pod's claims."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the image."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """Resources beside those of every container, such as extended ones."""
    security: Security | None = None
    """What it may do; None: as its pod says. What is a field of the pod, only the pod says."""


def resting(
    role: str,
    *,
    uses_claims: bool = True,
    kind: str = MAIN,
    killed_after: float = 0,
    environment: Mapping[str, str] | None = None,
) -> ContainerSpec:
    """Describe a container that reports what it was given and then only rests.

    Args:
        role: how it is called.
        uses_claims: whether it gets the devices of the pod's claims.
        kind: `MAIN`, `INIT` (it does not rest, for the others wait for its end) or `SIDECAR`.
        killed_after: seconds after which it ends by SIGKILL; 0: it goes on.
        environment: variables beside those of the image.
    """
    ends = ["--patience", f"{killed_after:g}", "--end", "kill"]
    rests = ["--patience", SHORT if kind == INIT else LONG]
    args = [REST, "--role", role, *(ends if killed_after else rests)]
    return ContainerSpec(
        *(role, args),
        waits=False,
        kind=kind,
        uses_claims=uses_claims,
        environment=environment or {},
    )


class PodOptions(TypedDict, total=False):
    """What can be said of a pod beside its containers and claims; see `PodSpec`."""

    security: Security
    folder: bool
    host_folder: PurePosixPath | None
    volume: str
    restart: str
    node: str
    lingers: int


@dataclass(frozen=True)
class PodSpec:
    """One pod of the workload."""

    name: str
    containers: Sequence[ContainerSpec]
    claims: Sequence[str]
    """The names of the claims that it uses; of those that are generated, what it calls them."""
    _: KW_ONLY
    security: Security = RESTRICTED
    """What it and its containers may do."""
    folder: bool = False
    """Whether its containers share a folder of the pod's own."""
    host_folder: PurePosixPath | None = None
    """A folder of the node to share (`Steps.node_folder`); None: none."""
    volume: str = ""
    """The claim of a volume to share (`Steps.volume`); empty: none."""
    restart: str = "Never"
    """``restartPolicy``."""
    node: str = ""
    """The only node that it may run on; empty: any."""
    lingers: int = 0
    """Seconds for which its containers go on once it was deleted, even by force."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """From which template each of the generated claims is made."""

    def values(self, subject: Subject) -> dict[str, Any]:
        """Make the values of the template."""
        user = subject.user if self.security.uid is None else self.security.uid
        owns = self.volume and user is not None  # else the cluster gives it a group
        owned = {"securityContext": {"fsGroup": user}} if owns else {}
        return {
            "name": self.name,
            "image": subject.image,
            "tolerations": list(map(dict, subject.profile.tolerations)),
            "fields": {**self.security.of_pod(), **owned},
            "claims": list(self.claims),
            "templates": dict(self.templates),
            "folder": FOLDER if self.folder or self.host_folder or self.volume else "",
            "host_folder": str(self.host_folder or ""),
            "volume": self.volume,
            "program": subject.program,
            "program_folder": program.MOUNTED,
            "restart": self.restart,
            "node": self.node,
            "lingers": self.lingers,
            "init_containers": [
                self._container(one, subject) for one in self.containers if one.kind != MAIN
            ],
            "containers": [
                self._container(one, subject) for one in self.containers if one.kind == MAIN
            ],
        }

    def _container(self, spec: ContainerSpec, subject: Subject) -> dict[str, Any]:
        command, variables = spec.command, spec.environment
        if subject.program and subject.shell:
            command = command or program.SHELL_COMMAND
        elif subject.program:
            command = command or program.COMMAND
            variables = {**program.ENVIRONMENT, **variables}
        env: list[dict[str, Any]] = [
            {"name": name, "value": text} for name, text in variables.items()
        ]
        if spec.waits and self.claims:
            key = {"name": allocation_name(self.claims[0]), "key": "gpus"}
            env.append({"name": "DRA_GPUS", "valueFrom": {"configMapKeyRef": key}})
        if spec.own_pid is not None:
            env.append({"name": "DRA_OWN_PID", "value": str(spec.own_pid)})
        used: list[dict[str, str]] = [{"name": name} for name in self.claims if spec.uses_claims]
        if spec.requests:
            first = [{"name": self.claims[0], "request": request} for request in spec.requests]
            used = [*first, *used[1:]]
        return {
            "role": spec.role,
            "args": list(spec.args),
            "command": list(command),
            "sidecar": spec.kind == SIDECAR,
            "env": env,
            "claims": used,
            "limits": {"memory": "4Gi", **spec.limits},
            "security": (spec.security or self.security).of_container(subject.user),
        }


def allocation_name(claim: str) -> str:
    """Name the ConfigMap that tells a claim's pods which GPUs it was allocated."""
    return f"allocation-{claim}"
