"""The forms of a check, for tests that go through all of them."""

from __future__ import annotations

from harness.checks.check import Check


def form_names(check: Check) -> list[str | None]:
    """The names of a check's forms; one None where it has none."""
    return [form.name for form in check.forms] or [None]
