"""The JUnit file as dashboards read it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.verdict.finding import Blame, Finding
from harness.verdict.outcome import PREFLIGHT_AREA, Outcome, Record, Result
from harness.verdict.table import Table
from reports import junit, results, summary
from reports.junit import JUnitError
from tests.reports import samples
from tests.reports.samples import facts, result


@pytest.fixture
def record() -> Record:
    """One result of each kind."""
    return samples.record()


def written(record: Record, folder: Path) -> ET.Element:
    """The file's content, read back."""
    return ET.fromstring(junit.render(record, facts(folder)))


def test_every_outcome_is_what_it_says(record: Record, tmp_path: Path) -> None:
    """One case a result; a failure is no error is no skip."""
    root = written(record, tmp_path)
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "ISO-001_a[x]": [],
        "ISO-002_b[x]": ["failure", "system-out"],
        "ISO-003_c": ["error", "system-out", "system-err"],
        "ISO-004_d": ["skipped"],
        "ISO-005_e": ["system-out"],
    }
    assert {case.get("classname") for case in cases.values()} == {"dra.sharing"}
    assert all(case.get("time") for case in cases.values())
    suite = root.find("testsuite")
    assert suite is not None
    assert [suite.get(n) for n in ("name", "tests", "failures", "errors", "skipped")] == [
        *("dra-conformance", "5", "1", "1", "1")
    ]


def test_texts_are_where_every_dashboard_looks(record: Record, tmp_path: Path) -> None:
    """Message and content of a failure, system-err of an error, content of a skip."""
    root = written(record, tmp_path)
    failure, error, skip = root.find(".//failure"), root.find(".//error"), root.find(".//skipped")
    assert failure is not None
    assert error is not None
    assert skip is not None
    assert failure.get("message") == "ISO-002_b[x] is so"
    assert (failure.text or "").splitlines() == [
        *("ISO-002_b[x] is so", "  check       ", "  expected    2", "  observed    1"),
        *("  responsible driver", "  rerun       the same command again"),
    ]
    assert (failure.get("type"), error.get("type")) == ("driver", "cluster")
    assert root.findtext(".//system-err") == error.text
    assert (skip.get("message"), skip.text) == ("ISO-004_d is so", "ISO-004_d is so")


def test_what_a_run_changed_and_put_back_is_told(tmp_path: Path) -> None:
    """The audit passes, and names it all the same."""
    record, told = Record(), "changed, and as it was before: pod/a in b deleted"
    record.add(samples.result("HYGIENE-002_c", Outcome.PASS, headline=told))
    case = written(record, tmp_path).find(".//testcase")
    assert case is not None
    assert [(child.tag, child.text) for child in case] == [("system-out", told)]


def test_the_runs_properties_are_at_the_suite(record: Record, tmp_path: Path) -> None:
    """With the verdict, and which place it was."""
    root = written(record, tmp_path)
    properties = {p.get("name"): p.get("value") for p in root.findall("./testsuite/properties/*")}
    assert properties["verdict"] == "nonconformant"
    assert properties["place"] == "embedded cluster; SIMULATED GPUs"
    assert root.findtext("./testsuite/system-out") == "embedded cluster; SIMULATED GPUs"


def test_what_containers_log_does_not_break_the_file(tmp_path: Path) -> None:
    """Colours, control characters, markup."""
    made = Record()
    made.add(result("ISO-002_b", Outcome.FAIL, headline="\x1b[31mred\x1b[0m \x00<&>\ud800"))
    root = written(made, tmp_path)
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == r"\u001b[31mred\u001b[0m \u0000<&>\ud800"


@pytest.mark.parametrize("name", ["ISO-001", "ISO-001_a b", "ISO-001_a.b", "ISO-001_a[x/y]", "x_y"])
def test_names_that_some_dashboard_would_spoil_are_refused(name: str, tmp_path: Path) -> None:
    """Names are public API."""
    made = Record()
    made.add(result(name, Outcome.PASS))
    with pytest.raises(JUnitError, match="not a name"):
        written(made, tmp_path)


def test_a_file_that_says_something_else_is_noticed(record: Record, tmp_path: Path) -> None:
    """It is read back as a dashboard does."""
    text = junit.render(record, facts(tmp_path))
    for broken in (text.replace("failure", "skipped"), text[:-20], text.replace("ISO-004_d", "X")):
        with pytest.raises(JUnitError):
            junit._verify(broken, record)


