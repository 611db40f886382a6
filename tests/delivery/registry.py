"""A real registry on loopback, from its pinned Go module; built for tests only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from building.artifacts import Artifact, Build
from building.toolchain import go_build

_PINS = Path(__file__).with_name("distribution")
_PROGRAM = "github.com/distribution/distribution/v3/cmd/registry"


def _build(build: Build) -> None:
    flags = ("-ldflags", "-s -w", "-o", build.out / "registry")
    go_build(build, _PINS, *flags, _PROGRAM)


REGISTRY = Artifact("registry", (_PINS,), _build, minutes=1.5)
"""A directory with ``registry``."""


@contextmanager
def serving(
    program: Path, folder: Path, http: Mapping[str, Any] | None = None, **sections: Any
) -> Iterator[str]:
    """Run the registry with its content in a folder; yields its address, ``127.0.0.1:PORT``.

    Args:
        program: the registry's binary.
        folder: for configuration and content.
        http: more for the section ``http`` of its configuration.
        sections: more sections, such as ``auth``.
    """
    content, configuration = folder / "content", folder / "config.json"
    content.mkdir(parents=True)
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(content)}},
                "http": {"addr": "127.0.0.1:0", **(http or {})},
                **sections,
            }
        )
    )
    running = subprocess.Popen(
        [program, "serve", configuration],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
    )
    assert running.stdout is not None
    try:
        address = _address(running.stdout)
        # What it says later is not read by anybody, but has to go somewhere.
        reader = threading.Thread(target=running.stdout.read)
        reader.start()
        try:
            yield address
        finally:
            running.terminate()
            reader.join()
    finally:
        running.kill()
        running.communicate()


def _address(log: IO[str]) -> str:
    """Where it listens, as its log says when it does."""
    said = ""
    for line in log:
        said += line
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            return found[1]
    raise AssertionError(f"the registry did not start: {said}")
