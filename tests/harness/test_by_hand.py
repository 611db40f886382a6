"""Commands for kubectl are about the right object, and a shell reads them as they are meant."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from harness.cluster.kinds import Object
from harness.cluster.observe import Budget
from harness.scenario import by_hand
from harness.scenario.by_hand import Script

BUDGET = Budget("start", 120)


def an_object(kind: str, name: str, **metadata: object) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": "team", **metadata}}


def test_a_wait_names_object_field_and_time() -> None:
    """Of a container by its name, among those that start first or later."""
    pod = an_object("Pod", "user")
    pod["spec"] = {"initContainers": [{"name": "first"}], "containers": [{"name": "later"}]}
    path = by_hand.of_container(pod, "first", "restartCount")
    assert shlex.split(by_hand.until(pod, path, BUDGET, 1)) == [
        *("kubectl", "--namespace", "team", "wait", "pod/user"),
        '--for=jsonpath={.status.initContainerStatuses[?(@.name=="first")].restartCount}=1',
        "--timeout=120s",
    ]
    assert ".containerStatuses" in by_hand.of_container(pod, "later", "restartCount")


def test_an_object_with_a_made_up_name_is_looked_for(tmp_path: Path) -> None:
    """A generated claim by what its pod calls it, a Deployment's pod whatever its hash."""
    called = {"resource.kubernetes.io/pod-claim-name": "gpus"}
    claim = an_object(
        "ResourceClaim", "job-x-gpus-y", generateName="job-x-gpus-", annotations=called
    )
    pod = an_object(
        *("Pod", "kept-5f-x"), generateName="kept-5f-", labels={"pod-template-hash": "5f"}
    )
    (tmp_path / "kubectl").write_text(
        "#!/bin/sh\nprintf '%s\\n' kind/kept-9c-z kind/other-gpus-z\n"
    )
    (tmp_path / "kubectl").chmod(0o755)

    def found(obj: Object) -> str:
        command = f"PATH={tmp_path}:$PATH; echo {by_hand.named(obj)}"
        return subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert found(claim) == "kind/other-gpus-z"
    assert found(pod) == "kind/kept-9c-z"


def test_a_patch_is_whole_for_a_shell() -> None:
    """Paths become objects; a quote in a value does no harm."""
    text = by_hand.patch(an_object("DaemonSet", "plugin"), {"spec.a.b": "it's", "spec.a.c": None})
    assert shlex.split(text)[-1] == '--patch={"spec": {"a": {"b": "it\'s", "c": null}}}'


def test_a_sentence_stays_a_comment() -> None:
    """Whatever somebody else wrote into it."""
    script = Script()
    script.say("the event says: bad\nrm -r /\u2028rm -r /")
    assert script.lines == ["# the event says: bad rm -r / rm -r /"]
