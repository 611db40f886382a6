"""The page in a browser: driven by keyboard, at each width and in each scheme, with hostile text.

CI installs a Chromium from Debian; elsewhere these tests are skipped where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import large_report
from benchmarks.browser import PROGRAMS, Browser, browser, program
from harness.verdict.outcome import Record
from harness.verdict.table import Matrix, Table
from reports import html
from reports.facts import Facts
from tests.reports.samples import MARKUP

FEW = 150
LONG = "unbreakable" * 20
FOCUSED = """(() => {
  const it = document.activeElement, box = it.getBoundingClientRect(), style = getComputedStyle(it);
  return {
    what: it.id || it.innerText.trim().split("\\n").pop() || it.tagName,
    tag: it.tagName, outline: style.outlineStyle == "none" ? 0 : parseFloat(style.outlineWidth),
    seen: box.bottom > 0 && box.top < innerHeight && box.width > 0,
  };
})()"""
"""What has the focus, and whether a person sees that it has."""
SKELETON = """[...document.querySelectorAll("*")].map(
  (one) => one.tagName + one.getAttributeNames().join(" ")).join("\\n")"""
"""All elements of a page with the names of their attributes, without any text."""

CONTRASTS = """(() => {
  const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (color) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => rgb(color).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (one) => {
    const back = getComputedStyle(one).backgroundColor;
    return rgb(back)[3] || !one.parentElement ? back : behind(one.parentElement);
  };
  const poor = new Map();
  for (const one of document.querySelectorAll("body *")) {
    if (![...one.childNodes].some((node) => node.nodeType == 3 && node.data.trim())) continue;
    if (!one.checkVisibility()) continue;
    const pair = [getComputedStyle(one).color, behind(one)];
    if (poor.has(pair.join())) continue;
    const [low, high] = pair.map(light).sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const told = `${ratio.toFixed(2)}: ${one.className} ${one.tagName}`;
    poor.set(pair.join(), ratio < 4.5 ? told : "");
  }
  return [...poor.values()].filter(Boolean);
})()"""
"""Texts whose contrast with what is behind them is too poor, one of each pair of colours."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    found = program()
    if not found:
        pytest.skip(f"no {' or '.join(PROGRAMS)} on this machine (Debian has packages so named)")
    with browser(found, tmp_path_factory.mktemp("browser")) as one:
        yield one


def named(checks: int, name: str) -> tuple[Record, Facts]:
    """A run of which each kind of text that a cluster or a check gives has this name in it."""
    record, facts = large_report.run(checks, name)
    attributes = {f"{name}/attribute": name}
    record.environment["gpus"] = [{"uuid": name, "product": name, "attributes": attributes}]
    record.environment["nodes"] = [{"name": name, "labels": {name: name}}]
    matrix = Matrix((name,), ("way",), ("µs",))
    ways = ("read by kernel", "read by copy", "written by copy")
    rows = tuple((f"{name}{row}", way, 201) for row in (1, 2) for way in ways)
    record.add_table(Table("made", name, (name, "way", "µs"), rows, name, name, matrix))
    record.leftovers.append(name)
    return record, replace(facts, cluster=name, driver=name, product=name)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A large page, and small ones of tame names, of hostile ones and of long ones."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for kind, checks, name in (
        ("large", large_report.CHECKS, MARKUP),
        ("tame", FEW, "tame"),
        ("hostile", FEW, MARKUP),
        ("long", FEW, LONG),
    ):
        made[kind] = folder / f"{kind}.html"
        made[kind].write_text(html.render(*named(checks, name)))
    return made


def tabs(shown: Browser, key: str = "Tab") -> str:
    """Press a key; return what has the focus then, which a person sees."""
    shown.press(key)
    focused = shown.value(FOCUSED)
    assert focused["outline"] >= 2, focused
    assert focused["seen"], focused
    return str(focused["what"])


