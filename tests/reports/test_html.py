"""The page as a browser takes it: whole, alone, and deaf to what containers say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.options import Given
from harness.verdict.finding import Blame, Finding, headline
from harness.verdict.outcome import HYGIENE_AREA, PREFLIGHT_AREA, Outcome, Record, Result
from harness.verdict.table import Table
from reports import html
from tests.reports import samples

HOSTILE = (
    "<script>alert(1)</script><img src=http://x/ onerror=y>\"'&amp;{{ 7*7 }}"
    "\x1b[31m\x00\ud800\u202e\u200b"
)
VOID = ("meta", "link", "input")


class Page(HTMLParser):
    """Elements and text of a page; raises when an element is not closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must be the innermost one's."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text that is shown."""
        if self._open and self._open[-1] != "style":
            self.text += data

    def classes(self, tag: str, name: str) -> list[dict[str, str | None]]:
        """The elements of a class."""
        return [a for t, a in self.elements if t == tag and name in str(a.get("class")).split()]


def page(record: Record, tmp_path: Path, **facts: object) -> Page:
    """The page of a run."""
    return Page(html.render(record, replace(samples.facts(tmp_path), **facts)))  # type: ignore[arg-type]


def explained(name: str, outcome: Outcome, finding: Finding, **more: object) -> Result:
    """A result as the suite makes it."""
    return samples.result(
        name,
        outcome,
        finding=finding,
        headline=headline(name[:7], None, finding),
        **more,
    )


def test_the_first_thing_said_is_the_place(tmp_path: Path) -> None:
    """Then the verdict, then the counts."""
    shown = " ".join(page(samples.record(), tmp_path).text.split())
    words = [
        *("embedded cluster; SIMULATED GPUs", "nonconformant", "The driver broke the contract."),
        *("1 failed", "1 inconclusive", "2 passed", "1 skipped", "3 checks judged the driver"),
        *("Findings", "All checks"),
    ]
    at = [shown.index(word, shown.index("simulated GPUs")) for word in words]
    assert at == sorted(at)


def test_findings_are_told_as_in_the_terminal(tmp_path: Path) -> None:
    """Failures first; every row of the text; evidence folded, but there."""
    finding = Finding(
        "the driver is wrong",
        "two\nlines",
        "one",
        Blame.DRIVER,
        likely="a known cause",
        next="kubectl get pods",
        steps=("0.1 s  claimed", "0.2 s  started"),
        driver_log=("E1 failed",),
    )
    record = samples.record()
    record.add(explained("ISO-006_f", Outcome.FAIL, finding))
    shown = page(record, tmp_path)
    kinds = [str(a["class"]).split()[-1] for a in shown.classes("details", "finding")]
    assert kinds == ["fail", "fail", "error", "advice"]
    for title, text in record.results[-1].rows:
        assert title in shown.text
        assert text in shown.text
    assert len(shown.classes("details", "evidence")) == 2


def test_a_finding_leads_to_its_reproduction(tmp_path: Path) -> None:
    """Only ever to a file beside the page."""
    record = Record()
    for name, place in (("ISO-006_f", "reproduce/ISO-006"), ("ISO-007_g", "javascript:alert(1)//")):
        record.add(explained(name, Outcome.FAIL, samples.FINDING, reproduction=place))
    links = [
        attributes.get("href") for tag, attributes in page(record, tmp_path).elements if tag == "a"
    ]
    assert "./reproduce/ISO-006/commands.sh" in links
    assert all(str(link).startswith(("#", "./")) for link in links)


def test_one_cause_is_told_at_length_once(tmp_path: Path) -> None:
    """The other forms of the check have their first line."""
    record = Record()
    for form in ("a", "b", "c"):
        record.add(explained(f"ISO-006_f[{form}]", Outcome.FAIL, samples.FINDING, variant=form))
    findings = page(record, tmp_path).classes("details", "finding")
    assert ["open" in finding for finding in findings] == [True, False, False]


def test_what_a_run_changed_and_put_back_is_told(tmp_path: Path) -> None:
    """By the audit that says so."""
    told = "changed, and as it was before: pod/a in b deleted"
    made = samples.result("HYGIENE-002_c", Outcome.PASS, headline=told)
    record = Record([replace(made, area=HYGIENE_AREA)])
    assert told in page(record, tmp_path).text


