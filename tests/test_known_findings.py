"""The list of what is known to fail on real drivers, and how a run is compared with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster.yaml_file import YamlFileError
from harness.verdict.known import SCHEMA, KnownFinding, load
from suites.__main__ import checks
from tests.known_findings import differences

KNOWN = KnownFinding("gpu.example.com", "v1", "LIFE-001", "https://example.com/1", "It does.")
ENTRY = """\
- driver: gpu.example.com
  version: v1
  check: LIFE-001
  link: https://example.com/1
  evidence: It does.
"""


def compared(*, failed: set[str], version: str = "v1") -> list[str]:
    """How a run of two checks differs from the one known finding."""
    made = {"LIFE-001", "LIFE-002"}
    return list(differences([KNOWN], "gpu.example.com", version, failed=failed, made=made))


def test_the_list_is_of_checks_that_there_are() -> None:
    """It may be empty."""
    assert {one.check for one in load()} <= {check.id for check in checks()}


def test_a_listed_failure_is_expected() -> None:
    """And nothing else."""
    assert compared(failed={"LIFE-001"}) == []


def test_a_failure_that_is_not_listed_is_told() -> None:
    """Of this version of the driver."""
    (line,) = compared(failed={"LIFE-001", "LIFE-002"})
    assert line.startswith("LIFE-002 fails on gpu.example.com v1, and known-findings.yaml does not")
    (line,) = compared(failed={"LIFE-001"}, version="v2")
    assert line.startswith("LIFE-001 fails on gpu.example.com v2, and known-findings.yaml does not")


def test_what_is_listed_of_a_variant_is_of_no_other() -> None:
    """But what is listed of the version is of its variants, too."""
    of_variant = replace(KNOWN, version="v1+shares")
    assert of_variant.is_of("gpu.example.com", "v1+shares")
    assert not of_variant.is_of("gpu.example.com", "v1")
    assert not of_variant.is_of("gpu.example.com", "v1+parts")
    assert not of_variant.is_of("gpu.example.org", "v1+shares")
    assert compared(failed={"LIFE-001"}, version="v1+shares") == []


def test_a_listed_failure_that_is_gone_is_told() -> None:
    """Unless its check was not made at all."""
    assert compared(failed=set()) == [
        "LIFE-001 passes on gpu.example.com v1, and known-findings.yaml lists it"
    ]
    assert not list(differences([KNOWN], "gpu.example.com", "v1", failed=(), made=("LIFE-002",)))


def test_the_file_is_read(tmp_path: Path) -> None:
    """Every field of every finding."""
    path = tmp_path / "known-findings.yaml"
    path.write_text(f"schema: {SCHEMA}\nfindings:\n{ENTRY}")
    assert load(path) == (KNOWN,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ENTRY.replace("  link: https://example.com/1\n", ""), "3: link is missing"),
        (ENTRY.replace("https://", ""), "3: example.com/1 is no address"),
        (ENTRY + ENTRY, "8: LIFE-001 of gpu.example.com v1 stands here a second time"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    """So that it can be mended."""
    path = tmp_path / "known-findings.yaml"
    path.write_text(f"schema: {SCHEMA}\nfindings:\n{text}")
    with pytest.raises(YamlFileError, match=f"known findings known-findings.yaml:{words}"):
        load(path)
