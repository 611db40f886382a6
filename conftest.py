"""Hooks, options and fixtures of the conformance suite live in this module."""

pytest_plugins = ["fixtures.plugin"]
