"""What must be there: a skip or a smaller cluster is then no pass, but a failure.

A file says it (``--dra-expect``), and today's can be written down (``--dra-expect-write``). It also
carries known issues: a check that is allowed to fail until a day, and that must still fail.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.features import State, gates
from harness.cluster.inventory import Device
from harness.cluster.yaml_file import Field, YamlFileError, items_of, read
from harness.verdict.finding import Blame, Finding, SkipKind, UnmetError, counted
from harness.verdict.outcome import EXPECTATIONS_AREA, Outcome, Record, Result

SCHEMA = "dra-conformance/expect/v1"
NEXT = "correct the cluster, or write a new file of what is expected: --dra-expect-write=FILE"


class ExpectationsError(Exception):
    """A file of expectations cannot be used; ``str()`` names file, line and cause."""


@dataclass(frozen=True)
class KnownIssue:
    """A check that may fail until a day."""

    check: str
    form: str | None
    """None: in every form."""
    url: str
    until: dt.date
    """The last day on which it may."""
    outcome: Outcome

    @property
    def name(self) -> str:
        """As reports spell it."""
        return self.check + (f"[{self.form}]" if self.form else "")

    def is_about(self, result: Result) -> bool:
        """Whether it names this result's check and form, whatever the outcome."""
        return result.id == self.check and self.form in (None, result.variant)

    def accepts(self, result: Result, today: dt.date) -> bool:
        """Whether this result is accepted today."""
        return self.is_about(result) and result.outcome is self.outcome and today <= self.until


@dataclass(frozen=True)
class Expectations:
    """What must be there; what is None is not judged."""

    path: Path
    kubernetes: str | None = None
    """How its version begins, as ``v1.37``."""
    driver: str | None = None
    driver_version: str | None = None
    """Of the GPUs' own driver, as the devices tell it."""
    nodes: Mapping[str, Mapping[str, int]] | None = None
    """How many GPUs of which product each node has."""
    partitions: int | None = None
    """How many parts of GPUs (MIG) there are in all."""
    features: tuple[str, ...] = ()
    """Feature gates that must be on; none: not judged."""
    known: tuple[KnownIssue, ...] = ()

    def __str__(self) -> str:
        return str(self.path)

    def judge(self, found: Inventory) -> Iterator[Result]:
        """Yield a case for everything that the file expects."""
        sentence = f"The cluster MUST be as {self} says."
        for case_id, name, wanted, find in (
            ("EXP-001", "kubernetes_is_as_expected", self.kubernetes, _kubernetes),
            ("EXP-002", "driver_is_as_expected", self.driver, _driver),
            ("EXP-003", "gpus_driver_is_as_expected", self.driver_version, _driver_version),
            ("EXP-004", "gpus_are_as_expected", self.nodes, _gpus),
            ("EXP-005", "partitions_are_as_expected", self.partitions, _partitions),
            ("EXP-006", "features_are_on_as_expected", self.features or None, _features),
        ):
            if wanted is not None:
                yield _result(case_id, name, sentence, find(self, found))

    def accept_known(self, result: Result, today: dt.date) -> Result:
        """Turn a result that a known issue accepts into a skip that keeps its finding."""
        for issue in self.known:
            if issue.accepts(result, today):
                reason = f"known issue until {issue.until} ({issue.url}): {result.headline}"
                return result.skipped(UnmetError(reason, SkipKind.KNOWN_ISSUE))
            if issue.is_about(result) and result.outcome is issue.outcome and result.finding:
                late = f"known issue {issue.url}, accepted until {issue.until} only"
                likely = "; ".join(filter(None, (result.finding.likely, late)))
                return replace(result, finding=replace(result.finding, likely=likely))
        return result

    def judge_known(self, record: Record) -> Iterator[Result]:
        """Yield a case for each known issue that this run can judge: red if its check passes."""
        for issue in self.known:
            about = [result for result in record.results if issue.is_about(result)]
            there = any(result.skip is SkipKind.KNOWN_ISSUE or result.red for result in about)
            passed = any(result.outcome is Outcome.PASS for result in about)
            if not there and not passed:
                continue  # not selected, or blocked: the check's own skip says so
            finding = None
            if not there:
                finding = Finding(
                    f"{issue.name} passes, though {issue.url} is a known issue of it",
                    "the check fails as the known issue says",
                    "it passes",
                    Blame.CLUSTER,
                    likely="the issue is solved",
                    next=f"remove {issue.name} from the known issues",
                )
            form = issue.check + (f"-{issue.form}" if issue.form else "")
            name = f"known_issue_is_still_there[{form}]"
            sentence = "A check with a known issue MUST still fail, or its entry MUST be removed."
            yield _result("EXP-007", name, sentence, finding, form)


@dataclass(frozen=True)
class Inventory:
    """What is there, as preflight found it."""

    kubernetes: str
    driver: str
    devices: tuple[Device, ...]
    driver_versions: tuple[str, ...]
    """Of the GPUs' own driver; several where nodes differ, none where the driver tells none."""
    partitions: int
    features: Mapping[str, State]

    def nodes(self) -> dict[str, dict[str, int]]:
        """How many GPUs of which product each node has."""
        found: dict[str, Counter[str]] = {}
        for device in self.devices:
            found.setdefault(device.node, Counter())[device.product or "unknown"] += 1
        return {node: dict(sorted(products.items())) for node, products in sorted(found.items())}

    def written(self, known: Iterable[KnownIssue] = ()) -> str:
        """Write a file that expects what is there now, with the known issues of an older file."""
        driver = {"name": self.driver}
        if len(self.driver_versions) == 1:
            driver["version"] = self.driver_versions[0]
        document: dict[str, Any] = {
            "schema": SCHEMA,
            # Not the patch release: that is for somebody to narrow down who means it.
            "kubernetes": ".".join(self.kubernetes.split(".")[:2]),
            "driver": driver,
            "nodes": self.nodes(),
            "partitions": self.partitions,
            "features": [name for name, state in self.features.items() if state is State.ON],
            "known": [
                {
                    "check": issue.name,
                    "url": issue.url,
                    "until": issue.until,
                    "outcome": issue.outcome.value,
                }
                for issue in known
            ],
        }
        head = "# What is expected of the cluster. Remove what may change; see docs/running.md.\n"
        return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


