"""Credentials for a registry, from where other tools leave them.

In this order: ``DRA_REGISTRY_USERNAME`` and ``DRA_REGISTRY_PASSWORD``; Docker's ``config.json``
(in ``DOCKER_CONFIG``, else ``~/.docker``): a credential helper for the registry, its entry in
``auths``, the helper for all registries. Sources: Docker's documentation of ``docker login``
("Credential stores", "Credential helpers") and docker-credential-helpers for their protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from building.errors import EmbeddedError

_USERNAME, _PASSWORD = "DRA_REGISTRY_USERNAME", "DRA_REGISTRY_PASSWORD"
_TOKEN_USER = "<token>"
"""As user name a helper says this when the secret is an identity token."""
_NONE_STORED = "credentials not found"
"""How a helper's answer begins when it has nothing for the registry."""


@dataclass(frozen=True)
class Credentials:
    """Who pushes."""

    origin: str
    """Where they were found, for people."""
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """For an OAuth2 exchange; instead of user name and password."""

    @property
    def basic(self) -> str:
        """The value of ``Authorization`` for HTTP's basic scheme."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def find(host: str) -> Credentials | None:
    """The credentials for a registry; None if there are none.

    Raises:
        EmbeddedError: what should have them is broken; the message names it.
    """
    if os.environ.get(_USERNAME) or os.environ.get(_PASSWORD):
        if not (os.environ.get(_USERNAME) and os.environ.get(_PASSWORD)):
            raise EmbeddedError(f"{_USERNAME} and {_PASSWORD}: set both, or none")
        origin = f"{_USERNAME} and {_PASSWORD}"
        return Credentials(origin, os.environ[_USERNAME], os.environ[_PASSWORD])
    file = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text())
        helper = _entry(config.get("credHelpers") or {}, host)
        entry = _entry(config.get("auths") or {}, host)
        if helper:
            return _from_helper(helper, host)
        if entry and (found := _from_entry(entry, str(file))):
            return found
        return _from_helper(config["credsStore"], host) if config.get("credsStore") else None
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise EmbeddedError(f"{file} is not what Docker writes: {error}") from error


def _entry(entries: Mapping[str, Any], host: str) -> Any:
    """The registry's entry: keys are host names, or URLs of old."""
    for key, value in entries.items():
        if key == host or key.partition("://")[2].partition("/")[0] == host:
            return value
    return None


def _from_entry(entry: Mapping[str, str], file: str) -> Credentials | None:
    origin = f"{file}, auths"
    if token := entry.get("identitytoken"):
        return Credentials(origin, identity_token=token)
    if auth := entry.get("auth"):
        username, _, password = base64.b64decode(auth).decode().partition(":")
        return Credentials(origin, username, password.rstrip("\0"))
    if "username" in entry:
        return Credentials(origin, entry["username"], entry.get("password", ""))
    return None  # a helper has them


def _from_helper(name: str, host: str) -> Credentials | None:
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=host,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise EmbeddedError(
            f"Docker's config.json names the credential helper {program}: {error.strerror}"
        ) from error
    if done.returncode:
        if done.stdout.startswith(_NONE_STORED):
            return None
        said = (done.stdout + done.stderr).strip()
        raise EmbeddedError(f"the credential helper {program} failed: {said}")
    answer = json.loads(done.stdout)
    if answer["Username"] == _TOKEN_USER:
        return Credentials(program, identity_token=answer["Secret"])
    return Credentials(program, answer["Username"], answer["Secret"])
