"""What a scenario did, told so that it can be done again with kubectl alone."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.cluster.kinds import Object, name_of, namespace_of
from harness.cluster.observe import Budget

Commands = Sequence[str]
"""For a POSIX shell."""
STAY = '[ -z "${KEEP:-}" ] || exit 0'
"""Ends the script before anything is removed, if that is asked for."""
ALLOCATED = "{.status.allocation}"
"""JSON paths of what a script waits for."""
_TEMPLATE_HASH = "pod-template-hash"
_CALLED = "resource.kubernetes.io/pod-claim-name"


class Script:
    """The commands of a scenario, and its manifests, in the order of the run.

    What kubectl cannot do is a comment, as is what the run saw.
    """

    def __init__(self, before: Iterable[str | Object] = ()) -> None:
        self.lines: list[str | Object] = list(before)
        """Commands, comments (with their ``#``), and objects to apply."""

    def say(self, text: str) -> None:
        """Add a comment."""
        self.lines.append(f"# {' '.join(text.split())}")

    def do(self, *commands: str) -> None:
        """Add commands for a POSIX shell."""
        self.lines += commands

    def apply(self, obj: Object) -> None:
        """Have an object created as it is now."""
        self.lines.append(copy.deepcopy(obj))

    def delete(self, obj: Object, *, force: bool = False) -> None:
        """Ask for the end of an object."""
        how = "--grace-period=0 --force" if force else "--wait=false"
        self.do(f"{kubectl(obj)} delete {named(obj)} {how}")


def kubectl(obj: Object) -> str:
    """Begin a command about an object, where it is."""
    namespace = namespace_of(obj)
    return f"kubectl --namespace {namespace}" if namespace else "kubectl"


def named(obj: Object) -> str:
    """Name an object for a command.

    One whose name somebody makes up is looked for: it has another one the next time.
    """
    kind, metadata = str(obj["kind"]).lower(), obj["metadata"]
    begins = str(metadata.get("generateName") or "")
    if not begins:
        return f"{kind}/{name_of(obj)}"
    of_template = (metadata.get("labels") or {}).get(_TEMPLATE_HASH)
    if of_template:
        begins = begins.removesuffix(f"{of_template}-")
    called = (metadata.get("annotations") or {}).get(_CALLED)
    part = f"-{called}-" if called else begins
    return f'"$({kubectl(obj)} get {kind} --output=name | grep --max-count=1 -e {part})"'


def until(obj: Object, path: str, budget: Budget, value: object = None) -> str:
    """Wait until a field of an object is there, or has a value.

    Args:
        obj: the object.
        path: of the field, as JSONPath.
        budget: how long.
        value: which; None: any.
    """
    wanted = f"jsonpath={shlex.quote(path)}" + ("" if value is None else f"={value}")
    return f"{kubectl(obj)} wait {named(obj)} --for={wanted} --timeout={budget.seconds:g}s"


def until_gone(obj: Object, budget: Budget) -> str:
    """Wait until an object is gone."""
    return f"{kubectl(obj)} wait {named(obj)} --for=delete --timeout={budget.seconds:g}s"


def of_container(pod: Object, container: str, field: str) -> str:
    """Write the JSONPath of a field of what the kubelet says of a container."""
    spec = pod.get("spec") or {}
    first = [one.get("name") for one in spec.get("initContainers") or []]
    kind = "initContainerStatuses" if container in first else "containerStatuses"
    return f'{{.status.{kind}[?(@.name=="{container}")].{field}}}'


def log(pod: Object, container: str, *, previous: bool = False) -> str:
    """Read a container's log, or that of its start before."""
    which = " --previous" if previous else ""
    return f"{kubectl(pod)} logs {named(pod)} --container={container}{which}"


def until_said(pod: Object, container: str, word: str, budget: Budget) -> str:
    """Wait until a container's log has a line with a word, and show that."""
    found = f"{log(pod, container)} | grep -e {shlex.quote(word)}"
    return f"for try in $(seq {budget.seconds:.0f}); do {found} && break; sleep 1; done"


def look(obj: Object) -> str:
    """Show an object whole."""
    return f"{kubectl(obj)} get {named(obj)} --output=yaml"


def patch(obj: Object, fields: Mapping[str, Any]) -> str:
    """Give fields of an object other values, by path (``spec.template``); None takes one away."""
    changed: dict[str, Any] = {}
    for path, value in fields.items():
        *way, last = path.split(".")
        part = changed
        for name in way:
            part = part.setdefault(name, {})
        part[last] = value
    text = shlex.quote(json.dumps(changed))
    return f"{kubectl(obj)} patch {named(obj)} --type=merge --patch={text}"


def allocated_gpus(claim: Object, driver: str, attribute: str) -> str:
    """Print the UUIDs of a claim's devices with commas between them, from the driver's slices."""
    each = '{range .status.allocation.devices.results[*]}{.pool}{" "}{.device}{"\\n"}{end}'
    device = (
        "{.items[?(@.spec.pool.name=='$pool')].spec.devices[?(@.name=='$device')]"
        f"..attributes.{attribute}.string}}{{'\\n'}}"
    )
    return (
        f"{kubectl(claim)} get {named(claim)} --output=jsonpath='{each}'"
        f" | while read -r pool device; do kubectl get resourceslices"
        f' --field-selector=spec.driver={driver} --output=jsonpath="{device}"; done'
        " | paste -s -d , -"
    )
