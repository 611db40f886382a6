"""The one door to the API server.

Of the official client only the loading of credentials, proxy and TLS settings is used. Objects
stay the JSON that the server sent, because typed models drop unknown fields and so hide what a
conformance suite looks for; streams are split here, because the client's own splitting loses a
last line without a newline.
"""

from __future__ import annotations

import gc
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import NOT_FOUND, UNAUTHORIZED
from typing import Any
from urllib.parse import urlencode

import urllib3

from harness import __version__
from harness.cluster.kinds import (
    SLICE,
    Kind,
    Object,
    describe_place,
    kind_of,
    name_of,
    namespace_of,
    uid_of,
)
from harness.cluster.versions import SHAPE, from_server, served_as, to_server

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
WATCH_SECONDS = 240
PAGE = 500
"""How many objects a list gets at a time: whole, the answer of a large cluster takes more memory
than its objects do."""
EXPIRED = 410
SCALARS = frozenset({"string", "version", "int", "bool", "value"})
"""What objects with one value are made of in slices; nobody changes them."""
SERVICE_ACCOUNT_TRIES = 5
RETURN_SECONDS = 60.0
"""How long a server that was there may not answer, or not know the run, before it is lost."""
ASK_AGAIN_SECONDS = 1.0


class NoClusterError(Exception):
    """There is no cluster to talk to.

    Attributes:
        detail: what was tried.
    """

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


class UnreachableError(Exception):
    """The API server does not answer; ``str()`` names its address and the cause."""


class ApiError(Exception):
    """The API server refused; ``str()`` is its sentence.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Server:
    """Which cluster, for the head of a report."""

    address: str
    source: str
    """Where the credentials come from: a kubeconfig's path, or ``in-cluster``."""
    context: str = ""

    def __str__(self) -> str:
        context = f", context {self.context}" if self.context else ""
        return f"{self.address} ({self.source}{context})"


@dataclass(frozen=True)
class Write:
    """One change that was asked for and not refused."""

    method: str
    obj: Object
    """What was created or updated as it is then, what was deleted as it was known."""

    def __str__(self) -> str:
        return f"{self.method} {describe_place(self.obj)} (UID {uid_of(self.obj)})"


