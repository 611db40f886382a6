"""The plugin of pytest that the wheel installs: ``pytest -m dra`` in any folder.

It declares nothing and imports nothing of the suite, so that other people's tests are not touched.
Nor does it do anything in a tree of the suite, which has its own conftest.py.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

# pytest has no public way to ask whether an expression of -m wants a mark.
from _pytest.mark.expression import Expression

from dra_conformance.__main__ import make_checks

MARK = "dra"


def asks_for_checks(expression: str) -> bool:
    """Whether a mark expression names the checks and wants them."""
    if MARK not in expression:
        return False
    try:
        compiled = Expression.compile(expression)
    except SyntaxError:
        return False  # pytest says so itself

    def wants(*marks: str) -> bool:
        return compiled.evaluate(lambda name, /, **_: name in marks)

    return wants(MARK) and not wants()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest begins to capture
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Hand over to the suite with its own settings, where its checks are asked for."""
    if asks_for_checks(early_config.known_args_namespace.markexpr) and not _in_a_tree(early_config):
        raise SystemExit(make_checks(list(early_config.invocation_params.args)))
    return (yield)


def _in_a_tree(config: pytest.Config) -> bool:
    """Whether pytest's settings are those of a tree of the suite."""
    return config.inipath is not None and (config.inipath.parent / "suites/checks.lock").is_file()