# Files


def load(path: Path) -> Expectations:
    """Read a file of expectations.

    Raises:
        ExpectationsError: it cannot be read, or says something that cannot be expected.
    """
    try:
        return read("expectations", path, lambda field: _expectations(path, field))
    except YamlFileError as error:
        raise ExpectationsError(str(error)) from error


def _expectations(path: Path, document: Field) -> Expectations:
    fields = document.table(
        ("schema",), ("kubernetes", "driver", "nodes", "partitions", "features", "known")
    )
    if fields["schema"].text() != SCHEMA:
        fields["schema"].wrong(f"schema is not {SCHEMA}")
    driver = fields["driver"].table((), ("name", "version")) if "driver" in fields else {}
    nodes: dict[str, dict[str, int]] | None = None
    if "nodes" in fields:
        nodes = {
            node: {product: count.count() for product, count in products.mapping().items()}
            for node, products in fields["nodes"].mapping().items()
        }
    return Expectations(
        path=path,
        kubernetes=fields["kubernetes"].text() if "kubernetes" in fields else None,
        driver=driver["name"].text() if "name" in driver else None,
        driver_version=driver["version"].text() if "version" in driver else None,
        nodes=nodes,
        partitions=fields["partitions"].count() if "partitions" in fields else None,
        features=tuple(item.one_of(gates()) for item in items_of(fields, "features")),
        known=tuple(map(_known, items_of(fields, "known"))),
    )


def _known(item: Field) -> KnownIssue:
    fields = item.table(("check", "url", "until"), ("outcome",))
    check, _, form = fields["check"].text().partition("[")
    if form and not form.endswith("]"):
        fields["check"].wrong("expected an ID, or an ID and a form such as ISO-003[restricted]")
    outcome = fields["outcome"].one_of(("fail", "error")) if "outcome" in fields else "fail"
    return KnownIssue(
        check=check,
        form=form.removesuffix("]") or None,
        url=fields["url"].text(),
        until=fields["until"].date(),
        outcome=Outcome(outcome),
    )


# Judging what is there


def _kubernetes(expected: Expectations, found: Inventory) -> Finding | None:
    wanted = expected.kubernetes or ""
    if f"{found.kubernetes}.".startswith(f"{wanted}."):
        return None
    head = f"Kubernetes is {found.kubernetes or 'of unknown version'}, not {wanted}"
    return _missing(head, wanted, found.kubernetes)


def _driver(expected: Expectations, found: Inventory) -> Finding | None:
    if expected.driver == found.driver:
        return None
    head = f"the driver is {found.driver}, not {expected.driver}"
    return _missing(head, str(expected.driver), found.driver)


def _driver_version(expected: Expectations, found: Inventory) -> Finding | None:
    if found.driver_versions == (expected.driver_version,):
        return None
    shown = ", ".join(found.driver_versions) or "not published"
    head = f"the version of the GPUs' driver is {shown}, not {expected.driver_version}"
    return _missing(head, str(expected.driver_version), shown)


def _gpus(expected: Expectations, found: Inventory) -> Finding | None:
    """Fewer or others are a finding; more, too: a file that says less than there is, is old."""
    there, wanted = found.nodes(), expected.nodes or {}
    wrong = [
        f"{node} has {_products(there.get(node, {}))}, not {_products(wanted.get(node, {}))}"
        for node in sorted({*there, *wanted})
        if there.get(node, {}) != wanted.get(node, {})
    ]
    if not wrong:
        return None
    more = f"; {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return _missing(wrong[0] + more, json.dumps(wanted), json.dumps(there))


def _partitions(expected: Expectations, found: Inventory) -> Finding | None:
    if expected.partitions == found.partitions:
        return None
    head = f"there are {counted(found.partitions, 'partition')} (MIG), not {expected.partitions}"
    return _missing(head, str(expected.partitions), str(found.partitions))


def _features(expected: Expectations, found: Inventory) -> Finding | None:
    states = {name: found.features.get(name, State.UNKNOWN) for name in expected.features}
    wrong = [f"{name} is {state.value}" for name, state in states.items() if state is not State.ON]
    if not wrong:
        return None
    head = f"not every expected feature is on: {', '.join(wrong)}"
    return _missing(head, ", ".join(expected.features), ", ".join(wrong))


def _products(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {product}" for product, number in counts.items()) or "no GPUs"


def _missing(head: str, expected: str, observed: str) -> Finding:
    return Finding(head, expected, observed or "nothing", Blame.CLUSTER, next=NEXT)


def _result(
    case_id: str, name: str, sentence: str, finding: Finding | None, variant: str | None = None
) -> Result:
    passed = Result.passed(case_id, name, EXPECTATIONS_AREA, sentence)
    result = replace(passed, variant=variant, judges_driver=False)
    return result if finding is None else result.ended(Outcome.FAIL, finding)
