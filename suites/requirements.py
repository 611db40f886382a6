"""What DRA asks, as data: ``requirements.yaml`` beside this file, and the page made from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.checks.check import Check
from harness.cluster.yaml_file import Field, read
from harness.options import DEEPEST_LEVEL
from suites.pages import written

FILE = Path(__file__).with_suffix(".yaml")
PARTIES = (
    "driver",
    "installation",
    "API server",
    "scheduler",
    "controller manager",
    "kubelet",
    "container runtime",
    "CUDA",
    "suite",
)
PLANNED = "planned"
OUT_OF_REACH = "out of reach"


@dataclass(frozen=True)
class Link:
    """Where a requirement comes from."""

    title: str
    url: str
    """An address, or a page of this project as seen from docs/."""


@dataclass(frozen=True)
class Requirement:
    """One thing that has to be so."""

    id: str
    must: str
    """The sentence that says it."""
    who: tuple[str, ...]
    """Who has to see to it; the first of them above all."""
    level: int
    links: tuple[Link, ...]
    also: tuple[str, ...] = ()
    """Steps of preflight and invariants that judge it."""
    unjudged: str = ""
    """What no check judges: planned, or out of reach and why; empty when nothing is left."""

    @property
    def group(self) -> str:
        """The first part of its ID."""
        return self.id.partition("-")[0]


@dataclass(frozen=True)
class Catalogue:
    """All requirements, in the order of the page."""

    groups: Mapping[str, str]
    """Title of each group."""
    requirements: tuple[Requirement, ...]


def load(path: Path = FILE) -> Catalogue:
    """Read the requirements.

    Raises:
        YamlFileError: something in the file is wrong; it names file and line.
    """
    return read("requirements", path, _catalogue)


def sources(check: Check) -> list[str]:
    """Name the requirements that a check judges."""
    return check.source.split(", ")


def problems(catalogue: Catalogue, checks: Iterable[Check]) -> list[str]:
    """Say where requirements and checks do not fit together, a line each."""
    judges = _judges(checks)
    known = {requirement.id for requirement in catalogue.requirements}
    found = [
        f"{check.id}: its source {source!r} is no ID of {FILE.name}"
        for source, those in judges.items()
        if source not in known
        for check in those
    ]
    for requirement in catalogue.requirements:
        judged = [check.id for check in judges.get(requirement.id, ())] + list(requirement.also)
        entry = f"{FILE.name}: {requirement.id}"
        if not judged and not requirement.unjudged:
            found.append(f"{entry}: no check judges it, and `unjudged` does not say why")
        if judged and requirement.unjudged == PLANNED:
            found.append(
                f"{entry}: {', '.join(judged)} judges it: take `unjudged` away, or say what is"
                f" left: `{PLANNED}: …`"
            )
    return found


def page(catalogue: Catalogue, checks: Iterable[Check]) -> str:
    """Write the page for people."""
    judges = _judges(checks)

    def judged_by(requirement: Requirement) -> list[str]:
        those = judges.get(requirement.id, [])
        links = [f"[{one.id}](checks.md#{one.id.lower()}-{one.name})" for one in those]
        return [*links, *requirement.also]

    def counts(requirements: list[Requirement]) -> tuple[int, int, int, int]:
        """How many there are, are judged, are planned, and are out of reach."""
        open_ones = [one for one in requirements if not judged_by(one)]
        planned = sum(one.unjudged.startswith(PLANNED) for one in open_ones)
        every, unjudged = len(requirements), len(open_ones)
        return every, every - unjudged, planned, unjudged - planned

    own = [requirement for requirement in catalogue.requirements if requirement.who[0] == "driver"]
    return written(
        "requirements.md.j2",
        own=own,
        others=[requirement for requirement in catalogue.requirements if requirement not in own],
        groups=catalogue.groups,
        counts=counts,
        judged_by=judged_by,
    )


def _judges(checks: Iterable[Check]) -> dict[str, list[Check]]:
    judges: dict[str, list[Check]] = {}
    for check in sorted(checks, key=lambda check: check.id):
        for source in sources(check):
            judges.setdefault(source, []).append(check)
    return judges


# Reading


def _catalogue(document: Field) -> Catalogue:
    fields = document.table(needed=("documents", "groups", "requirements"))
    documents = {name: field.text() for name, field in fields["documents"].mapping().items()}
    groups = {name: field.text() for name, field in fields["groups"].mapping().items()}
    order = list(groups)
    requirements: list[Requirement] = []
    before = (-1, 0)
    for id_, field in fields["requirements"].mapping().items():
        shape = re.fullmatch(r"([A-Z]+)-([1-9][0-9]*)", id_)
        if shape is None or shape[1] not in groups:
            field.wrong(f"{id_} is no ID: expected one of {', '.join(order)}, a dash, a number")
        place = (order.index(shape[1]), int(shape[2]))
        if place < before:
            field.wrong(f"{id_} stands behind {requirements[-1].id}: sort by group and number")
        before = place
        requirements.append(_requirement(id_, field, documents))
    return Catalogue(groups, tuple(requirements))


def _requirement(id_: str, field: Field, documents: Mapping[str, str]) -> Requirement:
    fields = field.table(needed=("must", "who", "level", "links"), optional=("also", "unjudged"))
    must = fields["must"].text()
    if not must.endswith("."):
        fields["must"].wrong(f"{id_}: expected a sentence that ends with a full stop")
    who = tuple(fields["who"].text().split(", "))
    if strangers := [party for party in who if party not in PARTIES]:
        fields["who"].wrong(f"{id_}: nobody is {strangers[0]}; there are {', '.join(PARTIES)}")
    level = fields["level"].count()
    if level > DEEPEST_LEVEL:
        fields["level"].wrong(f"{id_}: level {level} is not 0 to {DEEPEST_LEVEL}")
    links = tuple(_link(link, documents) for link in fields["links"].items())
    if not links:
        fields["links"].wrong(f"{id_} has no link")
    also = tuple(fields["also"].text().split(", ")) if "also" in fields else ()
    unjudged = fields["unjudged"].text() if "unjudged" in fields else ""
    if unjudged and not re.fullmatch(rf"{PLANNED}(: .+)?|{OUT_OF_REACH}: .+", unjudged):
        fields["unjudged"].wrong(
            f"{id_}: expected `{PLANNED}`, `{PLANNED}: what is left` or `{OUT_OF_REACH}: why`"
        )
    return Requirement(id_, must, who, level, links, also, unjudged)


def _link(field: Field, documents: Mapping[str, str]) -> Link:
    text = field.text()
    name, _, place = text.partition("#")
    if name in documents:
        title = f"{name}: {place.replace('-', ' ')}" if place else name
        return Link(title, documents[name] + (f"#{place}" if place else ""))
    if re.fullmatch(r"[\w.-]+/[\w.-]+#[0-9]+", text):
        return Link(text, f"https://github.com/{name}/issues/{place}")
    if text.startswith("docs/"):
        return Link(name, text.removeprefix("docs/"))
    if not text.startswith("https://"):
        field.wrong(
            f"{text!r} is no link: expected one of `documents`, owner/repository#number,"
            " https://… or docs/…"
        )
    return Link(text.removeprefix("https://"), text)
