"""Manifests as they would be created, for people to read and to apply."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.profile import load
from harness.options import OptionError, resolve
from harness.session.manifests import shown
from harness.session.session import MANIFESTS

PROFILE = load(MANIFESTS.parents[1] / "profiles" / "nvidia.yaml")
NAMES = (
    *("allocation", "claim", "folder-removal", "lease", "namespace", "pod", "workload"),
    "claim-template",
    "device-class",
    "volume-claim",
    "taint-rule",
    *("node-files", "node-root", "preflight/pod-class", "preflight/pod-image", "shared-claim"),
)


def objects(name: str, folder: Path, **given: str | None) -> list[dict[str, Any]]:
    """The objects of a manifest, read back as kubectl does."""
    text = shown(MANIFESTS, resolve({"manifest": name, **given}, {}, folder), PROFILE)
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("name", NAMES)
def test_every_manifest_can_be_shown(name: str, tmp_path: Path) -> None:
    """As objects of the API, each with a name."""
    for obj in objects(name, tmp_path):
        assert {"apiVersion", "kind", "metadata"} <= obj.keys()
        assert obj["metadata"]["name"]


@pytest.mark.parametrize("name", NAMES)
def test_pods_are_small_and_have_no_token(name: str, tmp_path: Path) -> None:
    """Their image comes from one option."""
    for obj in objects(name, tmp_path, image="registry.example/workload:1"):
        if obj["kind"] != "Pod":
            continue
        spec = obj["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Never", 1)
        for container in spec["containers"]:
            assert container["image"] == "registry.example/workload:1"
            assert container["resources"]["limits"]["memory"]


def test_every_template_is_in_a_manifest() -> None:
    """Or an admin could not read what is created."""
    templates = {
        str(path.relative_to(MANIFESTS)).removesuffix(".yaml.j2")
        for path in MANIFESTS.rglob("*.yaml.j2")
    }
    assert templates == set(NAMES) - {"shared-claim"}


def test_the_original_example_can_be_recognised(tmp_path: Path) -> None:
    """One claim of two GPUs, and two privileged pods that share a folder of the node."""
    claim, _, *pods = objects("shared-claim", tmp_path, image="registry.example/workload:1")
    assert claim["metadata"]["name"] == "shared-dual-gpus"
    requests = claim["spec"]["devices"]["requests"]
    assert {one["exactly"]["deviceClassName"] for one in requests} == {"gpu.nvidia.com"}
    assert len(requests) == 2
    assert [pod["metadata"]["name"] for pod in pods] == ["producer", "consumer"]
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["hostPID"] is pod["spec"]["hostIPC"] is True
        assert container["image"] == "registry.example/workload:1"
        assert container["securityContext"]["privileged"] is True
        (volume,) = pod["spec"]["volumes"]
        assert volume["hostPath"]["path"].startswith("/tmp/")


def test_a_script_is_brought_to_an_image_with_a_shell(tmp_path: Path) -> None:
    """It needs no Python, and what tries the image neither."""
    (pod,) = objects("pod", tmp_path, shell_image="debian:12-slim")
    (container,) = pod["spec"]["containers"]
    (brought,) = objects("workload", tmp_path, shell_image="debian:12-slim")
    (at,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "workload"]
    (script,) = brought["data"]
    assert container["command"] == ["sh", f"{at}/{script}"]
    assert container["image"] == "debian:12-slim"
    (pod,) = objects("preflight/pod-image", tmp_path, shell_image="debian:12-slim")
    assert pod["spec"]["containers"][0]["command"][0] == "sh"


@pytest.mark.parametrize(("given", "user"), [(None, 1000), ("2000", 2000), ("none", None)])
@pytest.mark.parametrize("name", ["pod", "preflight/pod-image"])
def test_pods_ask_for_the_user_that_they_are_to_have(
    name: str, given: str | None, user: int | None, tmp_path: Path
) -> None:
    """Or for none: then the cluster gives them one, and root is refused all the same."""
    (pod,) = objects(name, tmp_path, run_as=given)
    (container,) = pod["spec"]["containers"]
    context = container["securityContext"]
    assert (context.get("runAsUser"), context["runAsNonRoot"]) == (user, True)


def test_the_workload_is_brought_to_an_image_without_it(tmp_path: Path) -> None:
    """What is mounted runs as it is: by any Python, with nothing else of the project."""
    brought, _, _, *pods = objects("shared-claim", tmp_path, python_image="python:3")
    mounted = tmp_path / "mounted"
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert container["image"] == "python:3"
        (at,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "workload"]
        (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "workload"]
        assert volume["configMap"]["name"] == brought["metadata"]["name"]
        (folder,) = [one["value"] for one in container["env"] if one["name"] == "PYTHONPATH"]
        package = mounted / Path(at).relative_to(folder)
        package.mkdir(parents=True, exist_ok=True)
        for name, text in brought["data"].items():
            (package / name).write_text(text)
    assert container["command"] == ["python3", "-m", "workload"]
    done = subprocess.run(
        [sys.executable, "-P", *container["command"][1:], *("rest", "--patience", "0.1")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(mounted)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "ok"
    assert ".entry fill(" in brought["data"]["kernels.ptx"]


def test_an_unknown_manifest_is_named_with_those_there_are(tmp_path: Path) -> None:
    """In the words of the option."""
    with pytest.raises(OptionError, match=r"--dra-manifest nope: there is none .* shared-claim"):
        objects("nope", tmp_path)


def test_the_driver_must_be_known(tmp_path: Path) -> None:
    """No cluster is asked, so an option has to say it."""
    with pytest.raises(OptionError, match=r"--dra-driver NAME or --dra-profile=FILE"):
        shown(MANIFESTS, resolve({"manifest": "pod"}, {}, tmp_path), None)
