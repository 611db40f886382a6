"""A failed check made again with kubectl alone: manifests and commands, for who has no suite."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.anchor import RUN_LABEL, anchor_name
from harness.cluster.kinds import (
    NAMESPACE,
    POD,
    Object,
    name_of,
    namespace_of,
)
from harness.cluster.versions import to_server
from harness.scenario.by_hand import Script
from harness.scenario.run import SCENARIO_LABEL, Run
from harness.verdict.outcome import Result
from reports.words import as_text

FOLDER = "reproduce"
"""In a run's folder, with a folder for each failed case."""
COMMANDS = "commands.sh"
MOST_MANIFESTS = 200
"""A scenario that goes on for hours does the same again and again."""
_OF_THE_RUN = (RUN_LABEL, SCENARIO_LABEL)


def write(run: Run, result: Result, script: Script | None) -> str:
    """Write the manifests and commands that make a failed check again.

    Args:
        run: in which it failed.
        result: of the check.
        script: of its scenario; None: it only reads.

    Returns:
        Where they are, from the run's folder.
    """
    name = f"{result.id}-{result.variant}" if result.variant else result.id
    place = run.folder / FOLDER / name
    place.mkdir(parents=True, exist_ok=True)
    own = re.sub(r"[^a-z0-9]+", "-", f"{FOLDER}-{name}".lower())[:36].rstrip("-")
    lines = list(_Again(run, place, own).lines(script))
    text = "\n".join([*_head(run, result), *lines])
    text = text.replace(anchor_name(run.id), own)
    (place / COMMANDS).write_text(as_text(text) + "\n", encoding="utf-8")
    return f"{FOLDER}/{name}"


def _head(run: Run, result: Result) -> Iterator[str]:
    """Say what this is of, and what is wrong."""
    finding = result.finding
    yield "#!/bin/sh"
    yield f"# {result.headline}"
    yield f"# The check {result.id}: {result.sentence}"
    if finding is not None:
        for title, said in (("expected", finding.expected), ("observed", finding.observed)):
            yield from (f"# {title}: {line}" for line in said.splitlines())
    subject = run.subject
    yield "#"
    yield "# The same by kubectl alone, with objects of its own: line by line, or `sh commands.sh`,"
    yield "# in this folder; `KEEP=1 sh commands.sh` leaves them there to be looked at. A wait that"
    yield "# ends with an error is what a step failed by."
    yield f"# Driver: {subject.driver}, with resource.k8s.io/{subject.api_version}"
    yield f"# The pods run the workload's image: {subject.image}"
    yield "# Their logs end with what they saw, as JSON. The manifests name nodes and devices of"
    yield "# the run: change them for another cluster."
    yield "set -x  # show each command"


class _Again:
    """Turns what a run did into files and commands that do it again."""

    def __init__(self, run: Run, place: Path, own: str) -> None:
        self._run = run
        self._place = place
        self._own = own
        self._number = 0
        self._spaces: list[str] = []
        """The namespaces of the run that the scenario uses."""
        self._kept: list[str] = []
        """Manifests of what does not go with them."""

    def lines(self, script: Script | None) -> Iterator[str]:
        """Write the manifests and answer the commands."""
        if script is None:
            yield from self._reading()
            return
        yield self._slices()
        steps = script.lines
        spaces = {namespace_of(one) for one in steps if not isinstance(one, str)}
        made = {name_of(one) for one in steps if not isinstance(one, str)}
        for one in self._run.namespaces():
            if name_of(one) in spaces - made:
                self._spaces.append(name_of(one))
                yield from self._apply(one)
        for step in steps:
            if isinstance(step, str):
                yield step
            elif self._number < MOST_MANIFESTS:
                yield from self._apply(step)
            else:
                yield "# (and so on, as before)"
                break
        yield "# What the driver publishes, and what it says"
        yield self._slices()
        yield self._driver_log()
        yield "# Remove all of it"
        if self._kept:
            yield f"kubectl delete --ignore-not-found -f {' -f '.join(reversed(self._kept))}"
        for space in self._spaces:
            yield f"kubectl delete namespace {space}"

    def _apply(self, obj: Object) -> Iterator[str]:
        self._number += 1
        shown = bare(to_server(obj, self._run.kube.dra_api))
        file = f"{self._number:02}-{obj['kind'].lower()}-{name_of(obj)}.yaml"
        file = file.replace(anchor_name(self._run.id), self._own)
        text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=False)
        text = text.replace(anchor_name(self._run.id), self._own)
        (self._place / file).write_text(text, encoding="utf-8")
        of_namespace = obj["metadata"].get("namespace") in self._spaces
        if name_of(obj) not in self._spaces and not of_namespace:
            self._kept.append(file)
        for container in (obj.get("spec") or {}).get("containers") or ():
            if obj["kind"] == POD.name and "--offer" in (container.get("args") or ()):
                yield (
                    f"# {file}: behind --offer of {container['name']} is what its partner offered"
                    " in the run; put there what the partner's log says now"
                )
        yield f"kubectl apply -f {file}"

    def _reading(self) -> Iterator[str]:
        subject = self._run.subject
        yield "# This check creates nothing: it reads what the driver publishes."
        yield (
            f"kubectl get resourceslices --field-selector=spec.driver={subject.driver}"
            " --output=yaml"
        )
        yield f"kubectl get deviceclass {subject.profile.device_class} --output=yaml"
        yield "kubectl get nodes --output=wide"
        yield "# The driver's log"
        yield self._driver_log()

    def _slices(self) -> str:
        columns = {
            "NAME": ".metadata.name",
            "NODE": ".spec.nodeName",
            "GENERATION": ".spec.pool.generation",
            "VERSION": ".metadata.resourceVersion",
            "DEVICES": ".spec.devices[*].name",
        }
        return (
            f"kubectl get resourceslices --field-selector=spec.driver={self._run.subject.driver}"
            f" --output='custom-columns={','.join(map(':'.join, columns.items()))}'"
        )

    def _driver_log(self) -> str:
        profile = self._run.subject.profile
        each = '{range .items[*]}{.metadata.namespace}{" "}{.metadata.name}{"\\n"}{end}'
        return (
            f"kubectl get pods --all-namespaces --selector={profile.plugin_selector}"
            f" --output=jsonpath='{each}' | while read -r namespace pod; do kubectl --namespace"
            f' "$namespace" logs "$pod" --container={profile.plugin_container} --tail=50; done'
        )


def bare(obj: Object) -> Object:
    """Leave out what belongs to the run, or to what the API server has made of an object."""
    metadata: dict[str, Any] = {
        key: value
        for key, value in obj["metadata"].items()
        if key in ("name", "namespace", "annotations", "labels")
    }
    dropped = ("metadata", "status", *(["spec"] if obj["kind"] == NAMESPACE.name else []))
    rest = {key: value for key, value in obj.items() if key not in dropped}
    made = {"apiVersion": rest.pop("apiVersion"), "kind": rest.pop("kind"), "metadata": metadata}
    return dict(_without(copy.deepcopy({**made, **rest})))


def _without(value: Any) -> Any:
    """Take the run's labels out, wherever they are."""
    if isinstance(value, dict):
        inner = {key: _without(one) for key, one in value.items() if key not in _OF_THE_RUN}
        return {key: one for key, one in inner.items() if key != "labels" or one}
    if isinstance(value, list):
        return list(map(_without, value))
    return value
