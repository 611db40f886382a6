"""The little HTTPS that a driver needs to talk to the Kubernetes API."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

GROUP = "/apis/resource.k8s.io"
VERSIONS = ("v1", "v1beta2", "v1beta1")
"""The versions that this driver speaks, newest first."""

_CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 10
_WATCH_SECONDS = 300
"""How long one watch may last; a connection that died without a word is noticed after that."""


class ApiError(Exception):
    """The API could not be asked, or refused."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 if there was no answer."""


class Api:
    """One API server. Every method raises `ApiError`."""

    def __init__(self, server: str, ca: Path, token: Path) -> None:
        """Talk to ``https://HOST:PORT``, trusting one CA, with the bearer token of a file."""
        address = urlsplit(server)
        self._host, self._port = address.hostname or "", address.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca))
        # Verified as client-go does it: clusters have certificates without an authority key ID.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._token = token

    @classmethod
    def in_cluster(cls) -> Api:
        """As the ServiceAccount of the pod that this runs in."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", _CREDENTIALS / "ca.crt", _CREDENTIALS / "token")

    def version(self) -> str:
        """The newest version of ``resource.k8s.io`` that the server serves and we speak.

        Not remembered: clusters are upgraded under running drivers.
        """
        served = [one["version"] for one in self.request("GET", GROUP)["versions"]]
        for version in VERSIONS:
            if version in served:
                return version
        raise ApiError(f"the server serves resource.k8s.io as {served}, not as any of {VERSIONS}")

    def claim(self, namespace: str, name: str) -> dict[str, Any]:
        """Read a ResourceClaim; its status looks alike in all versions."""
        where = f"namespaces/{quote(namespace)}/resourceclaims/{quote(name)}"
        return self.request("GET", f"{GROUP}/{self.version()}/{where}")

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask once and return the answer's JSON."""
        connection = self._connection(_SECONDS)
        try:
            answer: dict[str, Any] = json.loads(self._ask(connection, method, path, body).read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        return answer

    def watch(self, path: str, **parameters: str) -> Watch:
        """Follow changes of what a list at ``path`` would give."""
        query = urlencode({**parameters, "watch": "1", "timeoutSeconds": str(_WATCH_SECONDS)})
        connection = self._connection(_WATCH_SECONDS + _SECONDS)
        try:
            connection.connect()
            stream = connection.sock  # `getresponse` may hand it over to the response
            response = self._ask(connection, "GET", f"{path}?{query}", None)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ApiError(f"watching {path}: {error}") from error
        return Watch(stream, response)

    def _connection(self, seconds: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=seconds, context=self._tls
        )

    def _ask(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: object
    ) -> http.client.HTTPResponse:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "dra-reference-driver",
            # Read every time: the kubelet renews it.
            "Authorization": f"Bearer {self._token.read_text().strip()}",
        }
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        if response.status >= http.client.BAD_REQUEST:
            said = response.read().decode(errors="replace")
            try:
                said = json.loads(said)["message"]
            except (ValueError, KeyError, TypeError):
                pass  # not a Status object: a proxy, for one
            raise ApiError(f"{method} {path}: {response.status} {said}", response.status)
        return response


class Watch:
    """Waits for a change."""

    def __init__(self, stream: socket.socket, response: http.client.HTTPResponse) -> None:
        self._socket = stream
        self._response = response

    def wait(self) -> None:
        """Return at the first event, or when the watch is ended: by the server, an error, `close`.

        Whoever waits looks at everything anew then, so what has happened does not matter.
        """
        try:
            self._response.readline()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self._response.close()
            self._socket.close()

    def close(self) -> None:
        """End it from another thread."""
        try:
            # Of the plain socket: TLS would want to say goodbye, and is in use by the reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            pass  # it is over already