def test_everything_is_reached_and_opened_by_keyboard(
    shown: Browser, pages: dict[str, Path]
) -> None:
    """In the order of the page; its links lead past what one need not read."""
    shown.look(1400).open(pages["large"])
    links = ["Findings", MARKUP, "All checks", "Timeline", "Environment"]
    assert [tabs(shown) for _ in links] == links
    first = "document.querySelector('.finding')"
    assert "MADE-000" in tabs(shown)
    assert shown.value(f"{first}.open")
    shown.press("Enter")
    assert not shown.value(f"{first}.open")
    shown.press(" ")
    assert shown.value(f"{first}.open")
    tabs(shown)  # its steps, which are open: their summary, and their text, which can be scrolled
    tabs(shown)
    tabs(shown)
    shown.press("Enter")
    assert shown.value(f"{first}.querySelectorAll('.evidence')[1].open")

    shown.open(pages["large"])
    for _ in links[:3]:
        tabs(shown)
    shown.press("Enter")
    assert shown.value("location.hash") == "#checks"
    assert tabs(shown) == "show-all"
    assert tabs(shown, "ArrowRight") == "show-fail"
    visible = "[...document.querySelectorAll('.checks .case')].filter(one => one.checkVisibility())"
    assert shown.value(f"{visible}.length") == large_report.CHECKS // 10
    assert shown.value(f"{visible}.every(one => one.classList.contains('fail'))")
    assert tabs(shown) == "Why checks were skipped"
    shown.press(" ")
    assert shown.value("document.querySelector('.skips').open")
    assert shown.value("document.querySelector('.skips ul').checkVisibility()")


def test_a_link_opens_the_finding_that_it_leads_to(shown: Browser, pages: dict[str, Path]) -> None:
    """Also one that is folded, and a scenario of the timeline."""
    shown.look(1400).open(pages["large"])
    for links in (".case.fail a", ".longest a"):
        shown.value(f"[...document.querySelectorAll('{links}')].at(-1).focus()")
        shown.press("Enter")
        inside = "document.querySelector(location.hash)"
        assert shown.value(f"{inside}.closest('details').open"), links
        assert shown.value(
            f"{inside}.closest('details').querySelector('summary').getBoundingClientRect().top >= 0"
        ), links


def test_words_of_a_picture_are_whole_on_a_narrow_screen(
    shown: Browser, pages: dict[str, Path]
) -> None:
    """Rather than letter below letter: what is too wide can be scrolled to."""
    shown.look(390).open(pages["tame"])
    names = "[...document.querySelectorAll('.matrix tbody th')]"
    assert shown.value(f"{names}.map((one) => one.textContent)") == ["tame1", "tame2"]
    lines = f"{names}.map((one) => one.clientHeight / parseFloat(getComputedStyle(one).lineHeight))"
    assert all(number < 2 for number in shown.value(lines))


def test_hostile_names_change_nothing_but_text(shown: Browser, pages: dict[str, Path]) -> None:
    """The same elements with the same attributes; no script ran, nothing was asked for."""
    skeletons = {}
    for kind in ("tame", "hostile"):
        shown.look(1400).open(pages[kind])
        skeletons[kind] = shown.value(SKELETON)
        told = [one["params"] for one in shown.events if one["method"] == "Log.entryAdded"]
        assert not told  # neither an error of a script, nor what the page's policy has refused
        asked = [one["params"] for one in shown.events if "requestWillBeSent" in one["method"]]
        addresses = {one["request"]["url"] for one in asked if "request" in one}
        assert addresses <= {pages[kind].as_uri(), "data:,"}
    assert skeletons["hostile"] == skeletons["tame"]
    assert MARKUP in shown.value("document.querySelector('.finding h3').textContent")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_wide_and_narrow_light_and_dark(
    shown: Browser, pages: dict[str, Path], width: int, scheme: str
) -> None:
    """Nothing is wider than the screen, and each text has the contrast of WCAG's level AA."""
    shown.look(width, scheme).open(pages["long"])
    shown.value("document.querySelectorAll('details').forEach((one, n) => one.open = n < 20)")
    assert shown.value("document.documentElement.scrollWidth <= innerWidth")
    assert shown.value(CONTRASTS) == []
