"""The command ``dra-conformance VERB``."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dra_conformance import TREE

USAGE = """\
Usage: dra-conformance VERB …        conformance of Kubernetes DRA drivers
  run      make the checks; this is pytest -m dra and takes all its options
  plan     only say what a run would do and which rights that takes; the options are those of run
  sweep    only remove what runs that were killed left in the cluster
  report   rebuild | diff | replay | bundle | statement | …: the files of runs that have ended
  push     the workload's image (--runner: the suite's own) to a registry, without Docker
  cluster  up | down | status | …: an embedded cluster on this machine (Linux, root)
`dra-conformance VERB --help` tells the options; --version, which suite this is.
"""
CHECKS = {"run": (), "plan": ("--dra-plan",), "sweep": ("--dra-sweep",)}
"""The verbs that are pytest, with the options that they add."""
MODULES = {"report": "reports.__main__", "push": "delivery.push", "cluster": "embedded.__main__"}
"""The other verbs."""
USAGE_ERROR = 4
"""As pytest's own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the verb says; answers the exit code."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    sys.path.insert(0, str(TREE))
    if verb in CHECKS:
        return make_checks([*CHECKS[verb], *rest])
    if verb in MODULES:
        return _call(verb, rest)
    if verb == "--version":
        print(_version())
        return 0
    asked = verb in ("-h", "--help", "help")
    print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else USAGE_ERROR


def make_checks(options: Sequence[str]) -> int:
    """Run pytest with the suite's own settings; answers its exit code.

    The root is the working directory, so that pytest keeps its cache there.
    """
    if os.getpid() == 1:  # in a container: what such a process does not handle is dropped
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    import pytest  # noqa: PLC0415 - the other verbs do without

    settings = ("-c", str(TREE / "pyproject.toml"), "--rootdir", str(Path.cwd()))
    # Our plugin hands over to this function.
    this = ("-p", "no:dra-conformance", "-m", "dra")
    return int(pytest.main([*settings, *this, *options, str(TREE / "suites")]))


def _call(verb: str, rest: Sequence[str]) -> int:
    try:
        module = importlib.import_module(MODULES[verb])
    except ImportError as error:
        print(
            f"error: {verb} needs Linux, and packages that `pip install"
            f" 'dra-conformance[embedded]'` brings: {error}",
            file=sys.stderr,
        )
        return USAGE_ERROR
    return int(module.main(list(rest)))


def _version() -> str:
    from harness.session.environment import suite  # noqa: PLC0415 - only now on the path

    found = suite(TREE)
    changed = ", changed" if found.get("changed") else ""
    commit = f"commit {found['commit']}{changed}" if "commit" in found else "commit unknown"
    return f"dra-conformance {found['version']} ({commit}), Python {found['python']}"


if __name__ == "__main__":
    sys.exit(main())
