"""Hooks, options and fixtures of the conformance suite live in these modules."""

pytest_plugins = [
    "fixtures.plugin",
    "fixtures.checks",
]
