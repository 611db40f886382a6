"""The image of the NVIDIA DRA driver: upstream's, rebuilt without its registry.

What must be where is taken from ``deployments/container/Dockerfile`` of the driver's module.
Upstream puts its programs on a base with a static bash and busybox; here bash, coreutils and
findutils of the building machine do their part.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from building.artifacts import Artifact, Build
from building.binaries import HERE as PINS
from building.binaries import NVIDIA_DRIVERS, NVIDIA_MODULE
from building.toolchain import go_package
from images import host, oci
from images.pause import ARCHIVE

_OWN = ("gpu-kubelet-plugin", "nvidia-cdi-hook", "kubelet-plugin-prestart.sh")
_PROGRAMS = (
    # bash runs both containers' commands; kubelet-plugin-prestart.sh calls the others, cp, sed and
    # mount only where the chart's maskNvidiaDriverParams is set.
    *("bash", "basename", "cat", "cp", "date", "env", "find", "head", "ln", "ls", "mkdir", "mount"),
    *("readlink", "rm", "sed", "sleep", "true"),
    # For MPS: the plugin mounts a /dev/shm for the daemon, which runs in this image, too.
    *("tail", "umount"),
)


def image_for(version: str) -> Artifact:
    """A directory with `ARCHIVE`: the image of a version of the driver."""
    return Artifact(
        f"nvidia-driver-image-{version}",
        (
            Path(__file__),
            Path(oci.__file__),
            Path(host.__file__),
            host.glibc_digest(),
        ),
        partial(_build, version=version),
        needs=(NVIDIA_DRIVERS[version],),
    )


def _build(build: Build, version: str) -> None:
    root = host.Root(build.scratch / "root")
    root.programs(map(host.MACHINE.program, _PROGRAMS))
    (root.path / "usr/bin/sh").symlink_to("bash")
    for name in _OWN:
        target = root.path / "usr/bin" / name
        shutil.copyfile(build.needs[NVIDIA_DRIVERS[version].name] / "bin" / name, target)
        target.chmod(0o755)
    # NVML and nvidia-smi come from the driver's root at run time, all else from here.
    root.glibc()
    root.libraries(*(root.path / "usr/bin" / name for name in _OWN if not name.endswith(".sh")))
    root.write({"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n"})
    (root.path / "root").mkdir()
    templates = go_package(build, PINS / f"nvidia-{version}", NVIDIA_MODULE) / "templates"
    shutil.copytree(templates, root.path / "templates")
    layer = oci.layer(root.path, build.scratch / "layer.tar")
    image = oci.Image(
        f"localhost/dra-conformance/dra-driver-nvidia-gpu:v{version}",
        (layer,),
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "NVIDIA_DISABLE_REQUIRE": "true",
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "utility",
        },
        labels={
            "org.opencontainers.image.title": "DRA Driver for NVIDIA GPUs",
            "version": f"v{version}",
            host.PACKAGES_LABEL: root.packages(),
        },
    )
    oci.write(build.out / ARCHIVE, [image])
