"""The run's one JUnit file, made so that no reader of JUnit can misread it.

junit-xml writes a failure without text as a pass and an error's text where some dashboards do not
look; this writer repeats the text in ``system-err``, and reads back what it made before anything is
written.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import partial

import junit_xml

from harness.verdict.outcome import Outcome, Record, Result
from reports.facts import Facts
from reports.words import as_text

NAME = "junit.xml"
SUITE = "dra-conformance"
_NAME = re.compile(r"[A-Z]+-[0-9]+_[A-Za-z0-9_]+(\[[A-Za-z0-9_-]+\])?")


class JUnitError(Exception):
    """The results make no JUnit file that can be trusted; ``str()`` says why."""


def render(record: Record, facts: Facts) -> str:
    """Make the file's content.

    Raises:
        JUnitError: a name that not all show, or the content read back says something else.
    """
    names: set[tuple[str, str]] = set()
    for result in record.results:
        if not _NAME.fullmatch(result.case):
            raise JUnitError(f"{result.case!r} is not a name that all dashboards show")
        names.add((result.area, result.case))
    if len(names) != len(record.results):
        raise JUnitError("two cases have the same name")
    suite = junit_xml.TestSuite(
        SUITE,
        list(map(partial(_case, facts), record.results)),
        hostname=as_text(facts.host),
        timestamp=facts.started.strftime("%Y-%m-%dT%H:%M:%S"),
        properties={key: as_text(value) for key, value in facts.shown(record).items() if value},
        stdout=as_text(facts.cluster),
    )
    written = junit_xml.to_xml_report_string([suite], prettyprint=False, encoding="utf-8")
    text = _tidied(written)
    _verify(text, record)
    return text


def _tidied(text: str) -> str:
    """Correct what junit-xml writes in another way than the schemas of JUnit have it."""
    root = ET.fromstring(text.encode("utf-8"))
    for suite in root.findall("testsuite"):
        for output in suite.findall("system-out"):  # after the cases, says JUnit.xsd
            suite.remove(output)
            suite.append(output)
    for element in root.iter():
        element.attrib.pop("disabled", None)  # always 0, and unknown to Jenkins' junit-10.xsd
        if "time" in element.attrib:
            seconds = float(element.attrib["time"])
            # Never 1e-06. Jenkins' schema has milliseconds for a suite; zero is no time to some.
            of_case = element.tag == "testcase"
            element.set("time", f"{seconds:.6f}" if of_case else f"{max(seconds, 0.001):.3f}")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(facts: Facts, result: Result) -> junit_xml.TestCase:
    case = junit_xml.TestCase(
        name=result.case,
        classname=f"dra.{result.area}",
        # Zero would be left out, and a case without a time counts as not run for some readers.
        elapsed_sec=max(result.seconds, 0.000001),
        file=result.file or None,
        line=result.line,
    )
    head, text = as_text(result.headline), as_text(f"{result.headline}\n{result.body}".strip())
    if result.red:
        case.stdout = as_text(f"The whole run: {facts.folder / 'results.json'}")
    party = result.finding.blame.value if result.finding else None
    if result.outcome is Outcome.FAIL:
        case.add_failure_info(message=head, output=text, failure_type=party or "driver")
    elif result.outcome is Outcome.ERROR:
        case.add_error_info(message=head, output=text, error_type=party or "environment")
        case.stderr = text
    elif result.outcome is Outcome.SKIP:
        case.add_skipped_info(message=head, output=head)
    elif result.advice:
        case.stdout = f"ADVICE {text}"
    elif text:
        case.stdout = text
    return case


def _verify(text: str, record: Record) -> None:
    """Read it as a dashboard does and compare with the results."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise JUnitError(f"the file is not XML: {error}") from error
    cases = root.findall("./testsuite/testcase")
    tags = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.SKIP: "skipped"}
    for result, case in zip(record.results, cases, strict=True):
        found = [tag for tag in tags.values() if case.find(tag) is not None]
        wanted = [tags[result.outcome]] if result.outcome in tags else []
        if case.get("name") != result.case or found != wanted:
            raise JUnitError(f"the file says something else about {result.case}: {found}")
