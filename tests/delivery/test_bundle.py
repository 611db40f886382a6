"""What a bundle carries, and what its installer accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from building import artifacts, bundle
from building.artifacts import Artifact, Build, BuildError
from building.binaries import KUBERNETES, PUSH
from building.errors import UserError
from building.progress import Progress
from building.tree import ROOT
from delivery.bundle import packages
from delivery.bundle.__main__ import main, part_size
from delivery.bundle.write import Written, pack, write
from embedded.drivers import DRIVERS
from images.workload import WORKLOAD_IMAGE

MIB = 1 << 20
RUN = """#!/bin/sh
echo "made: $*"
"""


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A bundle of a small tree, in three parts, away from what it was made from."""
    tree = tmp_path / "tree"
    (tree / "sub" / "__pycache__").mkdir(parents=True)
    (tree / "sub" / "__pycache__" / "module.pyc").write_text("")
    (tree / "sub" / "noise").write_bytes(os.urandom(2 * MIB + MIB // 2))
    (tree / "sub" / "link").symlink_to("noise")
    (tree / "run").write_text(RUN)
    (tree / "run").chmod(0o700)
    files = {Path("run"): tree / "run", Path("sub"): tree / "sub"}
    done = pack(tmp_path / "carried", "1.0", files, MIB, time=1_000_000_000)
    tree.rename(tmp_path / "kept")
    return done


def install(written: Written, target: Path) -> subprocess.CompletedProcess[str]:
    """Run the installer from another directory."""
    return subprocess.run(
        ["sh", written.installer, target], capture_output=True, text=True, cwd=target.parent
    )


def test_installs_what_was_packed(written: Written, tmp_path: Path) -> None:
    """Content, modes and links; the environment is made; the next command is printed."""
    done = install(written, tmp_path / "installed here")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "installed here"
    noise = (tmp_path / "kept/sub/noise").read_bytes()
    assert (target / "sub/noise").read_bytes() == noise
    assert (target / "sub/link").readlink() == Path("noise")
    assert (target / "run").stat().st_mode & 0o777 == 0o755
    assert not (target / "sub/__pycache__").exists()
    assert "made: environment" in done.stdout
    assert f"{target}/run dra" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["carried", target.name, "kept"]


def test_no_part_is_larger_than_asked_for(written: Written) -> None:
    """The noise cannot be compressed, so it needs three parts; the whole file is not kept."""
    assert [path.stat().st_size <= MIB for path in written.parts] == [True] * 3
    assert {path.name for path in written.checksums.parent.iterdir()} == {
        *(f"dra-conformance-1.0.tar.xz.part-00{number}" for number in (1, 2, 3)),
        "dra-conformance-1.0.sha256",
        "dra-conformance-install.sh",
    }


def test_same_content_gives_the_same_bytes(written: Written, tmp_path: Path) -> None:
    """Packed again, by another user's habits."""
    tree = tmp_path / "kept"
    (tree / "run").chmod(0o755)
    os.utime(tree / "run", (1, 1))
    files = {Path("run"): tree / "run", Path("sub"): tree / "sub"}
    again = pack(tmp_path / "again", "1.0", files, MIB, time=1_000_000_000)
    assert again.checksums.read_text() == written.checksums.read_text()


def test_every_bad_part_is_named_and_nothing_is_installed(written: Written, tmp_path: Path) -> None:
    """A missing one and one with a byte changed."""
    first, second, third = written.parts
    first.unlink()
    content = bytearray(third.read_bytes())
    content[1000] ^= 1
    third.write_bytes(content)
    done = install(written, tmp_path / "target")
    assert done.returncode == 1
    assert f"missing: {first}\n" in done.stderr
    assert f"damaged: {third}\n" in done.stderr
    assert second.name not in done.stderr
    assert not (tmp_path / "target").exists()


def test_an_existing_folder_is_left_alone(written: Written, tmp_path: Path) -> None:
    """Whatever is in it."""
    (tmp_path / "target").mkdir()
    done = install(written, tmp_path / "target")
    assert done.returncode == 1
    assert f"{tmp_path / 'target'} exists" in done.stderr
    assert list((tmp_path / "target").iterdir()) == []


def test_another_bundle_in_the_folder_is_replaced(written: Written, tmp_path: Path) -> None:
    """Else its parts would be carried, too."""
    folder = written.checksums.parent
    pack(folder, "2.0", {Path("run"): tmp_path / "kept" / "run"}, MIB, time=1)
    assert not [path for path in folder.iterdir() if "1.0" in path.name]


def test_a_failing_compressor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half of an archive remains."""
    (tmp_path / "noise").write_bytes(os.urandom(MIB))
    monkeypatch.setattr("delivery.bundle.write._COMPRESS", ("false",))
    with pytest.raises(UserError, match="`false` ended with 1"):
        pack(tmp_path / "out", "1.0", {Path("noise"): tmp_path / "noise"}, MIB, time=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_runtime_lock_has_what_a_run_needs_and_no_more() -> None:
    """The packages' own dependencies are followed; hashes stay."""
    lock = (ROOT / "requirements.lock").read_text()
    part = packages.runtime_lock(lock, ["kubernetes>=37", "pytest"])
    names = {line.partition("==")[0] for line in part.splitlines() if "==" in line}
    assert {"kubernetes", "urllib3", "pytest", "pluggy"} <= names
    assert not {"mypy", "ruff", "nox", "virtualenv", "grpcio-tools"} & names
    assert part.count("--hash=sha256:") > len(names)


@pytest.mark.parametrize(
    ("lock", "root", "message"),
    [
        ("", "pytest", "requirements.lock lacks .*pytest"),
        ("pytest==9.2\n", "no-such-package", "requirements.lock lacks no-such-package"),
    ],
)
def test_incomplete_lock_is_refused(lock: str, root: str, message: str) -> None:
    """At the building machine, not at the target."""
    with pytest.raises(BuildError, match=message):
        packages.runtime_lock(lock, [root])


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This tree as if it had been unpacked from a bundle; its folder."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    described = bundle.Bundle("1.0", ("nvidia",), ("1.37",), ("3.11",), "3.11", "abc")
    described.save(folder)
    monkeypatch.setattr(bundle, "FOLDER", folder)
    monkeypatch.setenv("DRA_CACHE", str(tmp_path / "cache"))
    bundle.unpacked.cache_clear()
    assert bundle.unpacked() == described
    yield folder
    bundle.unpacked.cache_clear()


def _never(_build: Build) -> None:
    raise AssertionError("something is built")


def test_carried_parts_are_used_and_nothing_is_built(carrier: Path, tmp_path: Path) -> None:
    """A part that is not carried is named, with what the bundle was made for."""
    one, other = (Artifact(name, ("1",), _never) for name in ("one", "other"))
    carried = carrier / bundle.ARTIFACTS / f"one-{one.key}"
    carried.mkdir(parents=True)
    assert artifacts.obtain([one], Progress()) == {"one": carried}
    with pytest.raises(BuildError, match=r"does not carry other as .*--embedded-driver nvidia "):
        artifacts.obtain([one, other], Progress())
    changed = Artifact("one", ("2",), _never)
    with pytest.raises(BuildError, match="does not carry one as this tree's sources"):
        artifacts.obtain([changed], Progress())
    assert not (tmp_path / "cache").exists()


def test_keys_are_those_of_the_building_machine(tmp_path: Path) -> None:
    """Another Python minor version and another glibc decide a bundle's keys, not this machine's."""
    tree = tmp_path / "tree"
    for folder in ("building", "images", "workload"):
        shutil.copytree(ROOT / folder, tree / folder)
    keys = "from images.workload import WORKLOAD_IMAGE; print(WORKLOAD_IMAGE.key)"

    def key() -> str:
        return subprocess.run(
            ["python", "-P", "-c", keys],
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    here = key()
    (tree / "bundle").mkdir()
    found = set()
    for python, glibc in (("3.12", "abc"), ("3.12", "abd"), ("3.13", "abc")):
        bundle.Bundle("1.0", (), (), (), python, glibc).save(tree / "bundle")
        found.add(key())
        assert key() in found
    assert len({*found, here}) == 4


@pytest.mark.parametrize(("text", "size"), [("45M", 45 * MIB), ("1G", 1 << 30), ("1048576", MIB)])
def test_part_size(text: str, size: int) -> None:
    """Powers of 1024."""
    assert part_size(text) == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part-size", "45MB"], "--part-size '45MB': give a size"),
        (["--part-size", "10K"], "--part-size '10K': give a size of at least 1M"),
        (["--embedded-driver", "nvidia,amd"], "--embedded-driver 'amd': must be one of nvidia"),
        (["--embedded-kubernetes", "1.20"], "--embedded-kubernetes '1.20': must be one of 1.38"),
    ],
)
def test_bad_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Option, value and what would be right."""
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_bundle_has_what_a_push_and_each_version_of_a_driver_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the other machine nothing is built: neither an image nor the program that sends one."""
    asked: list[Artifact] = []

    def obtain(wanted: list[Artifact], _: Progress) -> dict[str, Path]:
        asked.extend(wanted)
        raise BuildError("enough")

    monkeypatch.setattr(artifacts, "obtain", obtain)
    with pytest.raises(BuildError, match="enough"):
        write(tmp_path, MIB, ["nvidia", "nvidia@0.4.1"], [KUBERNETES], Progress())
    default, older = DRIVERS["nvidia"].images, DRIVERS["nvidia@0.4.1"].images
    assert default != older
    assert {PUSH, WORKLOAD_IMAGE, *default, *older} <= set(asked)
