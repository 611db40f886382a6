"""An API server in this process: objects, watches and logs over real HTTP, and faults on demand."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import Configuration

from harness.cluster.kinds import KINDS, Kind, Object
from harness.cluster.kube import Kube, Server

GROUP = "resource.k8s.io"
VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
_BY_PLURAL = {(kind.api_version, kind.plural): kind for kind in KINDS.values()}


@dataclass
class Log:
    """A container's log; each piece is sent as it was written."""

    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False


class FakeApi:
    """Objects by kind, namespace and name; every change has a version and goes to the watches."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.dra_api = "v1"
        """The only version of resource.k8s.io that is served; objects are kept in that of v1."""
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.changes: list[tuple[int, str, Object]] = []
        self.version = 100
        self.oldest = 0
        """Watches from before this version are answered with 410."""
        self.logs: dict[tuple[str, str], Log] = {}
        self.documents: dict[str, Object | bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.agents: set[str] = set()
        self.forbidden: set[str] = set()
        """Paths of what nobody may read."""
        self.token = ""
        """The only one that is let in; empty: everybody is."""
        self.drop_watches = 0
        """How many watches to end at once, to see the client come back."""
        self.fail: Callable[[str, Object], tuple[int, str, str] | None] = lambda *_: None
        """Asked at each create with path and object; may answer status, reason and message."""
        self.denied: set[tuple[str, str]] = set()
        """Verbs with resources (``pods/log``) that the user has no right to."""
        self.of_accounts: set[tuple[str, str]] = set()
        """Verbs with resources that every service account has a right to."""
        self.confined_to = ""
        """Where the user has those rights all the same; empty: nowhere."""
        self.gates_off: set[str] = set()
        """Fields of claims' requests that are dropped."""
        self.pages_expire = False
        """Whether only the first page of a list is served."""
        self.clock_ahead = 0.0
        """How many seconds its clock is ahead."""
        self.reactions: list[Callable[[str, Object], None]] = []
        """Called after each change with its type and object."""
        self.closing = False
        self.asked: Callable[[str, str], None] = lambda *_: None
        """Called before each request is answered, with its method and path."""
        self.silent = False
        """Whether it answers nothing any more, as one that was killed."""

    # What a controller does

    def put(self, obj: Object) -> Object:
        """Create or update an object."""
        with self.changed:
            key = self._key(obj)
            known = self.objects.get(key)
            self.version += 1
            obj["metadata"].setdefault("uid", str(uuid.uuid4()))
            obj["metadata"]["resourceVersion"] = str(self.version)
            stored: Object = json.loads(json.dumps(obj))
            self.objects[key] = stored
            change = "ADDED" if known is None else "MODIFIED"
            self.changes.append((self.version, change, stored))
            self.changed.notify_all()
        self._react(change, stored)
        return stored

    def edit(self, kind: Kind, namespace: str, name: str, **fields: Any) -> Object | None:
        """Replace top-level fields of an object; None when it is gone."""
        with self.changed:
            obj = self.objects.get((kind.name, namespace, name))
            if obj is None:
                return None
            return self.put({**json.loads(json.dumps(obj)), **fields})

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Take an object away."""
        with self.changed:
            obj = self.objects.pop((kind.name, namespace, name), None)
            if obj is None:
                return
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.changes.append((self.version, "DELETED", obj))
            self.changed.notify_all()
        self._react("DELETED", obj)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, if it is there."""
        with self.changed:
            return self.objects.get((kind.name, namespace, name))

    def write_log(self, namespace: str, pod: str, text: str, *, complete: bool = False) -> None:
        """Append to a container's log."""
        with self.changed:
            log = self.logs.setdefault((namespace, pod), Log())
            log.pieces.append(text.encode())
            log.complete = complete
            self.changed.notify_all()

    def asked_to_create(self) -> list[str]:
        """Where objects were to be created, so far."""
        return [
            path
            for method, path, query in self.requests
            if method == "POST" and not path.endswith("reviews") and "dryRun" not in query
        ]

    def denies(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether the user has no right to something in a namespace, or (empty) everywhere."""
        here = bool(namespace) and namespace == self.confined_to
        return (verb, resource) in self.denied and not here

    def forget(self) -> None:
        """Expire every version: watches that are open get a 410 in their stream."""
        with self.changed:
            self.oldest = self.version + 1
            self.changed.notify_all()

    def fall_silent(self) -> None:
        """Answer nothing from now on."""
        with self.changed:
            self.silent = True
            self.changed.notify_all()

    def remember(self) -> None:
        """Serve watches again."""
        with self.changed:
            self.oldest = 0

    def _react(self, change: str, obj: Object) -> None:
        for reaction in self.reactions:
            reaction(change, obj)

    @staticmethod
    def _key(obj: Object) -> tuple[str, str, str]:
        metadata = obj["metadata"]
        return (obj["kind"], metadata.get("namespace") or "", metadata["name"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        """By a clock that may go wrong."""
        now = time.time() if timestamp is None else timestamp
        return super().date_time_string(now + self.api.clock_ahead)

    def handle_one_request(self) -> None:
        """Hang up when the server is to be gone."""
        if self.api.silent:
            self.close_connection = True
        else:
            super().handle_one_request()

    def parse_request(self) -> bool:
        """Let nobody in without the token, if there is one."""
        if not super().parse_request():
            return False
        known = not self.api.token or self.headers["Authorization"] == f"Bearer {self.api.token}"
        if not known:
            self._status(401, "Unauthorized", "Unauthorized")
            self.close_connection = True
        return known

    def do_GET(self) -> None:
        path, query = self._asked()
        if self.api.silent:
            self.close_connection = True
            return
        if path in self.api.forbidden or self._denied("GET", path, query):
            self._status(403, "Forbidden", f"{path} is forbidden")
        elif path in self.api.documents:
            self._answer(200, self.api.documents[path])
        elif path.endswith("/log"):
            self._log(path, query)
        else:
            kind, namespace, name = self._place(path)
            if kind is None:
                self._status(404, "NotFound", "the server could not find the requested resource")
            elif name:
                found = self.api.get(kind, namespace, name)
                if found is None:
                    self._status(404, "NotFound", f'{kind.plural} "{name}" not found')
                else:
                    self._answer(200, self._out(found))
            elif query.get("watch") == "true":
                self._watch(kind, namespace, query)
            else:
                with self.api.changed:
                    items = [self._out(o) for o in self._items(kind, namespace, query)]
                    metadata = {"resourceVersion": str(self.api.version)}
                begin = int(query.get("continue") or 0)
                end = begin + int(query.get("limit") or len(items))
                if begin and self.api.pages_expire:
                    self._status(410, "Expired", "the continue parameter is too old")
                    return
                if end < len(items):
                    metadata["continue"] = str(end)
                self._answer(200, {"metadata": metadata, "items": items[begin:end]})

    def do_POST(self) -> None:
        path, query = self._asked()
        obj = self._body()
        if self.api.silent:
            self.close_connection = True
            return
        if obj["kind"].endswith("Review"):
            self._answer(201, {**obj, "status": self._reviewed(obj)})
            return
        if self._denied("POST", path, query):
            self._status(403, "Forbidden", f"{path} is forbidden")
            return
        try:
            obj = stored_form(obj, self.api.dra_api)
        except ValueError as error:
            self._status(400, "BadRequest", f"strict decoding error: {error}")
            return
        refusal = self.api.fail(path, obj)
        if refusal is not None:
            self._status(*refusal)
            return
        key = self.api._key(obj)
        if key in self.api.objects:
            self._status(409, "AlreadyExists", f"{key[2]} already exists")
            return
        if query.get("dryRun") == "All":
            if obj["kind"] == "ResourceClaim":
                for request in obj["spec"]["devices"]["requests"]:
                    for gone in self.api.gates_off & set(request.get("exactly") or {}):
                        del request["exactly"][gone]
            self._answer(201, self._out(obj))
            return
        self._answer(201, self._out(self.api.put(obj)))

    def do_PUT(self) -> None:
        path, query = self._asked()
        obj = self._body()
        if self.api.silent:
            self.close_connection = True
            return
        if self._denied("PUT", path, query):
            self._status(403, "Forbidden", f"{path} is forbidden")
            return
        kind, namespace, name = self._place(path)
        with self.api.changed:
            found = self.api.get(kind, namespace, name) if kind else None
            if found is None:
                self._status(404, "NotFound", f'"{name}" not found')
            elif found["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._status(409, "Conflict", "the object has been modified")
            else:
                self._answer(200, self._out(self.api.put(stored_form(obj, self.api.dra_api))))

    def do_DELETE(self) -> None:
        path, query = self._asked()
        options = self._body()
        if self.api.silent:
            self.close_connection = True
            return
        if self._denied("DELETE", path, query):
            self._status(403, "Forbidden", f"{path} is forbidden")
            return
        kind, namespace, name = self._place(path)
        found = self.api.get(kind, namespace, name) if kind else None
        if kind is None or found is None:
            self._status(404, "NotFound", f'"{name}" not found')
            return
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != found["metadata"]["uid"]:
            self._status(409, "Conflict", f"the UID in the precondition ({wanted}) does not match")
            return
        metadata = {**found["metadata"], "deletionTimestamp": "2026-11-23T00:00:00Z"}
        if self.api.reactions and options.get("gracePeriodSeconds") != 0:
            self.api.edit(kind, namespace, name, metadata=metadata)
        else:
            self.api.remove(kind, namespace, name)
        self._answer(200, found)

    def _reviewed(self, review: Object) -> Object:
        if review["kind"] == "SelfSubjectReview":
            return {"userInfo": {"username": "tester"}}
        asked = review["spec"]["resourceAttributes"]
        if review["kind"] == "SubjectAccessReview":
            return {"allowed": (asked["verb"], asked["resource"]) in self.api.of_accounts}
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return {"allowed": not self.api.denies(asked["verb"], resource, asked.get("namespace", ""))}

    def _denied(self, method: str, path: str, query: dict[str, str]) -> bool:
        asked = asked_right(method, path, query)
        return asked is not None and self.api.denies(*asked)

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.api.requests.append((self.command, parts.path, query))
        self.api.asked(self.command, parts.path)
        self.api.agents.add(self.headers["User-Agent"])
        return parts.path, query

    def _place(self, path: str) -> tuple[Kind | None, str, str]:
        parts = path.strip("/").split("/")
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if version.startswith(f"{GROUP}/"):
            version = f"{GROUP}/v1" if version == f"{GROUP}/{self.api.dra_api}" else "not served"
        kind = _BY_PLURAL.get((version, rest[0])) if rest else None
        return kind, namespace, rest[1] if len(rest) > 1 else ""

    def _out(self, obj: Object) -> Object:
        return served_form(obj, self.api.dra_api)

    def _items(self, kind: Kind, namespace: str, query: dict[str, str]) -> list[Object]:
        return [obj for obj in self.api.objects.values() if _fits(obj, kind, namespace, query)]

    def _watch(self, kind: Kind, namespace: str, query: dict[str, str]) -> None:
        since = int(query["resourceVersion"])
        if self.api.drop_watches > 0:
            self.api.drop_watches -= 1
            self._begin_stream()
            self._chunk(b"")
            return
        self._begin_stream()
        while True:
            with self.api.changed:
                if self.api.closing or self.api.silent:
                    self.close_connection = True
                    return
                if since < self.api.oldest:
                    expired = {"code": 410, "reason": "Expired", "message": "too old"}
                    self._send({"type": "ERROR", "object": expired})
                    self._chunk(b"")
                    return
                news = [c for c in self.api.changes if c[0] > since]
                if not news:
                    self.api.changed.wait()
                    continue
            for version, change, obj in news:
                since = version
                if _fits(obj, kind, namespace, query):
                    self._send({"type": change, "object": self._out(obj)})

    def _log(self, path: str, query: dict[str, str]) -> None:
        parts = path.strip("/").split("/")
        key = (parts[3], parts[5])
        if query.get("follow") != "true":
            with self.api.changed:
                log = self.api.logs.get(key, Log())
                text = b"".join(log.pieces)
            self._answer_bytes(200, text, "text/plain")
            return
        self._begin_stream()
        sent = 0
        while True:
            with self.api.changed:
                log = self.api.logs.setdefault(key, Log())
                pieces, complete = log.pieces[sent:], log.complete
                if self.api.closing or self.api.silent:
                    self.close_connection = True
                    return
                if not pieces and not complete:
                    self.api.changed.wait()
                    continue
            for piece in filter(None, pieces):  # an empty chunk would be the end of the answer
                self._chunk(piece)
            sent += len(pieces)
            if complete and not pieces:
                self._chunk(b"")
                return

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send(self, change: Object) -> None:
        self._chunk(json.dumps(change).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _body(self) -> Object:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        assert isinstance(body, dict)
        return body

    def _status(self, code: int, reason: str, message: str) -> None:
        self._answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message})

    def _answer(self, code: int, document: Any) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self._answer_bytes(code, data, "application/json")

    def _answer_bytes(self, code: int, data: bytes, content: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def asked_right(method: str, path: str, query: dict[str, str]) -> tuple[str, str, str] | None:
    """What RBAC calls a request: verb, resource and namespace; None for discovery."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if not rest:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = "/".join(filter(None, (rest[0], rest[2] if len(rest) > 2 else "")))
    verb = "watch" if query.get("watch") else "get" if len(rest) > 1 else "list"
    return VERBS.get(method, verb), resource, namespace


def served_form(obj: Object, version: str) -> Object:
    """A stored object as a server of this version shows it."""
    if not str(obj.get("apiVersion")).startswith(GROUP):
        return obj
    shown: Object = json.loads(json.dumps({**obj, "apiVersion": f"{GROUP}/{version}"}))
    if version == "v1beta1" and obj["kind"] == "ResourceClaim":
        for request in shown["spec"]["devices"]["requests"]:
            request.update(request.pop("exactly", {}))
    if version == "v1beta1" and obj["kind"] == "ResourceSlice":
        for device in shown["spec"]["devices"]:
            for field_name in set(device) - {"name"}:
                device.setdefault("basic", {})[field_name] = device.pop(field_name)
    return shown


def stored_form(obj: Object, version: str) -> Object:
    """What a server of this version makes of an object that it is sent.

    Raises:
        ValueError: that version does not know one of its fields.
    """
    if not str(obj.get("apiVersion")).startswith(GROUP):
        return obj
    if obj["apiVersion"] != f"{GROUP}/{version}":
        raise ValueError(f"the object is of {obj['apiVersion']}")
    stored: Object = json.loads(json.dumps({**obj, "apiVersion": f"{GROUP}/v1"}))
    if obj["kind"] == "ResourceClaim":
        for request in stored["spec"]["devices"]["requests"]:
            flat = set(request) - {"name", "exactly", "firstAvailable"}
            wrong = flat if version != "v1beta1" else set(request) & {"exactly"}
            if wrong:
                raise ValueError(f'unknown field "spec.devices.requests[0].{min(wrong)}"')
            if flat:
                request["exactly"] = {key: request.pop(key) for key in flat}
    return stored


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""


def _fits(obj: Object, kind: Kind, namespace: str, query: dict[str, str]) -> bool:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    wanted = [part.partition("=") for part in query.get("labelSelector", "").split(",") if part]
    return (
        obj["kind"] == kind.name
        and (not namespace or metadata.get("namespace") == namespace)
        and all(
            labels.get(key) == value if equals else key in labels for key, equals, value in wanted
        )
    )


@contextmanager
def serving(api: FakeApi, port: int = 0) -> Iterator[str]:
    """Serve it, on a free port if none is given; answers the address."""
    handler = type("Handler", (_Handler,), {"api": api})
    server = _Server(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        with api.changed:
            api.closing = True
            api.changed.notify_all()
        server.shutdown()
        thread.join()
        server.server_close()


def client(address: str, run_id: str = "test") -> Kube:
    """A client of it."""
    configuration = Configuration()
    configuration.host = address
    return Kube(configuration, Server(address, "test"), run_id)
