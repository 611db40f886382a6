"""The wheel: what it puts where, and the suite that runs from it in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

from building.progress import Progress
from building.tree import ROOT
from delivery import wheel
from embedded import cluster
from images.workload import WORKLOAD_IMAGE_NAME

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INFO = f"dra_conformance-{PROJECT['version']}.dist-info"
NOT_PACKED = {"benchmarks", "deploy", "docs", "tests"}
"""Folders that a run does not need."""
OF_THE_CHECKOUT = {
    "delivery/bundle",
    *(f"delivery/{name}.py" for name in ("deploy", "runner", "wheel")),
}
WITHOUT_POSIX = Path(__file__).with_name("without_posix.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return wheel.build(tmp_path_factory.mktemp("dist"), Progress())


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installs it to; its dependencies are those of the environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", folder, built], check=True)
    return folder


def called(site: Path, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Call Python with what is installed, in a folder, as somebody without a cluster."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-P", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def tracked() -> set[str]:
    """The files of the checkout that a run needs."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*/*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {
        name
        for name in listed
        if not name.startswith((".", *(f"{folder}/" for folder in NOT_PACKED)))
        and not name.startswith(tuple(OF_THE_CHECKOUT))
        and (ROOT / name).exists()
    }


def test_it_holds_one_package_with_the_tree_of_the_checkout(built: Path) -> None:
    """In site-packages there is nothing else; the files are those that git knows."""
    names = set(zipfile.ZipFile(built).namelist())
    assert {name.partition("/")[0] for name in names} == {"dra_conformance", INFO}
    tree = "dra_conformance/tree/"
    expected = {
        name if name.startswith("dra_conformance/") else f"{tree}{name}" for name in tracked()
    }
    alone = ("commit.json", "conftest.py", "docs/known-findings.yaml", "pyproject.toml")
    expected |= {f"{tree}{name}" for name in alone}
    assert {name for name in names if not name.startswith(INFO)} == expected


def test_its_metadata_names_what_a_run_needs_and_no_more(built: Path) -> None:
    """Version and dependencies are those of pyproject.toml; the tools of development are not."""
    with zipfile.ZipFile(built) as archive:
        metadata = message_from_bytes(archive.read(f"{INFO}/METADATA"))
        entries = archive.read(f"{INFO}/entry_points.txt").decode()
    assert metadata["Version"] == PROJECT["version"]
    needed = {re.split("[>=;]", one)[0] for one in metadata.get_all("Requires-Dist", [])}
    extra = PROJECT["optional-dependencies"]["embedded"]
    assert needed == {re.split("[>=]", one)[0] for one in (*PROJECT["dependencies"], *extra)}
    assert "dra-conformance = dra_conformance.__main__:main" in entries
    assert "[pytest11]" in entries


def test_the_version_is_shown_with_the_commit(site: Path, tmp_path: Path) -> None:
    """And whether there were changes when it was built."""
    commit = json.loads((site / "dra_conformance/tree/commit.json").read_text())
    done = called(site, tmp_path, "-m", "dra_conformance", "--version")
    changed = ", changed" if commit["changed"] else ""
    shown = f"dra-conformance {PROJECT['version']} (commit {commit['commit']}{changed})"
    assert done.stdout.startswith(shown)
    assert re.fullmatch("[0-9a-f]{40}", commit["commit"])


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "dra_conformance", "plan"),
        ("-m", "pytest", "-m", "dra", "--dra-plan"),
        (WITHOUT_POSIX, "plan", "-p", "pytest_timeout"),
    ],
    ids=["command", "pytest", "without-posix"],
)
def test_it_plans_in_an_empty_folder(
    words: tuple[str | Path, ...], site: Path, tmp_path: Path
) -> None:
    """By the command, by pytest with the plugin, and where Python is as poor as on Windows."""
    done = called(site, tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LIFE-002" in done.stdout
    rights = done.stdout[done.stdout.index("apiVersion: rbac.authorization.k8s.io/v1") :]
    (role,) = (one for one in yaml.safe_load_all(rights.partition("\n===")[0]) if one is not None)
    assert role["kind"] == "ClusterRole"
    assert {path.name for path in tmp_path.iterdir()} <= {".pytest_cache"}


def test_without_a_cluster_it_says_what_to_do(site: Path, tmp_path: Path) -> None:
    """In words of the command; the report lies in the folder of the call."""
    done = called(site, tmp_path, "-m", "dra_conformance", "run")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "`dra-conformance run --dra-cluster embedded` starts one" in done.stdout
    assert "./run" not in done.stdout
    (results,) = tmp_path.glob("reports/out/*/results.json")
    assert json.loads(results.read_text())["environment"]["suite"]["commit"]


def test_what_a_verb_does_not_know_is_a_usage_error(site: Path, tmp_path: Path) -> None:
    """Code 4, as pytest's own, and the verbs that there are."""
    done = called(site, tmp_path, "-m", "dra_conformance", "make")
    assert done.returncode == 4
    assert "dra-conformance VERB" in done.stderr


def test_tests_of_others_do_not_know_of_it(site: Path, tmp_path: Path) -> None:
    """A project with packages of the suite's names, in an environment that has the suite."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness/__init__.py").write_text("OURS = True\n")
    (tmp_path / "conftest.py").write_text("import sys\nsys.path.insert(0, '.')\n")
    (tmp_path / "test_ours.py").write_text(
        "from harness import OURS\n\ndef test_ours(request):\n    assert OURS\n"
        "    assert not hasattr(request.config.option, 'dra_option_level')\n"
    )
    done = called(site, tmp_path, "-m", "pytest", "-m", "not dra", "-W", "error")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_in_a_checkout_the_checkout_is_run(site: Path) -> None:
    """The plugin leaves it alone, though its option is the same."""
    done = called(
        site, ROOT, "-m", "pytest", "-m", "dra", "--collect-only", "-p", "no:cacheprovider"
    )
    assert done.returncode == 0, done.stdout
    assert f"rootdir: {ROOT}\n" in done.stdout
    assert "configfile: pyproject.toml" in done.stdout


@pytest.mark.embedded
@pytest.mark.matrix
def test_installed_by_pip_it_passes_on_a_cluster(built: Path, tmp_path: Path) -> None:
    """In an environment of its own, with its dependencies from the registry."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "install", "--quiet", built], check=True)
    folder = tmp_path / "empty"
    folder.mkdir()
    options = cluster.Options(nodes=1, driver="reference", name="wheel")
    with cluster.running(options, Progress()) as running:
        done = subprocess.run(
            [
                tmp_path / "venv/bin/dra-conformance",
                "run",
                "--dra-check",
                "LIFE-002,SHARE-002",
                "--dra-image",
                WORKLOAD_IMAGE_NAME,
            ],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "KUBECONFIG": str(running.kubeconfig)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("reports/out/*/junit.xml"))) == 1
