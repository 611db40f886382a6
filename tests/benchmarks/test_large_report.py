"""The page of a run with thousands of checks can still be mailed."""

from __future__ import annotations

from markupsafe import escape

from benchmarks.large_report import CHECKS, FORMS, run
from reports import html
from tests.reports.samples import MARKUP

MOST_BYTES = 5_000_000


def test_the_page_of_two_thousand_checks_is_below_five_megabytes() -> None:
    """With every finding's evidence and every scenario on the timeline; names are hostile."""
    record, facts = run(CHECKS, MARKUP)
    text = html.render(record, facts)
    assert len(text.encode("utf-8")) < MOST_BYTES
    for one in record.results:
        assert f'title="{escape(one.case)}, {one.seconds:.2f} s"' in text
    findings = [one for one in record.results if one.finding is not None]
    assert text.count('<details class="finding') == len(findings) == CHECKS // 10
    assert text.count('<details class="lane"') == CHECKS // FORMS
