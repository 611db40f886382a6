"""The tests of this project run in groups side by side, and nothing of that is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import lanes


@pytest.mark.parametrize(("broken", "code"), [("True", 0), ("False", 1)])
def test_each_group_is_shown_and_one_that_fails_fails_all(
    broken: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the others do."""
    groups = []
    for name, said in (("first", broken), ("second", "True")):
        path = tmp_path / f"test_{name}.py"
        path.write_text(f"def test_it():\n    assert {said}\n")
        groups.append(("-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(path)))
    assert lanes.main(groups) == code
    printed = capsys.readouterr().out
    assert printed.count("1 passed") == 2 - code
    assert printed.count("1 failed") == code
    *_, one, other = printed.splitlines()
    assert sorted(line.partition(", ")[2][:11] for line in (one, other)) == sorted(
        ["exit code 0", f"exit code {code}"]
    )


def test_the_groups_are_all_tests() -> None:
    """What one group leaves out is another's, and all of it is there."""
    first, *others, last = lanes.groups()
    assert first == ("-m", "not embedded and not matrix", "tests")
    assert {f"--ignore={group[-1]}" for group in others} == set(last[3:])
    assert all(Path(lanes.__file__).parents[1].joinpath(path).exists() for path in lanes.APART)
