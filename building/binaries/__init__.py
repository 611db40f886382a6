"""Binaries from Go modules pinned by ``go.mod`` and ``go.sum`` here."""

from __future__ import annotations

import inspect
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from building.artifacts import Artifact, Build
from building.toolchain import go_build, go_package

HERE = Path(__file__).parent
FIRST_WITH_DRA_V1 = 34
FIRST_WITH_HINTS = 37
"""Since then an event of containerd only has a pod looked at; before, it took the look's place."""
KUBELET_SERVICES = (
    *("dra/v1", "dra/v1beta1", "dra-health/v1", "dra-health/v1alpha1"),
    "pluginregistration/v1",
)
"""The protocols by which a kubelet and its plugins talk (KEP-4381; health: KEP-4680)."""

_EXTENSIONS = "apiextensions-api"
NVIDIA_MODULE = "sigs.k8s.io/dra-driver-nvidia-gpu"


@dataclass(frozen=True)
class Release:
    """A release of Kubernetes that can be embedded: one Go module, ``kubernetes-MINOR``."""

    version: str
    """``1.37.2``"""

    @property
    def minor(self) -> str:
        """``1.37``"""
        return ".".join(self.version.split(".")[:2])

    @property
    def module(self) -> str:
        """The folder of its Go module."""
        return f"kubernetes-{self.minor}"

    @property
    def _has_dra_by_default(self) -> bool:
        """Whether DRA is generally available; before, it is off and its API is beta (KEP-4381)."""
        return self._minor_number >= FIRST_WITH_DRA_V1

    @property
    def dra_api(self) -> str:
        """The newest version of ``resource.k8s.io``, with its group."""
        return "resource.k8s.io/v1" if self._has_dra_by_default else "resource.k8s.io/v1beta2"

    @property
    def _minor_number(self) -> int:
        return int(self.minor.partition(".")[2])

    @property
    def feature_gates(self) -> dict[str, bool]:
        """What has to be switched on to have DRA at all, and to see at once that containers end.

        A kubelet looks at its containers once a second. With ``EventedPLEG`` it also looks at a pod
        when containerd says that a container of it has stopped.
        """
        if not self._has_dra_by_default:
            return {"DynamicResourceAllocation": True}
        return {"EventedPLEG": True} if self._minor_number >= FIRST_WITH_HINTS else {}

    @property
    def runtime_config(self) -> dict[str, bool]:
        """APIs that have to be switched on to have DRA at all."""
        if self._has_dra_by_default:
            return {}
        return {"resource.k8s.io/v1beta1": True, "resource.k8s.io/v1beta2": True}

    @property
    def binaries(self) -> Artifact:
        """The artifact with its four binaries; it is always called ``kubernetes``."""
        inputs: tuple[Path | str, ...] = (HERE / self.module, self.version)
        if self._lacks_modules:
            pins = HERE / KUBERNETES.module / "go.mod"
            inputs = (*inputs, inspect.getsource(_with_stand_ins), pins)
        return Artifact("kubernetes", inputs, self._build, minutes=6)

    @property
    def _lacks_modules(self) -> bool:
        """Whether it is built with stand-ins for modules that the Go module proxy refuses."""
        return f"=> ./{_EXTENSIONS}" in (HERE / self.module / "go.mod").read_text()

    def _build(self, build: Build) -> None:
        """Build one multi-call binary of the four parts: 142 MB instead of 397 MB."""
        version = " ".join(
            f"-X {package}.gitVersion=v{self.version} -X {package}.gitMajor=1"
            f" -X {package}.gitMinor={self.minor.partition('.')[2]}"
            f" -X {package}.gitTreeState=archive"
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        )
        out, module = build.out / "kubernetes", HERE / self.module
        if self._lacks_modules:
            module = _with_stand_ins(build, module)
        go_build(build, module, "-ldflags", f"-s -w {version}", "-o", out)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"):
            (build.out / name).symlink_to("kubernetes")


def _with_stand_ins(build: Build, module: Path) -> Path:
    """A release's module with one more beside it: types and clients of CustomResourceDefinitions.

    1.38 has moved them into k8s.io/apiextensions-api, which the Go module proxy refuses. They are
    those of 1.37, in which they are part of k8s.io/apiextensions-apiserver, under the new name.
    """
    copy = build.scratch / module.name
    shutil.copytree(module, copy)
    old, new = "k8s.io/apiextensions-apiserver", f"k8s.io/{_EXTENSIONS}"
    sources = go_package(build, HERE / KUBERNETES.module, old) / "pkg"
    for source in (*sources.glob("apis/apiextensions/v1*/*.go"), *sources.glob("client/**/*.go")):
        is_test = "_test" in str(source.relative_to(sources))
        if is_test or source.name in ("conversion.go", "zz_generated.conversion.go"):
            continue
        text = source.read_text().replace(f"{old}/pkg", f"{new}/pkg")
        target = copy / _EXTENSIONS / "pkg" / source.relative_to(sources)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("structured-merge-diff/v6", "structured-merge-diff/v7"))
    for types in (copy / _EXTENSIONS / "pkg" / "apis" / "apiextensions").iterdir():
        null = f'package {types.name}\n\nvar nullLiteral = []byte("null")\n'
        (types / "null.go").write_text(null)  # 1.37 has it beside the conversions
    (copy / _EXTENSIONS / "go.mod").write_text(f"module {new}\n\ngo 1.27.0\n")
    return copy


