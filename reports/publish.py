"""Results for everybody: a run's files without what identifies the machines it was on.

Host names, addresses and local paths go; GPUs, versions and what was measured stay. Everything is
taken from the scrubbed ``results.json``, so that no other file can say more; ``events.jsonl`` stays
at home.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reports import folder, html, junit, results
from reports.words import counts, in_markdown

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGE = "README.md"
BEGIN, END = "<!-- The runs, written by ./run report publish -->", "<!-- End of the runs -->"

_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-[a-z0-9]+(\.[a-z0-9]+)*)+")
_SERVER, _HOST, _ADDRESS, _CONTEXT = "(server)", "(host)", "(address)", "(context)"
_ADDRESSES = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|(?<![\w.:])[0-9a-fA-F:]*:[0-9a-fA-F:]*(?![\w:])"
)
"""Of IPv4, a port behind it or not, and what may be one of IPv6."""
_HOMES = re.compile(r"(?<![\w.~-])/(?:root|(?:home|Users)/[^/\s'\"]+)(?=[/\s'\",;:)\]}]|$)")
_PATHS = re.compile(r"(?<![\w.~)>-])/((?:[\w.@+-]+/)+)([\w.@+-]+)")
_OF_NODES = (
    *("api", "apis", "bin", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sbin", "shared"),
    *("sys", "tmp", "usr", "var", "workload"),
)
"""First parts of paths that every node or container has, or the API: they tell of no machine."""


class PublishError(Exception):
    """The run cannot be published; ``str()`` says why."""


@dataclass(frozen=True)
class Identity:
    """What must not be read in a published file."""

    names: Mapping[str, str]
    """Whole words, each with what stands in its place."""
    folders: tuple[str, ...]
    """The run's folder and those above it, the innermost first."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Identity:
        """Find what identifies the machines of the run of a ``results.json``."""
        run, cluster = content.get("run") or {}, content.get("cluster") or {}
        names: dict[str, str] = {}
        server = str(cluster.get("server") or "")
        if server:
            names[server] = f"https://{_SERVER}"
            names[urlsplit(server).netloc] = _SERVER
            names[urlsplit(server).hostname or server] = _SERVER
        for host in (str(run.get("host") or ""), socket.gethostname()):
            if host and host != "localhost":
                names[host] = _HOST
                names[host.split(".")[0]] = _HOST
        nodes = (content.get("environment") or {}).get("nodes") or []
        for number, node in enumerate(nodes, 1):
            name = str(node.get("name") or "") if isinstance(node, Mapping) else ""
            if name and not re.fullmatch(r"node-[0-9]+", name):
                names[name] = f"node-{number}"
        events = Path(str((content.get("files") or {}).get("events") or ""))
        above = [str(path) for path in events.parents if path.is_absolute()]
        return cls(names, tuple(path for path in above if path.count("/") > 1))

    def scrubbed(self, text: str) -> str:
        """Replace in a text what identifies a machine."""
        for outer in self.folders:
            text = text.replace(f"{outer}/", "")
            text = re.sub(rf"{re.escape(outer)}(?![\w.-])", "(path)", text)
        for name in sorted(self.names, key=len, reverse=True):
            text = _word(name).sub(self.names[name], text)
        text = _ADDRESSES.sub(_without_address, text)
        text = _HOMES.sub("~", text)
        return _PATHS.sub(_without_path, text)

    def left_in(self, text: str) -> list[str]:
        """List what still identifies a machine in a text, each with its line."""
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            words = [name for name in self.names if _word(name).search(line)]
            words += [path for path in self.folders if path in line]
            words += [match[0] for match in _HOMES.finditer(line)]
            words += [m[0] for m in _ADDRESSES.finditer(line) if _without_address(m) != m[0]]
            found += [f"line {number}: {word}" for word in words]
        return found


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)")


def _without_address(match: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return match[0]  # a time, a PCI address, a version
    return match[0] if address.is_unspecified else _ADDRESS


def _without_path(match: re.Match[str]) -> str:
    first = match[1].split("/")[0]
    return match[0] if first in _OF_NODES else f"(path)/{match[2]}"


def publish(run: Path, name: str, into: Path) -> Path:
    """Write a run's files, scrubbed, and name them in the page of all runs.

    Args:
        run: the run's folder.
        name: of the new folder: date, hardware, driver.
        into: where published runs are.

    Returns:
        The new folder.

    Raises:
        PublishError: the name is none or taken, or something of the machine would be left.
        ResultsError: the run has no results.
    """
    if not _NAME.fullmatch(name):
        raise PublishError(
            f"{name!r} is no name for a published run; expected DATE-HARDWARE-DRIVER in lower"
            " case, such as 2026-11-25-h100-nvidia-0.4.1"
        )
    place = into / name
    if place.exists():
        raise PublishError(f"{place}: there is a run of this name; remove it, or take another name")
    path = results.path_of(run)
    results.read(path)  # what is no run is refused before anything is scrubbed
    content = json.loads(path.read_text(encoding="utf-8"))
    identity = Identity.of(content)
    scrubbed = _each_text(content, identity.scrubbed)
    scrubbed["place"] = re.sub(r"context [^,;)]+\)", f"context {_CONTEXT})", scrubbed["place"])
    scrubbed["run"]["host"] = _HOST
    for result in scrubbed["results"]:
        result["reproduction"] = ""  # its files are of this cluster, and stay where they are
    record, facts = results.parse(scrubbed, Path())
    with tempfile.TemporaryDirectory(dir=into, prefix=".publish-") as made:
        folder.write(record, replace(facts, junit=Path(junit.NAME)), Path(made) / name)
        for file in sorted((Path(made) / name).iterdir()):
            if left := identity.left_in(file.read_text(encoding="utf-8")):
                raise PublishError(f"{file.name} would still identify the machine: {left[0]}")
        os.rename(Path(made) / name, place)
    page = into / PAGE
    folder.write_whole(page, with_index(page.read_text(encoding="utf-8"), into))
    return place


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text in a JSON document, names included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    if isinstance(value, dict):
        return {change(name): _each_text(item, change) for name, item in value.items()}
    return value


# The page


def with_index(page: str, into: Path) -> str:
    """Write the table of the published runs into the page.

    Raises:
        PublishError: the page has no place for it.
        ResultsError: what lies there is no run.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PublishError(f"{into / PAGE}: expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n\n{index(into)}\n{end}{after}"


def index(into: Path) -> str:
    """Make the table of all published runs, the newest first."""
    runs = sorted((path for path in into.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
    if not runs:
        return "None yet.\n"
    rows = list(map(_index_row, runs))
    head = f"| {' | '.join(rows[0])} |\n" + "|---" * len(rows[0]) + "|\n"
    return head + "".join(f"| {' | '.join(row.values())} |\n" for row in rows)


def _index_row(path: Path) -> dict[str, str]:
    """Make the cells of a run, by column."""
    record, facts = results.read(path)
    known = dict(html.highlights(record, facts))
    of_driver, others = record.by_subject()
    cells = {
        "hardware": facts.hardware,
        "GPUs": known.get("GPUs", "-"),
        "driver": known.get("image", facts.driver).rsplit("/", 1)[-1] or "-",
        "GPU driver": known.get("GPU driver", "-"),
        "Kubernetes": facts.kubernetes or "-",
        "verdict": record.verdict().value,
        "cases that judge the driver": counts(of_driver),
        "cases that judge CUDA and this suite": counts(others),
    }
    texts = {name: in_markdown(cell) for name, cell in cells.items()}
    return {"run": f"[{path.name}]({path.name}/report.html)", **texts}