def test_the_page_needs_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """Whatever containers say: no script, no handler, no address outside, no broken markup."""
    finding = Finding(HOSTILE, HOSTILE, HOSTILE, Blame.DRIVER, HOSTILE, HOSTILE, (HOSTILE,))
    record = Record(narrowed=HOSTILE, leftovers=[HOSTILE])
    record.add(
        replace(
            explained("ISO-006_f", Outcome.FAIL, finding),
            area=HOSTILE,
            sentence=HOSTILE,
            variant=HOSTILE,
        )
    )
    record.add(samples.result("ISO-007_g", Outcome.SKIP, headline=HOSTILE))
    record.add_table(Table("x", HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE, HOSTILE))
    record.environment.update(
        nodes=[{HOSTILE: HOSTILE}], other={HOSTILE: [HOSTILE, {HOSTILE: None}]}
    )
    given = dict.fromkeys(("cluster", "driver", "kubernetes", "host", "hardware"), HOSTILE)
    shown = page(record, tmp_path, options=(Given(HOSTILE, HOSTILE, HOSTILE),), **given)
    assert {tag for tag, _ in shown.elements}.isdisjoint({"script", "img", "iframe", "object"})
    for tag, attributes in shown.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert str(attributes.get(name) or "#").startswith(("#", "data:,")), tag
    assert "{{ 7*7 }}" in shown.text
    assert shown.text.replace("\n", "").isprintable()
    assert r"\u001b[31m\u0000\ud800\u202e\u200b" in shown.text


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    """Within the page, to one place each."""
    record = samples.record()
    record.add_table(Table("pids", "PIDs", ("PIDs",), (("1/1",),)))
    elements = page(record, tmp_path).elements
    ids = Counter(attributes["id"] for _, attributes in elements if "id" in attributes)
    links = [str(attributes["href"])[1:] for tag, attributes in elements if tag == "a"]
    assert max(ids.values()) == 1
    assert links
    assert not set(links) - ids.keys()


def test_a_skip_that_has_a_finding_is_told_and_linked(tmp_path: Path) -> None:
    """A known issue, for one: not red, but with all that was found."""
    record = Record()
    record.add(explained("ISO-006_f", Outcome.SKIP, samples.FINDING))
    shown = page(record, tmp_path)
    assert len(shown.classes("details", "finding")) == 1
    told = [
        attributes["id"] for tag, attributes in shown.elements if tag == "dl" and "id" in attributes
    ]
    assert ("a", {"href": f"#{told[0]}"}) in shown.elements


def test_every_result_is_on_the_page(tmp_path: Path) -> None:
    """With why it was skipped."""
    record = samples.record()
    shown = page(record, tmp_path)
    titles = [str(attributes["title"]) for attributes in shown.classes("li", "case")]
    assert [title.rpartition(", ")[0] for title in titles] == [one.case for one in record.results]
    assert shown.text.count("ISO-004_d is so") == 2  # at its check, and among the reasons


def test_a_failed_preflight_says_so(tmp_path: Path) -> None:
    """And does not complain that nothing was found out."""
    record = Record()
    record.add(
        replace(explained("PF-03_driver", Outcome.FAIL, samples.FINDING), area=PREFLIGHT_AREA)
    )
    record.add(samples.result("ISO-001_a", Outcome.SKIP, headline="not run: preflight: PF-03"))
    shown = page(record, tmp_path, cluster="no cluster", kubernetes="", driver="", hardware="none")
    assert "Preflight failed, and the driver is at fault: no check was made." in shown.text
    assert "gave a result" not in shown.text


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    """Ended before anything was known."""
    shown = page(Record(interrupted="the run was ended by SIGTERM"), tmp_path)
    assert "ended by SIGTERM" in shown.text
    assert "No check was made." in shown.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (2871.4, "2,871"),
        (0.99341, "0.9934"),
        (201, "201"),
    ],
)
def test_cells_are_for_people(value: object, text: str) -> None:
    """Numbers with as many digits as mean something."""
    assert html._cell(value) == text


def test_tables_and_environment_are_shown(tmp_path: Path) -> None:
    """Whatever is in them."""
    record = samples.record()
    record.add_table(
        Table("pids", "Own PIDs", ("PIDs", "code"), (("1 / 1", 201),), "They must differ.", "Once.")
    )
    record.environment.update(
        gpus=[
            {
                "uuid": "GPU-1",
                "product": "H100",
                "attributes": {"gpu.nvidia.com/driverVersion": "580.1.2"},
            }
        ],
        driver_containers=[{"image": "x/driver:v1"}],
        workloads={"CUDA": {"driver_version": 13000}},
    )
    shown = page(record, tmp_path)
    for text in ("Own PIDs", "1 / 1", "201", "They must differ.", "Once.", "13000", "x/driver:v1"):
        assert text in shown.text
    assert shown.text.count("580.1.2") == 2  # at the top, and at its GPU
