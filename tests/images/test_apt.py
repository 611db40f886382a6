"""Packages of another architecture from the machine's own apt sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from building.architecture import ARM64
from building.artifacts import Artifact, Build, BuildError
from images import apt, elf
from tests.images.test_images import AARCH64

Again = Callable[[Artifact], Path]


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an ``apt-get`` before the machine's, by its shell script."""

    def write(script: str) -> None:
        path = tmp_path / "bin" / "apt-get"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return write


def test_packages_come_with_their_versions(
    obtained: Again, built_again: Again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """glibc and ldconfig, each known by its package; what the machine does after updates is not."""
    ran = tmp_path / "ran"
    (tmp_path / "machine.conf").write_text(
        "".join(
            f'APT::Update::{when} {{ "touch {ran}"; }};\n'
            for when in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
        )
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "machine.conf"))
    artifact = apt.glibc_for(ARM64)
    obtained(artifact)  # if it can be had here at all
    folder = built_again(artifact)
    assert not ran.exists()

    with (tmp_path / "log").open() as log:
        source = apt.fetched(Build(folder, folder, {artifact.name: folder}, log), ARM64)
    files = [source.library("libc.so.6"), source.ldconfig(), source.library("libgcc_s.so.1")]
    assert [elf.read(file).machine for file in files] == [AARCH64] * 3
    owners = source.owners(files)
    assert set(owners) == {"libc6", "libc-bin", "libgcc-s1"}
    assert owners["libc6"] == owners["libc-bin"]
    assert source.owners([source.ldconfig()]) == {"libc-bin": owners["libc-bin"]}
    with pytest.raises(
        BuildError, match=r"no libcuda\.so\.1 for arm64 in usr/lib/aarch64-.* of libc-bin=2"
    ):
        source.library("libcuda.so.1")


def test_a_source_that_fails_is_no_matter(
    fake_apt: Callable[[str], None], built_again: Again
) -> None:
    """Where the packages come from another one."""
    fake_apt('[ "$4" != update ]')
    assert list(built_again(apt.glibc_for(ARM64)).iterdir()) == []


def test_sources_without_the_architecture(
    fake_apt: Callable[[str], None], built_again: Again
) -> None:
    """apt's words, and what to do."""
    fake_apt("echo E: Unable to locate package libc6; exit 100")
    with pytest.raises(BuildError) as caught:
        built_again(apt.glibc_for(ARM64))
    for words in (
        "apt got no libc6, libc-bin, libcrypt1, libgcc-s1, libstdc++6, zlib1g for arm64",
        "with `Architectures: arm64`, to /etc/apt/sources.list.d",
        "E: Unable to locate package libc6",
    ):
        assert words in str(caught.value)


def test_a_machine_without_apt(
    built_again: Again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is told so, with where it can be done."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no apt-get, by which glibc for arm64 .* on Debian"):
        built_again(apt.glibc_for(ARM64))
