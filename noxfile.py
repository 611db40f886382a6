"""Development verbs: `./run lint`, `./run tests`, … (each is a session here)."""

from __future__ import annotations

import nox

# `run` has made the locked environment already: sessions use it as it is.
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "tests"]

C_FILES = ("ls-files", "*.c", "*.cpp", "*.cu", "*.h")
SHELL_FILES = ("grep", "-l", "^#!/bin/sh")


def found(session: nox.Session, *git: str) -> list[str]:
    """List the files that a command of git names."""
    return str(session.run("git", *git, external=True, silent=True, log=False)).split()


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint, spelling and types."""
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("clang-format", "--dry-run", "--Werror", *found(session, *C_FILES))
    session.run("shellcheck", *found(session, *SHELL_FILES))
    session.run("codespell")
    session.run("mypy")


@nox.session
def format(session: nox.Session) -> None:  # noqa: A001 - the verb's name
    """Format everything by tool."""
    session.run("ruff", "format", ".")
    session.run("ruff", "check", "--fix", ".")
    session.run("clang-format", "-i", *found(session, *C_FILES))


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of this project, the main job on the embedded cluster among them.

    Two groups of them run side by side. Of what is broken on purpose, a sample:
    `./run matrix` tries all of it.
    """
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
        return
    session.log("of what is broken on purpose, a sample is tried; `./run matrix` tries all")
    session.run("python", "-m", "tests.lanes")


@nox.session
def stress(session: nox.Session) -> None:
    """Embedded clusters up and down, and processes of theirs killed, many times (half an hour)."""
    session.run("python", "-m", "tests.embedded.stress", *session.posargs)


@nox.session
def cleanroom(session: nox.Session) -> None:
    """Run the README's two commands in a fresh root, from empty caches (needs mmdebstrap)."""
    session.run("tests/cleanroom", *session.posargs, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements.lock anew from pyproject.toml (needs `uv` on PATH)."""
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--extra", "embedded", "--group", "dev"),
        *(
            "--universal",
            "--generate-hashes",
            "--no-header",
            "--no-emit-index-url",
            "--no-emit-find-links",
        ),
        *("--python-version", "3.11", "--quiet", "-o", "requirements.lock"),
        external=True,
    )
