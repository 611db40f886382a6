"""The embedded cluster's binaries, from Go modules pinned by ``go.mod`` and ``go.sum`` here."""

from __future__ import annotations

from pathlib import Path

from embedded.artifacts import Artifact, Build, cache
from embedded.toolchain import go_binary

HERE = Path(__file__).parent
KUBERNETES_VERSION = "1.37.2"
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


def _kubernetes(build: Build) -> None:
    """One multi-call binary of the four Kubernetes parts: 142 MB instead of 397 MB."""
    minor = KUBERNETES_VERSION.split(".")[1]
    version = " ".join(
        f"-X {package}.gitVersion=v{KUBERNETES_VERSION} -X {package}.gitMajor=1"
        f" -X {package}.gitMinor={minor} -X {package}.gitTreeState=archive"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    )
    _go(
        build, "kubernetes", "build", "-ldflags", f"-s -w {version}", "-o", build.out / "kubernetes"
    )
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
    release = f"v0.{KUBERNETES_VERSION.partition('.')[2]}"
    _go(build, "kubernetes", "mod", "download", "k8s.io/kubelet")
    apis = cache() / "go" / "modules" / "k8s.io" / f"kubelet@{release}" / "pkg" / "apis"
    for service in ("dra/v1", "dra/v1beta1", "pluginregistration/v1"):
        source = apis / service / "api.proto"
        (build.out / f"{service.replace('/', '_')}.proto").write_text(source.read_text())


KUBERNETES = Artifact(
    "kubernetes", (HERE / "kubernetes", KUBERNETES_VERSION), _kubernetes, minutes=6
)
RUNTIME = Artifact("runtime", (HERE / "runtime", "2"), _runtime, minutes=1.5)
NVIDIA_DRIVER = Artifact("nvidia-driver", (HERE / "nvidia",), _nvidia_driver, minutes=1.2)
HELM = Artifact("helm", (HERE / "nvidia" / "go.mod", HERE / "nvidia" / "go.sum"), _helm, minutes=1)
KUBELET_PROTOCOL = Artifact(
    "kubelet-protocol", (HERE / "kubernetes" / "go.sum", KUBERNETES_VERSION), _kubelet_protocol
)
