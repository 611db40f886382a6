"""The documents: their links lead somewhere, and what stands twice is the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md", ".gitlab/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Those that GitHub and GitLab give to the headings of a page."""
    found: Counter[str] = Counter()
    names = set()
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        shown = re.sub(r"\[([^\[\]]*)\]\([^()]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def broken(page: Path) -> list[str]:
    """Relative links of a page whose file or heading is not there; addresses are not tried."""
    text = _CODE.sub("code", _FENCED.sub("", page.read_text(encoding="utf-8")))
    wrong = []
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To a file or folder of this repository, and to a heading that the page has."""
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    """A file that is not there, a heading that is not there; not what is only shown as code."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# One `word`, and *two*\n\n# Again\n\n# Again\n")
    page.write_text(
        "# Here\n\n[a](other.md) [b](gone.md) [c](#here) [d](#there) [e](other.md#again-1)\n"
        "[f](other.md#one-word-and-two) [g](other.md#again-2) `[h](gone.md)` [i](https://x.example)\n"
        "\n```\n[j](gone.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "#there", "other.md#again-2"]


@pytest.mark.parametrize("template", sorted((ROOT / ".gitlab/issue_templates").glob("*.md")))
def test_both_forges_ask_the_same(template: Path) -> None:
    """GitHub's issue templates are GitLab's with a head."""
    head, _, body = (
        (ROOT / ".github/ISSUE_TEMPLATE" / template.name).read_text().partition("\n---\n\n")
    )
    assert head.startswith("---\nname: ")
    assert body == template.read_text()
