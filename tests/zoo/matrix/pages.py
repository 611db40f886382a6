"""The pages of the matrix: JSON for programs, Markdown for a forge, HTML for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from reports.html import TEMPLATES
from suites.__main__ import checks
from tests.zoo.matrix.rows import Made

JSON, MARKDOWN, HTML = "matrix.json", "README.md", "matrix.html"
SCHEMA = "dra-conformance/matrix/v1"
Record = Mapping[str, Any]


def is_fault(record: Record) -> bool:
    """Whether something was wrong that has to be noticed."""
    return record["made"] != Made.NOTHING and bool(record["declared"])


def is_killed(record: Record) -> bool:
    """Whether a check noticed the fault that had to, and the driver was not blamed for others'."""
    blamed = {one["blame"] for one in record["red"] + record["undeclared"]}
    return bool(record["red"]) and not (record["made"] == Made.OTHERS and "driver" in blamed)


def state(record: Record) -> str:
    """How it ended, in a few words."""
    if not record["tried"]:
        return "not tried"
    right = "" if record["as_declared"] else ", not as declared"
    if is_fault(record):
        return ("killed" if is_killed(record) else "survived") + right
    return ("false alarm" if record["undeclared"] else "quiet") + right


@dataclass(frozen=True)
class Summary:
    """What stands at the top."""

    faults: int
    killed: int
    survived: tuple[str, ...]
    places: tuple[tuple[str, int, int], ...]
    """Where faults were made, how many, and how many of them were killed."""
    checks: int
    """How many judge the driver, also on simulated GPUs."""
    unkilled: tuple[str, ...]
    """Those of them that no fault turned red."""
    hardware_only: tuple[str, ...]
    """Those that judge it on real GPUs only: no fault here can turn them red."""
    quiet: int
    """How many runs had nothing to find."""
    alarms: tuple[str, ...]
    """What was found in them all the same."""
    looked: int | None
    """Up to this level every check looked at some faults; None if at no fault."""
    alone: tuple[int, int]
    """At how many faults, and how many of them turned red what they have to and nothing else."""
    wrong: int
    """How many rows are not as declared."""
    minutes: float
    """How long all rows took, one after the other."""
    commits: tuple[tuple[str, int], ...]
    """Of what was tried, with the number of rows."""

    @property
    def score(self) -> str:
        """The share of faults that were killed, in percent; never rounded up to 100."""
        return f"{int(1000 * self.killed / self.faults) / 10:g}" if self.faults else "-"


def summary(records: Sequence[Record]) -> Summary:
    """Sum records of rows up that were tried."""
    of_driver = [check for check in checks() if check.judges_driver]
    judged = [check.id for check in of_driver if not check.hardware_only]
    faults = [one for one in records if is_fault(one)]
    killed = [one for one in faults if is_killed(one)]
    killers = {found["check"] for one in killed for found in one["red"]}
    quiet = [one for one in records if not is_fault(one)]
    looked = [one for one in faults if one["every_check"] is not None]
    every, dead = (Counter(one["made"] for one in some) for some in (faults, killed))
    return Summary(
        faults=len(faults),
        killed=len(killed),
        survived=tuple(one["fault"] for one in faults if one not in killed),
        places=tuple((made, every[made], dead[made]) for made in Made if every[made]),
        checks=len(judged),
        unkilled=tuple(check for check in judged if check not in killers),
        hardware_only=tuple(check.id for check in of_driver if check.hardware_only),
        quiet=len(quiet),
        alarms=tuple(
            f"{found['check']} with {driver(one)} on Kubernetes {one['kubernetes']}"
            for one in quiet
            for found in one["undeclared"]
        ),
        looked=min((one["every_check"] for one in looked), default=None),
        alone=(len(looked), sum(not one["undeclared"] for one in looked)),
        wrong=sum(not one["as_declared"] for one in records),
        minutes=sum({_test(one): one["seconds"] for one in records}.values()) / 60,
        commits=tuple(Counter(one["commit"] for one in records).most_common()),
    )


def _test(record: Record) -> tuple[str, str, str]:
    return record["row"], driver(record), record["kubernetes"]


def driver(record: Record) -> str:
    """Name and version."""
    return " ".join(filter(None, (record["driver"], record["version"])))


def write(folder: Path, records: Sequence[Record], rows: Collection[str]) -> None:
    """Write the pages.

    Args:
        folder: where.
        records: the last of each row.
        rows: the names of all rows that there are.
    """
    order = list(Made)
    records = sorted(
        records, key=lambda one: (order.index(Made(one["made"])), _test(one), one["fault"])
    )
    tried = [one for one in records if one["tried"]]
    found = summary(tried)
    parts = {
        "summary": found,
        "faults": [one for one in tried if is_fault(one)],
        "quiet": [one for one in tried if not is_fault(one)],
        "state": state,
        "driver": driver,
        "rows": len(rows),
        "rows_tried": len({one["row"] for one in tried}),
        "first": _first,
    }
    document = {
        "schema": SCHEMA,
        "score": found.killed / found.faults if found.faults else None,
        **{name: getattr(found, name) for name in ("faults", "killed", "survived")},
        "checks": found.checks,
        "checks_not_killed": found.unkilled,
        "checks_hardware_only": found.hardware_only,
        "false_alarms": found.alarms,
        "rows_not_tried": sorted({*rows} - {one["row"] for one in tried}),
        "rows": records,
    }
    (folder / JSON).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name, escaped in ((MARKDOWN, False), (HTML, True)):
        (folder / name).write_text(
            _templates(escaped).get_template(f"{name}.j2").render(parts), encoding="utf-8"
        )


def _first(record: Record) -> Mapping[str, str]:
    """The first of what was red: where the fault was looked for, and else where it was not."""
    nothing = {"check": "", "blame": "", "headline": "", "outcome": ""}
    found: Mapping[str, str] = next(iter([*record["red"], *record["undeclared"]]), nothing)
    return found


def _templates(escaped: bool) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, TEMPLATES]),
        autoescape=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return made