def test_results_and_summary_tell_the_same(record: Record, tmp_path: Path) -> None:
    """All come from one record."""
    record.leftovers.append("pod/x in y")
    record.add_table(Table("pids", "Own PIDs", ("PIDs",), (("1/1",),), "They must differ."))
    document = json.loads(results.dumped(results.document(record, facts(tmp_path))))
    assert document["schema"] == "dra-conformance/results/v1"
    assert document["verdict"] == "nonconformant"
    assert document["counts"] == {"pass": 2, "fail": 1, "error": 1, "skip": 1}
    assert document["results"][1]["finding"]["blame"] == "driver"
    assert document["tables"][0]["rows"] == [["1/1"]]
    text = "\n".join(summary.lines(record, facts(tmp_path)))
    counts = "1 case failed, 1 inconclusive, 2 passed, 1 skipped"
    assert f"VERDICT  nonconformant: 3 checks judged the driver: {counts} in 12.5 s" in text
    assert " FAIL    ISO-002_b[x] is so (responsible: driver)" in text
    assert " TABLE   Own PIDs: They must differ." in text
    assert " LEFT    pod/x in y" in text
    assert not list(tmp_path.glob(".*"))


def test_a_message_that_was_cut_is_told_in_full(tmp_path: Path) -> None:
    """With what to do; of advice, which is not among the findings, below its line."""
    head = "the cluster does not admit a pod: " + "a policy of the team says no; " * 6 + "exempt it"
    step = Result(
        case="PF-10_admission",
        id="PF-10",
        area=PREFLIGHT_AREA,
        outcome=Outcome.PASS,
        sentence="The run's namespaces MUST admit pods.",
    )
    finding = Finding(head, "admitted", head, Blame.CLUSTER, next="exempt the run's namespaces")
    text = "\n".join(summary.findings(Record([step.ended(Outcome.ERROR, finding)])))
    assert f"  in full     {head}\n" in text
    assert "  next        exempt the run's namespaces\n" in text
    advice = Record([step.ended(Outcome.PASS, finding)])
    assert list(summary.findings(advice)) == []
    text = "\n".join(summary.lines(advice, facts(tmp_path)))
    assert f"         {head}\n NEXT    exempt the run's namespaces" in text


# What Jenkins' junit-10.xsd and the older JUnit.xsd both take: what may stand where, in which
# order, and which attributes it has; those that must be there are marked. "file" and "line", which
# GitLab and GitHub's actions show, are in neither.
SCHEMA = {
    "testsuites": ((("testsuite",),), "tests failures errors time"),
    "testsuite": (
        (("properties",), ("testcase",), ("system-out",), ("system-err",)),
        "name! tests! failures! errors! skipped time timestamp hostname",
    ),
    "properties": ((("property",),), ""),
    "property": ((), "name! value!"),
    "testcase": (
        (("skipped", "error", "failure"), ("system-out",), ("system-err",)),
        "name! classname! time file line",
    ),
    "failure": ((), "message type"),
    "error": ((), "message type"),
    "skipped": ((), "message type"),
    "system-out": ((), ""),
    "system-err": ((), ""),
}
REPEATED = ("testsuite", "testcase", "property")


def breaches(element: ET.Element) -> list[str]:
    """Where an element and those in it are not as the schema has them."""
    groups, attributes = SCHEMA[element.tag]
    names = attributes.replace("!", "").split()
    required = [name[:-1] for name in attributes.split() if name.endswith("!")]
    found = [f"{element.tag}: attribute {name}" for name in element.attrib if name not in names]
    found += [f"{element.tag}: no {name}" for name in required if element.get(name) is None]
    at = [n for child in element for n, group in enumerate(groups) if child.tag in group]
    if len(at) != len(element) or at != sorted(at):
        found.append(f"{element.tag}: holds {[child.tag for child in element]}")
    once = [child.tag for child in element if child.tag not in REPEATED]
    if len(set(once)) != len(once):
        found.append(f"{element.tag}: holds {once}")
    for child in element:
        found += breaches(child)
    return found


def test_the_file_is_as_the_schema_has_it(record: Record, tmp_path: Path) -> None:
    """Elements, their order, their attributes, and sums that are right."""
    root = written(record, tmp_path)
    assert breaches(root) == []
    for suite in [root, *root.iter("testsuite")]:
        for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(suite.get(attribute, "-1")) == len(list(suite.iter(tag)))
    for element in [root, *root.iter("testsuite"), *root.iter("testcase")]:
        digits = 6 if element.tag == "testcase" else 3
        assert re.fullmatch(rf"[0-9]+\.[0-9]{{{digits}}}", element.get("time", ""))
        assert float(element.get("time", "")) > 0


def test_breaches_of_the_schema_are_seen() -> None:
    """Or the test above would prove nothing."""
    text = (
        "<testsuites><testsuite><testcase name='a' classname='b'>"
        "<system-out/><failure reason='x'/></testcase></testsuite></testsuites>"
    )
    assert breaches(ET.fromstring(text)) == [
        *(f"testsuite: no {name}" for name in ("name", "tests", "failures", "errors")),
        "testcase: holds ['system-out', 'failure']",
        "failure: attribute reason",
    ]