class Stream:
    """An answer that keeps coming, which another thread may end."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._closed = False

    def lines(self) -> Iterator[bytes]:
        """Each line without its newline, the last one too when it has none.

        Raises:
            UnreachableError: it broke off.
        """
        rest = b""
        try:
            for chunk in self._response.stream(65536):
                rest += chunk
                *whole, rest = rest.split(b"\n")
                yield from whole
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # ValueError and OSError: the socket was shut down by close() in another thread.
            if not self._closed:
                raise UnreachableError(f"the answer broke off: {error}") from error
        finally:
            self._response.close()
        if rest and not self._closed:
            yield rest

    def close(self) -> None:
        """End it; ``lines`` returns soon after."""
        self._closed = True
        try:
            # Closing alone does not wake a thread that reads.
            self._response.shutdown()
        except (RuntimeError, OSError, ValueError):
            self._response.close()


_Listed = tuple[list[Object], str]


class Kube:
    """Requests to one API server, safe to use from several threads.

    Objects of Dynamic Resource Allocation are in the shape of v1 on this side, whatever the server
    serves (`harness.cluster.versions`).
    """

    def __init__(
        self,
        configuration: Any,
        server: Server,
        run_id: str = "",
        reload: Callable[[], Any] | None = None,
    ) -> None:
        """Talk to a server.

        Args:
            configuration: address, credentials, proxy and TLS settings.
            server: what to call it.
            run_id: named in the User-Agent of every request.
            reload: reads the configuration anew, for credentials that have expired.
        """
        self._configuration = configuration
        self._pool = _pool(configuration)
        self._reload = reload
        self._credentials = threading.Lock()
        self._not_renewed = ""
        """Why credentials could not be read anew, when that was tried last."""
        self._heard: tuple[float, float] | None = None
        self._away_since: float | None = None
        self._away_at = -math.inf
        self.return_seconds = RETURN_SECONDS
        self.on_loss: Callable[[], None] = lambda: None
        """Called once, by the thread that noticed it, when the server is lost."""
        self.loss = ""
        """Why the server is lost: what it said, or that it said nothing, until time was up."""
        self.writes: list[Write] = []
        """Every change that was made through this door, oldest first."""
        self._agent = f"dra-conformance/{__version__}" + (f" run/{run_id}" if run_id else "")
        self.server = server
        self.dra_api = SHAPE
        """The version of ``resource.k8s.io`` to use of those that the server serves."""

    # Objects

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create a rendered object; unknown fields are refused, so a wrong template is loud.

        With ``dry_run`` the server does everything but store it: it answers what would be stored.

        A new namespace has its default ServiceAccount a moment later; the server itself waits
        for it for a second or two, so asking again is enough.
        """
        kind, namespace = kind_of(obj), namespace_of(obj)
        query = {"fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
        for attempt in range(SERVICE_ACCOUNT_TRIES):
            try:
                created = self._json(
                    "POST",
                    self._path(kind, namespace),
                    query,
                    body=to_server(obj, self.dra_api),
                )
                if not dry_run and "uid" in created["metadata"]:  # a review is not stored
                    self.writes.append(Write("create", created))
                return from_server(created)
            except ApiError as error:
                missing = error.status == 403 and "error looking up service account" in str(error)
                if not missing or attempt == SERVICE_ACCOUNT_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object; `ApiError` with status 404 when there is none."""
        return from_server(self._json("GET", self._path(kind, namespace, name)))

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object; None when there is none."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def review(self, kind: Kind, spec: Object) -> Object:
        """What the server says to a review, which it answers and does not store."""
        review = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {}}
        if spec:
            review["spec"] = spec
        return dict(self.create(review)["status"])

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        cut: Callable[[Object], Object] | None = None,
    ) -> tuple[list[Object], str]:
        """All objects of a kind, and the resource version from which a watch goes on.

        Args:
            kind: what to list.
            namespace: where; None: in the whole cluster.
            labels: a selector.
            fields: a selector.
            cut: answers of each object, as it comes, what the caller reads of it: of thousands the
                rest takes hundreds of megabytes.
        """
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        try:
            return self._list(kind, namespace, query, cut)
        except ApiError as error:
            if error.status != EXPIRED:
                raise
            # The pages took longer than the server keeps what they are of.
            return self._list(kind, namespace, {**query, "limit": ""}, cut)

    def _list(
        self,
        kind: Kind,
        namespace: str | None,
        query: Mapping[str, str],
        cut: Callable[[Object], Object] | None,
    ) -> _Listed:
        api_version = served_as(kind, self.dra_api).api_version
        hook = _once() if kind == SLICE else None
        items, more = [], ""
        while True:
            path = self._path(kind, namespace)
            answer = self._json("GET", path, {**query, "continue": more}, hook=hook)
            for item in answer.get("items") or []:
                item["metadata"].pop("managedFields", None)
                obj = from_server({"apiVersion": api_version, "kind": kind.name, **item})
                items.append(cut(obj) if cut is not None else obj)
            more = str(answer["metadata"].get("continue") or "")
            if len(items) > PAGE:
                # They stay, and have no cycles: the collector need not look at them ever again.
                gc.freeze()
            if not more:
                return items, str(answer["metadata"].get("resourceVersion", ""))

    def update(self, obj: Object) -> Object:
        """Replace an object as it was read; `ApiError` with status 409 if it has changed since."""
        path = self._path(kind_of(obj), namespace_of(obj), name_of(obj))
        updated = self._json("PUT", path, body=to_server(obj, self.dra_api))
        self.writes.append(Write("update", updated))
        return from_server(updated)

    def delete(self, obj: Object, *, force: bool = False) -> bool:
        """Delete exactly this object, by its UID; False when it is gone already.

        Args:
            obj: what to delete.
            force: do not wait for a pod's node: it is gone at once (grace period 0).
        """
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid_of(obj)},
            "propagationPolicy": "Background",
            **({"gracePeriodSeconds": 0} if force else {}),
        }
        path = self._path(kind_of(obj), namespace_of(obj), name_of(obj))
        try:
            self._json("DELETE", path, body=options)
        except ApiError as error:
            # Another object has the name by now.
            replaced = error.status == 409 and "precondition" in str(error)
            if error.status == NOT_FOUND or replaced:
                return False
            raise
        self.writes.append(Write("delete", obj))
        return True

    def server_time(self) -> float:
        """The API server's clock, in seconds since 1970; to a second, as its answers tell it."""
        if self._heard is None:
            self.document("/version")
        if self._heard is None:
            return time.time()  # something in between takes the Date header away
        said, at = self._heard
        return said + time.monotonic() - at

    def was_away(self, since: float) -> bool:
        """Whether the server did not answer a request, or did not know the run.

        Args:
            since: a moment of `time.monotonic`.
        """
        return self._away_at >= since

    def comes_back(self) -> bool:
        """Wait until a server that did not answer, or did not know the run, does so again.

        Returns:
            False: it is lost; whoever asks later is told so at once.
        """
        while not self.loss:
            try:
                self.document("/version")
            except (ApiError, UnreachableError) as error:
                if isinstance(error, ApiError) and error.status != UNAUTHORIZED:
                    return True
                time.sleep(ASK_AGAIN_SECONDS)
            else:
                return True
        return False

    # Streams

    def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, *, labels: str = ""
    ) -> Stream:
        """Changes of a collection since ``resource_version``, one JSON document a line.

        They are as the server sends them: `harness.cluster.versions.from_server` is for the reader.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": labels,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path, patience = self._path(kind, namespace), WATCH_SECONDS + 10
        return Stream(self._request("GET", path, query, read_seconds=patience, stream=True))

    def follow_log(self, pod: Object, container: str) -> Stream:
        """A container's log from its start, as it is written."""
        path = kind_of(pod).path(namespace_of(pod), name_of(pod)) + "/log"
        query = {"container": container, "follow": "true"}
        return Stream(self._request("GET", path, query, read_seconds=None, stream=True))

    def log(
        self,
        pod: Object,
        container: str,
        *,
        since_seconds: int | None = None,
    ) -> str:
        """Read a container's log as far as it is written.

        Args:
            pod: the pod.
            container: which of its containers.
            since_seconds: only what is not older; None: all of it.
        """
        path = kind_of(pod).path(namespace_of(pod), name_of(pod)) + "/log"
        query = {"container": container}
        if since_seconds is not None:
            query["sinceSeconds"] = str(since_seconds)
        response = self._request("GET", path, query)
        return response.data.decode("utf-8", "replace")

    def text(self, path: str) -> str:
        """Any text of the server, or of what it is a proxy to."""
        return self._request("GET", path, {}).data.decode("utf-8", "replace")

    def document(self, path: str) -> Object:
        """Any JSON document of the server, such as ``/version`` or ``/apis/GROUP``."""
        return self._json("GET", path)

    def clock(self) -> tuple[float, float]:
        """The server's clock in seconds since 1970, and how far it may be off what it says.

        It is told in whole seconds, at some moment of the request.
        """
        before = time.time()
        response = self._request("GET", "/version", {})
        took = time.time() - before
        said = _date_of(response)
        if said is None:
            raise ApiError(response.status, "the answer has no Date header")
        return said + 0.5, 0.5 + took

    # Inside

    def _path(self, kind: Kind, namespace: str | None, name: str | None = None) -> str:
        return served_as(kind, self.dra_api).path(namespace, name)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        hook: Callable[[Object], Object] | None = None,
    ) -> Object:
        response = self._request(method, path, query or {}, body=body)
        try:
            answer = json.loads(response.data, object_hook=hook)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            host = self._configuration.host
            raise ApiError(
                response.status, f"{host}{path} answered no JSON object; is it an API server?"
            )
        return answer

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Any = None,
        read_seconds: float | None = READ_SECONDS,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        given = {key: value for key, value in query.items() if value}
        url = path + (f"?{urlencode(given)}" if given else "")
        payload = None if body is None else json.dumps(body).encode()
        used = self._configuration
        try:
            response = self._send(method, url, payload, read_seconds, preload=not stream)
            if response.status == UNAUTHORIZED and self._renewed_credentials(used):
                response.drain_conn()
                response = self._send(method, url, payload, read_seconds, preload=not stream)
        except UnreachableError as error:
            self._note_absence(str(error))
            raise
        if response.status == UNAUTHORIZED:
            why = self._not_renewed or f"it answers: {_refusal(response)}"
            said = f"the run's credentials are expired or unknown to {self.server}; {why}"
            self._note_absence(said)
            raise ApiError(UNAUTHORIZED, said)
        self._away_since = None
        if response.status >= 400:
            raise _refusal(response)
        return response

    def _note_absence(self, text: str) -> None:
        """Note that the server did not answer, or does not know the run; else it has come back."""
        if self._heard is None:
            return  # it never was there
        now = time.monotonic()
        since = self._away_since = now if self._away_since is None else self._away_since
        self._away_at = now
        with self._credentials:
            lost = not self.loss and now - since >= self.return_seconds
            self.loss = text if lost else self.loss
        if lost:
            self.on_loss()

    def _renewed_credentials(self, used: Any) -> bool:
        """Read the credentials anew, unless another thread has done so since they were used."""
        with self._credentials:
            if self._configuration is not used:
                return True
            if self._reload is None:
                return False
            self._not_renewed = ""
            try:
                self._configuration = self._reload()
            except NoClusterError as error:
                self._not_renewed = str(error)
                return False
            self._pool = _pool(self._configuration)
            return True

    def _send(
        self,
        method: str,
        url: str,
        payload: bytes | None,
        read_seconds: float | None,
        *,
        preload: bool,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": self._agent, "Accept": "application/json, */*"}
        token = self._configuration.auth_settings().get("BearerToken")
        if token is not None:
            headers["Authorization"] = token["value"]
        if payload is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                method,
                self._configuration.host.rstrip("/") + url,
                body=payload,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
                # Only what cannot have reached the server is sent twice, and what the server
                # asked to be sent again.
                retries=urllib3.Retry(
                    total=5,
                    connect=2,
                    read=0,
                    redirect=0,
                    other=0,
                    status=3,
                    status_forcelist={429},
                    allowed_methods=None,
                    raise_on_status=False,
                ),
                preload_content=preload,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            host = self._configuration.host
            raise UnreachableError(f"{host} does not answer: {_cause(error)}") from error
        said = _date_of(response)
        if said is not None:
            self._heard = (said, time.monotonic())
        return response


def _once() -> Callable[[Object], Object]:
    """Keep equal values of attributes and capacities once: of very many, few are different."""
    known: dict[tuple[Any, ...], Object] = {}

    def keep(obj: Object) -> Object:
        if len(obj) != 1:
            return obj
        ((key, value),) = obj.items()
        # The type, too: 1 and true are equal to Python.
        if key not in SCALARS or isinstance(value, dict | list):
            return obj
        return known.setdefault((key, type(value), value), obj)

    return keep


def _date_of(response: urllib3.BaseHTTPResponse) -> float | None:
    """When an answer was given by the server's clock; None where it does not say."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


def _pool(configuration: Any) -> urllib3.PoolManager:
    from kubernetes.client import ApiClient  # noqa: PLC0415 - slow, and a plan needs none

    configuration.connection_pool_maxsize = 64
    pool: urllib3.PoolManager = ApiClient(configuration).rest_client.pool_manager
    return pool


def _refusal(response: urllib3.BaseHTTPResponse) -> ApiError:
    raw = response.data if response.data is not None else b""
    try:
        message = str(json.loads(raw).get("message", ""))
    except (ValueError, AttributeError):
        message = raw.decode("utf-8", "replace").strip()
    return ApiError(response.status, message or f"HTTP status {response.status}")


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason if reason is not None else error)
    # urllib3 puts its connection object before the sentence.
    return re.sub(r"^(<.*>|\w+\(.*\)): ", "", text)