def _runtime(build: Build) -> None:
    containerd = "github.com/containerd/containerd/v2/cmd/"
    cni = "github.com/containernetworking/plugins/plugins/"
    # etcd's main package is the module's root: `go build` would name the binary "v3".
    for packages, out in (
        (
            (f"{containerd}containerd", f"{containerd}containerd-shim-runc-v2", f"{containerd}ctr"),
            "",
        ),
        ((f"{cni}ipam/host-local", f"{cni}main/bridge", f"{cni}main/loopback"), ""),
        (("go.etcd.io/etcd/server/v3",), "etcd"),
    ):
        go_build(
            build,
            HERE / "runtime",
            *("-ldflags", "-s -w", "-o", f"{build.out}/{out}"),
            *("-tags", "no_btrfs no_devmapper no_zfs no_tracing", *packages),
        )
    # seccomp is not optional: a pod's sandbox always asks for RuntimeDefault.
    go_build(
        build,
        HERE / "runtime",
        *("-tags", "seccomp netgo osusergo", "-o", build.out / "runc"),
        *("-ldflags", "-s -w -linkmode external -extldflags -static"),
        "github.com/opencontainers/runc",
        CGO_ENABLED="1",
    )


def _nvidia_driver(build: Build, version: str) -> None:
    """The plugin, its CDI hook and the chart and scripts that its module carries."""
    pins = HERE / f"nvidia-{version}"
    (build.out / "bin").mkdir()
    go_build(
        build,
        pins,
        *("-o", f"{build.out}/bin/", "-ldflags"),
        # Lazy binding: the plugin refers to every NVML function, a driver offers those it knows.
        f"-s -w -X {NVIDIA_MODULE}/internal/info.version=v{version} '-extldflags=-Wl,-z,lazy'",
        f"{NVIDIA_MODULE}/cmd/gpu-kubelet-plugin",
        "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-cdi-hook",
        # With the machine's gcc: go-nvml asks the linker to ignore unresolved symbols, and the
        # pinned compiler's linker cannot.
        CGO_ENABLED="1",
        CGO_CFLAGS="-O2 -w",
    )
    module = go_package(build, pins, NVIDIA_MODULE)
    build.run(
        "cp", "-r", module / "deployments" / "helm" / "dra-driver-nvidia-gpu", build.out / "chart"
    )
    build.run("cp", module / "hack" / "kubelet-plugin-prestart.sh", build.out / "bin")
    build.run("chmod", "-R", "u+w", build.out)


def _helm(build: Build) -> None:
    go_build(
        build,
        HERE / "helm",
        *("-ldflags", "-s -w", "-o", build.out / "helm"),
        "helm.sh/helm/v3/cmd/helm",
    )


def _kubectl(build: Build) -> None:
    go_build(build, HERE / "kubectl", "-ldflags", "-s -w", "-o", build.out / "kubectl")


def _push(build: Build) -> None:
    go_build(build, HERE / "push", "-ldflags", "-s -w", "-o", build.out / "push")


def _runtime_protocol(build: Build) -> None:
    apis = go_package(build, HERE / KUBERNETES.module, "k8s.io/cri-api") / "pkg" / "apis"
    shutil.copyfile(apis / "runtime" / "v1" / "api.proto", build.out / "runtime_v1.proto")


def _kubelet_protocol(build: Build) -> None:
    """The files of the kubelet's protocols, renamed to be distinct."""
    apis = go_package(build, HERE / KUBERNETES.module, "k8s.io/kubelet") / "pkg" / "apis"
    for service in KUBELET_SERVICES:
        name = service.replace("/", "_").replace("-", "_") + ".proto"
        (build.out / name).write_text((apis / service / "api.proto").read_text())


RELEASES = {
    release.minor: release
    for release in map(
        Release, ("1.38.0-beta.0", "1.37.2", "1.36.3", "1.35.4", "1.34.4", "1.33.13")
    )
}
"""By minor release, newest first: what ``--embedded-kubernetes`` takes."""
KUBERNETES = RELEASES["1.37"]
"""The default."""
RUNTIME = Artifact("runtime", (HERE / "runtime", "2"), _runtime, minutes=1.5)
NVIDIA_DRIVERS = {
    version: Artifact(
        f"nvidia-driver-{version}",
        (HERE / f"nvidia-{version}",),
        partial(_nvidia_driver, version=version),
        minutes=1.2,
    )
    for version in ("0.5.0", "0.4.1")
}
"""By version, newest first: what ``--embedded-driver nvidia@`` takes."""
HELM = Artifact("helm", (HERE / "helm",), _helm, minutes=1)
KUBECTL = Artifact("kubectl", (HERE / "kubectl",), _kubectl, minutes=1)
"""A directory with ``kubectl``, of the release that `KUBERNETES` is."""
PUSH = Artifact("push", (HERE / "push",), _push, minutes=0.8)
"""A directory with ``push``, a program on the library that crane is made of."""
KUBELET_PROTOCOL = Artifact(
    "kubelet-protocol",
    (HERE / KUBERNETES.module / "go.sum", *KUBELET_SERVICES),
    _kubelet_protocol,
)
RUNTIME_PROTOCOL = Artifact(
    "runtime-protocol", (HERE / KUBERNETES.module / "go.sum",), _runtime_protocol
)
"""A directory with the protocol by which a kubelet and a container runtime talk (CRI)."""
