"""The file of requirements: what is refused, with its line, and what does not fit the checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.check import Check, Force
from harness.cluster.yaml_file import YamlFileError
from suites.requirements import Catalogue, load, page, problems

GOOD = """\
documents:
  KEP-4381: https://example.org/4381.md
groups:
  SLICE: What is published
  ISO: Isolation
requirements:
  SLICE-2:
    must: A slice names its node.
    who: driver
    level: 0
    links: [KEP-4381#some-section, owner/repo#7]
    unjudged: planned
  ISO-1:
    must: A pod without a claim sees no GPU.
    who: container runtime, driver
    level: 2
    links: [docs/findings.md#x, "https://example.org/page"]
    also: INV-001
"""
Reader = Callable[[str], Catalogue]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Read a text as the file of requirements."""

    def reader(text: str) -> Catalogue:
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return load(path)

    return reader


def check(id_: str, source: str) -> Check:
    """Make a check with a source."""
    return Check(id_, "test_it", "area", "It MUST.", Force.MUST, 0, source)


def test_links_have_titles_and_addresses(read: Reader) -> None:
    """Of documents with a place in them, issues, pages of this project, and others."""
    slices, isolation = read(GOOD).requirements
    assert [(link.title, link.url) for link in slices.links + isolation.links] == [
        ("KEP-4381: some section", "https://example.org/4381.md#some-section"),
        ("owner/repo#7", "https://github.com/owner/repo/issues/7"),
        ("docs/findings.md", "findings.md#x"),
        ("example.org/page", "https://example.org/page"),
    ]
    assert isolation.who == ("container runtime", "driver")


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        ("    level: 0\n", "    level: 0\n    weight: 3\n", ":11: unknown key weight"),
        ("    who: driver\n", "", ":7: who is missing"),
        ("    who: driver\n", "    who: vendor\n", ":9: SLICE-2: nobody is vendor"),
        ("level: 0", "level: 6", ":10: SLICE-2: level 6 is not 0 to 5"),
        ("its node.", "its node", ":8: SLICE-2: expected a sentence"),
        ("[KEP-4381#some-section, owner/repo#7]", "[]", ":11: SLICE-2 has no link"),
        ("owner/repo#7", "KEP-1#x", ":11: 'KEP-1#x' is no link"),
        ("owner/repo#7", "http://example.org", ":11: 'http://example.org' is no link"),
        ("unjudged: planned", "unjudged: later", ":12: SLICE-2: expected `planned`"),
        ("unjudged: planned", "unjudged: out of reach", ":12: SLICE-2: expected `planned`"),
        ("ISO-1:", "SLICE-2:", ":13: SLICE-2 stands here a second time"),
        ("ISO-1:", "SLICE-1:", ":13: SLICE-1 stands behind SLICE-2"),
        ("ISO-1:", "ISO-001:", ":13: ISO-001 is no ID"),
        ("ISO-1:", "OTHER-1:", ":13: OTHER-1 is no ID: expected one of SLICE, ISO"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    read: Reader, good: str, bad: str, complaint: str
) -> None:
    """The file's name, the line, and what is wrong."""
    assert good in GOOD
    with pytest.raises(YamlFileError) as error:
        read(GOOD.replace(good, bad))
    assert str(error.value).startswith(f"requirements some.yaml{complaint}")


def test_what_does_not_fit_is_told(read: Reader) -> None:
    """A source that is no requirement; a requirement that nothing judges; a stale reason."""
    asked = read(GOOD)
    assert problems(asked, []) == []
    (wrong,) = problems(asked, [check("ISO-001", "ISO-1, KEP-4381")])
    assert wrong == "ISO-001: its source 'KEP-4381' is no ID of requirements.yaml"
    (wrong,) = problems(asked, [check("SLICE-002", "SLICE-2")])
    assert wrong.startswith("requirements.yaml: SLICE-2: SLICE-002 judges it: take `unjudged` away")
    (wrong,) = problems(read(GOOD.replace("    also: INV-001\n", "")), [])
    assert wrong.startswith("requirements.yaml: ISO-1: no check judges it")


def test_part_of_a_requirement_may_be_left(read: Reader) -> None:
    """With a check, and with what is left."""
    asked = read(GOOD.replace("unjudged: planned", "unjudged: 'planned: the rest'"))
    assert problems(asked, [check("SLICE-002", "SLICE-2")]) == []


def test_the_page_tells_drivers_and_others_apart(read: Reader) -> None:
    """By who comes first; with counts, and links to the checks."""
    asked = read(GOOD)
    text = page(asked, [replace(check("ISO-001", "ISO-1"), function="test_no_gpu")])
    own, _, others = text.partition("## Asked of others")
    assert "| a driver | 1 | 0 | 1 | 0 |\n| others | 1 | 1 | 0 | 0 |" in own
    assert "#### SLICE-2\n\nA slice names its node.\n\n* driver; level 0\n" in own
    assert "* judged by [ISO-001](checks.md#iso-001-no_gpu), INV-001\n" in others
