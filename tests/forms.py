"""The forms of checks, for tests of every one of them."""

from __future__ import annotations

from harness.checks.check import Check


def form_names(check: Check) -> list[str | None]:
    """The names of a check's forms; one None where it has none."""
    return [form.name for form in check.forms] or [None]
