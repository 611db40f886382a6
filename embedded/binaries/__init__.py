"""The embedded cluster's binaries, from Go modules pinned by ``go.mod`` and ``go.sum`` here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedded.artifacts import Artifact, Build, cache
from embedded.toolchain import go_binary

HERE = Path(__file__).parent
FIRST_WITH_DRA_V1 = 34
NVIDIA_DRIVER_VERSION = "0.4.1"

_NVIDIA_MODULE = "sigs.k8s.io/dra-driver-nvidia-gpu"


def _go(build: Build, module: str, *arguments: str | Path, **environment: str) -> None:
    """``go ARGUMENTS`` in the folder of a module, with caches of our own and exactly the pins."""
    build.run(
        go_binary(),
        *arguments,
        cwd=HERE / module,
        env={
            "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOCACHE": str(cache() / "go" / "build"),
            "GOMODCACHE": str(cache() / "go" / "modules"),
            "CGO_ENABLED": "0",
            **environment,
        },
    )


@dataclass(frozen=True)
class Release:
    """A release of Kubernetes that can be embedded: one Go module, ``kubernetes-MINOR``."""

    version: str
    """``1.37.2``"""

    @property
    def minor(self) -> str:
        """``1.37``"""
        return self.version.rpartition(".")[0]

    @property
    def module(self) -> str:
        """The folder of its Go module."""
        return f"kubernetes-{self.minor}"

    @property
    def _has_dra_by_default(self) -> bool:
        """Whether DRA is generally available; before, it is off and its API is beta (KEP-4381)."""
        return int(self.minor.partition(".")[2]) >= FIRST_WITH_DRA_V1

    @property
    def dra_api(self) -> str:
        """The newest version of ``resource.k8s.io``, with its group."""
        return "resource.k8s.io/v1" if self._has_dra_by_default else "resource.k8s.io/v1beta2"

    @property
    def feature_gates(self) -> dict[str, bool]:
        """What has to be switched on to have DRA at all."""
        return {} if self._has_dra_by_default else {"DynamicResourceAllocation": True}

    @property
    def runtime_config(self) -> dict[str, bool]:
        """APIs that have to be switched on to have DRA at all."""
        if self._has_dra_by_default:
            return {}
        return {"resource.k8s.io/v1beta1": True, "resource.k8s.io/v1beta2": True}

    @property
    def binaries(self) -> Artifact:
        """The artifact with its four binaries; it is always called ``kubernetes``."""
        return Artifact("kubernetes", (HERE / self.module, self.version), self._build, minutes=6)

    def _build(self, build: Build) -> None:
        """Build one multi-call binary of the four parts: 142 MB instead of 397 MB."""
        version = " ".join(
            f"-X {package}.gitVersion=v{self.version} -X {package}.gitMajor=1"
            f" -X {package}.gitMinor={self.minor.partition('.')[2]}"
            f" -X {package}.gitTreeState=archive"
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        )
        out = build.out / "kubernetes"
        _go(build, self.module, "build", "-ldflags", f"-s -w {version}", "-o", out)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"):
            (build.out / name).symlink_to("kubernetes")


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
        _go(
            build,
            "runtime",
            *("build", "-ldflags", "-s -w", "-o", f"{build.out}/{out}"),
            *("-tags", "no_btrfs no_devmapper no_zfs no_tracing", *packages),
        )
    # seccomp is not optional: a pod's sandbox always asks for RuntimeDefault.
    _go(
        build,
        "runtime",
        *("build", "-tags", "seccomp netgo osusergo", "-o", build.out / "runc"),
        *("-ldflags", "-s -w -linkmode external -extldflags -static"),
        "github.com/opencontainers/runc",
        CGO_ENABLED="1",
    )


def _nvidia_driver(build: Build) -> None:
    """The plugin, its CDI hook and the chart and scripts that its module carries."""
    (build.out / "bin").mkdir()
    _go(
        build,
        "nvidia",
        *("build", "-o", f"{build.out}/bin/", "-ldflags"),
        # Lazy binding: the plugin refers to every NVML function, a driver offers those it knows.
        f"-s -w -X {_NVIDIA_MODULE}/internal/info.version=v{NVIDIA_DRIVER_VERSION}"
        " '-extldflags=-Wl,-z,lazy'",
        f"{_NVIDIA_MODULE}/cmd/gpu-kubelet-plugin",
        "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-cdi-hook",
        # With the machine's gcc: go-nvml asks the linker to ignore unresolved symbols, and the
        # pinned compiler's linker cannot.
        CGO_ENABLED="1",
        CGO_CFLAGS="-O2 -w",
    )
    module = cache() / "go" / "modules" / f"{_NVIDIA_MODULE}@v{NVIDIA_DRIVER_VERSION}"
    build.run(
        "cp", "-r", module / "deployments" / "helm" / "dra-driver-nvidia-gpu", build.out / "chart"
    )
    build.run("cp", module / "hack" / "kubelet-plugin-prestart.sh", build.out / "bin")
    build.run("chmod", "-R", "u+w", build.out)


def _helm(build: Build) -> None:
    _go(
        build,
        "nvidia",
        "build",
        "-ldflags",
        "-s -w",
        "-o",
        build.out / "helm",
        "helm.sh/helm/v3/cmd/helm",
    )


def _kubelet_protocol(build: Build) -> None:
    """The protocol files by which a kubelet and its plugins talk, renamed to be distinct."""
    _go(build, KUBERNETES.module, "mod", "download", "k8s.io/kubelet")
    staging = f"v0.{KUBERNETES.version.partition('.')[2]}"
    apis = cache() / "go" / "modules" / "k8s.io" / f"kubelet@{staging}" / "pkg" / "apis"
    for service in ("dra/v1", "dra/v1beta1", "pluginregistration/v1"):
        source = apis / service / "api.proto"
        (build.out / f"{service.replace('/', '_')}.proto").write_text(source.read_text())


RELEASES = {
    release.minor: release
    for release in map(Release, ("1.37.2", "1.36.3", "1.35.4", "1.34.4", "1.33.13"))
}
"""By minor release, newest first: what ``--embedded-kubernetes`` takes."""
KUBERNETES = RELEASES["1.37"]
"""The default."""
RUNTIME = Artifact("runtime", (HERE / "runtime", "2"), _runtime, minutes=1.5)
NVIDIA_DRIVER = Artifact("nvidia-driver", (HERE / "nvidia",), _nvidia_driver, minutes=1.2)
HELM = Artifact("helm", (HERE / "nvidia" / "go.mod", HERE / "nvidia" / "go.sum"), _helm, minutes=1)
KUBELET_PROTOCOL = Artifact(
    "kubelet-protocol", (HERE / KUBERNETES.module / "go.sum",), _kubelet_protocol
)
