"""glibc and ``ldconfig`` for another architecture, from the building machine's own apt sources.

For its own architecture an image takes them from the machine itself (`images.host`). For
another one, apt fetches the packages of the same release from where the machine has its own, and
verifies them by the same keys. There is no pin: a distribution withdraws a package's file with its
next update. Which versions came is noted in the image's labels. Nothing is installed, and neither
apt's nor dpkg's state on this machine is touched.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from building.architecture import Architecture
from building.artifacts import Artifact, Build, BuildError
from images import host

_PACKAGES = ("libc6", "libc-bin", "libcrypt1", "libgcc-s1", "libstdc++6", "zlib1g")
"""What an image's programs and libraries load, and ``ldconfig``; an image takes files from them."""

_CONFIGURATION = """\
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
Dir::State "{folder}";
Dir::State::lists "lists/";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "archives/";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "root";
"""
"""Read after the machine's own: where its sources are, by which proxy and keys, stays.

What the machine does after updates is about its own state; and apt's own user could not write to
our folder. An empty status file: nothing is installed.
"""


@dataclass(frozen=True)
class Fetched(host.Source):
    """Packages as the artifact has them: each unpacked in a folder ``PACKAGE=VERSION``."""

    def owners(self, files: Sequence[Path]) -> dict[str, str]:
        names = {root.name for root in self.roots for file in files if file.is_relative_to(root)}
        return dict(name.split("=", 1) for name in names)


def fetched(build: Build, architecture: Architecture) -> Fetched:
    """What was fetched; the build must need `glibc_for` the architecture."""
    folder = build.needs[architecture.part("glibc")].resolve()
    return Fetched(architecture, tuple(sorted(folder.iterdir())))


def _build(build: Build, architecture: Architecture) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise BuildError(
                f"this machine has no {program}, by which glibc for {architecture.name} is fetched:"
                " build on Debian or Ubuntu"
            )
    apt = ("apt-get", "--config-file", _configure(build.scratch, architecture), "--quiet")
    try:
        build.run(*apt, "update")
    except BuildError:
        pass  # of any source; whether it is one that matters, the download tells
    try:
        build.run(*apt, "download", *_PACKAGES)
    except BuildError as error:
        raise BuildError(
            f"apt got no {', '.join(_PACKAGES)} for {architecture.name}. If this machine's sources"
            " have none for it (Ubuntu keeps all but amd64 in an archive of its own, called ports),"
            f" add one of this release that has, with `Architectures: {architecture.name}`, to"
            f" /etc/apt/sources.list.d; nothing of it is installed. {error}"
        ) from error
    for package in sorted(build.scratch.glob("*.deb")):
        unpacked = build.scratch / "unpacked"
        build.run("dpkg-deb", "--extract", package, unpacked)
        # By the rules of Debian's archive neither has an underscore; a colon is escaped.
        name, version, _ = package.name.split("_")
        unpacked.rename(build.out / f"{name}={version.replace('%3a', ':')}")


def _configure(folder: Path, architecture: Architecture) -> Path:
    """Write apt's configuration, and what it expects to be there."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    file = folder / "apt.conf"
    file.write_text(_CONFIGURATION.format(architecture=architecture.name, folder=folder))
    return file


@functools.cache
def glibc_for(architecture: Architecture) -> Artifact:
    """A directory for `fetched`; built anew when this machine's own glibc is another."""
    return Artifact(
        architecture.part("glibc"),
        (Path(__file__), str(architecture), host.glibc_digest()),
        functools.partial(_build, architecture=architecture),
        minutes=0.2,
    )
