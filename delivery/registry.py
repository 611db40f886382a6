"""Pushes to a container registry: the OCI distribution protocol, without Docker.

Sources: OCI distribution specification 1.1 ("Pushing blobs", "Pushing manifests", error codes); for
tokens the "Token Authentication Specification" of the CNCF project distribution; the grammar of
references is that project's, too.
"""

from __future__ import annotations

import functools
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

import urllib3

from building.errors import EmbeddedError
from delivery.credentials import Credentials

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)"
    rf"/(?P<name>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_CLIENT = "dra-conformance"
_SECONDS = urllib3.Timeout(connect=10, read=300)
"""``read`` is between two bytes: a registry checks a large blob's digest before it answers."""


class RegistryError(EmbeddedError):
    """The registry refused or could not be reached; ``str()`` has its answer and what to do."""


@dataclass(frozen=True)
class Reference:
    """Where an image goes: ``HOST[:PORT]/NAME[:TAG]``."""

    host: str
    name: str
    tag: str = "latest"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference.

        Raises:
            RegistryError: it is none, or has no registry.
        """
        found = _REFERENCE.fullmatch(text)
        # As Docker tells a registry from the first folder of a name.
        if not found or not (re.search(r"[.:]", found["host"]) or found["host"] == "localhost"):
            raise RegistryError(
                f"{text!r} is no REGISTRY/NAME[:TAG]: give a registry's host name with a dot or a"
                " port, a name in small letters, and a tag if you like, such as"
                " registry.example.com/dra/workload:1"
            )
        return cls(found["host"], found["name"], found["tag"] or cls.tag)

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}"


@dataclass(frozen=True)
class Blob:
    """Content that is known by its digest."""

    digest: str
    size: int
    open: Callable[[], IO[bytes]]
    """A stream of the content, from its beginning."""


class Repository:
    """One repository of a registry, to push to."""

    def __init__(
        self, host: str, name: str, credentials: Credentials | None, *, insecure: bool = False
    ) -> None:
        """Make ready; nothing is sent.

        Args:
            host: the registry's host name, with a port if it is not 443.
            name: of the repository.
            credentials: None pushes as nobody.
            insecure: whether to accept any certificate, and plain HTTP where there is no TLS.
        """
        self._host = host
        self._name = name
        self._credentials = credentials
        self._insecure = insecure
        self._authorization: str | None = None
        self._base = f"https://{host}"
        self._pool = _pool(self._base, insecure=insecure)

    def connect(self) -> None:
        """Reach the registry and log in.

        Raises:
            RegistryError: it is unreachable, speaks another protocol or refuses the credentials.
        """
        try:
            self._send("GET", f"{self._base}/v2/", {}, None)
        except RegistryError:
            if not self._insecure:
                raise
            self._base = self._base.replace("https:", "http:")
            self._pool = _pool(self._base, insecure=True)
        self._request("GET", "/v2/", expected=(200,))

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob already; a redirection says where it has it."""
        path = f"/v2/{self._name}/blobs/{digest}"
        return self._request("HEAD", path, expected=(200, 307, 404)).status != 404

    def put_blob(self, blob: Blob) -> None:
        """Upload a blob in one piece.

        Raises:
            RegistryError: the registry did not take it.
        """
        answer = self._request("POST", f"/v2/{self._name}/blobs/uploads/", expected=(202,))
        # Relative or absolute, with or without a query of its own.
        location = urllib.parse.urljoin(self._base, answer.headers["Location"])
        url = f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        self._request("PUT", url, headers, blob.open, expected=(201,))

    def put_manifest(self, reference: str, media_type: str, content: bytes) -> None:
        """Upload a manifest, or an index of manifests, under a tag or by its digest.

        What it names must be there.

        Raises:
            RegistryError: the registry did not take it.
        """
        path = f"/v2/{self._name}/manifests/{reference}"
        self._request("PUT", path, {"Content-Type": media_type}, content, expected=(201,))

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], IO[bytes]] | None = None,
        *,
        expected: tuple[int, ...],
    ) -> urllib3.BaseHTTPResponse:
        """One exchange, after logging in when the registry asks for it (a token may expire)."""
        url = urllib.parse.urljoin(self._base, url)
        answer = self._send(method, url, headers or {}, body)
        if answer.status == 401 and (authorization := self._log_in(answer)):
            self._authorization = authorization
            answer = self._send(method, url, headers or {}, body)
        if answer.status not in expected:
            raise RegistryError(self._refusal(method, url, answer))
        return answer

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], IO[bytes]] | None,
    ) -> urllib3.BaseHTTPResponse:
        # Credentials are for the registry only, not for where it sends uploads (a storage service).
        if self._authorization and _origin(url) == _origin(self._base):
            headers = {"Authorization": self._authorization, **headers}
        try:
            if not callable(body):
                return self._pool.request(method, url, headers=headers, body=body)
            with body() as stream:
                return self._pool.request(method, url, headers=headers, body=stream)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{self._host}: {_cause(error)}{self._advice(error)}") from error

    def _advice(self, error: Exception) -> str:
        if self._insecure or not isinstance(error, urllib3.exceptions.SSLError):
            return ""
        return (
            ". If it speaks plain HTTP, or its certificate's authority is unknown to this machine"
            " (SSL_CERT_FILE names a file of others), and you trust the network: --insecure"
        )

    def _log_in(self, answer: urllib3.BaseHTTPResponse) -> str | None:
        """The value of ``Authorization`` that a challenge asks for; None: there is none to give."""
        scheme, _, parameters = answer.headers.get("WWW-Authenticate", "").partition(" ")
        credentials = self._credentials
        if scheme.lower() == "basic":
            return credentials.basic if credentials else None
        if scheme.lower() != "bearer":
            return None
        challenge = dict(_CHALLENGE.findall(parameters))
        fields = {
            "service": challenge.get("service", ""),
            "scope": f"repository:{self._name}:pull,push",
        }
        realm = challenge.get("realm", "")
        if credentials and credentials.identity_token:
            fields |= {"grant_type": "refresh_token", "client_id": _CLIENT}
            fields["refresh_token"] = credentials.identity_token
            body = urllib.parse.urlencode(fields).encode()
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, form, body)
        else:
            url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(fields)}"
            basic = {"Authorization": credentials.basic} if credentials else {}
            answer = self._send("GET", url, basic, None)
        if answer.status != 200:
            raise RegistryError(self._refusal("GET", realm, answer))
        token = answer.json()
        return f"Bearer {token.get('token') or token['access_token']}"

    def _refusal(self, method: str, url: str, answer: urllib3.BaseHTTPResponse) -> str:
        path = urllib.parse.urlsplit(url).path
        text = f"{self._host} answered {answer.status} to {method} {path}{_said(answer)}"
        who = self._credentials.origin if self._credentials else "no credentials"
        if answer.status in (401, 403):
            return (
                f"{text}\nTried with {who}. Log in with `docker login {self._host}` or another tool"
                " that writes Docker's config.json, or set DRA_REGISTRY_USERNAME and"
                f" DRA_REGISTRY_PASSWORD; they need the right to push to {self._name}"
            )
        if answer.status == 404:
            return f"{text}\nIs it a registry, and does it want {self._name!r} to be created first?"
        if answer.status == 429:
            return f"{text}\nIt limits how much may be asked for: try again later, or log in"
        return text


def _pool(base: str, *, insecure: bool) -> urllib3.PoolManager:
    """Connections that know the machine's authorities and the proxy of the environment."""
    parts = urllib.parse.urlsplit(base)
    make: Callable[..., urllib3.PoolManager] = urllib3.PoolManager
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        make = functools.partial(urllib3.ProxyManager, proxy)
    if insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    verify = "CERT_NONE" if insecure else "CERT_REQUIRED"
    return make(timeout=_SECONDS, retries=False, cert_reqs=verify)


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _said(answer: urllib3.BaseHTTPResponse) -> str:
    """The registry's own words: its errors by the specification, else the beginning of its text."""
    text = answer.data.decode(errors="replace").strip()
    try:
        errors = json.loads(text)["errors"]
        said = "; ".join(f"{one.get('code', '?')}: {one.get('message', '')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = text[:200]
    return f": {said}" if said else ""


def _cause(error: BaseException) -> str:
    """What went wrong in the end, without the library's names of objects."""
    while inner := error.__cause__:
        error = inner
    return str(error)
