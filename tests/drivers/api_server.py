"""The part of a Kubernetes API server that a driver uses, over HTTPS: claims, nodes, slices."""

from __future__ import annotations

import copy
import itertools
import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embedded.drivers.reference.kubelet_plugin.api import Api
from embedded.pki import Authority

Object = dict[str, Any]

GROUP = "/apis/resource.k8s.io"
NODE = "node-1"
SECONDS = 20
"""A budget, not a delay: no test waits so long unless it fails."""


class ApiServer:
    """Objects in memory; every change wakes the watches, and the tests that wait for it."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.claims: dict[str, Object] = {}
        """By ``namespace/name``."""
        self.node_uid = str(uuid.uuid4())
        self.slices: dict[str, Object] = {}
        """By name."""
        self.writes: list[str] = []
        """Method and slice of every write of the driver."""
        self.failing: int = 0
        """HTTP status that every request gets; 0: they are served."""
        self.refused = 0
        """How many requests were not served."""
        self.store: Callable[[Object], Object] = lambda spec: spec
        """What the server makes of a slice's spec when it stores it."""
        self.gate = threading.Event()
        """Claims are read only while it is set."""
        self.gate.set()
        self.asked = threading.Event()
        """Set when a claim is read."""
        self.token = folder / "token"
        self.token.write_text("first")
        self.accepted_token = "first"
        self.changed = threading.Condition()
        self.watches = 0
        self.closing = False
        self._events: list[tuple[int, Object]] = []
        self._versions = itertools.count(1)
        self._version = 0
        self._names = itertools.count(1)
        authority = Authority(folder / "pki")
        self._certificate, self._key = authority.issue("server", "server", hosts=["127.0.0.1"])
        self._ca = authority.certificate
        self.port = 0

    @contextmanager
    def serving(self) -> Iterator[ApiServer]:
        """Serve for the duration of a ``with`` block."""
        handler = type("Handler", (_Handler,), {"api": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            with self.changed:
                self.closing = True
                self.changed.notify_all()
            server.shutdown()
            thread.join()
            server.server_close()

    def client(self) -> Api:
        """The driver's client of this server."""
        return Api(f"https://127.0.0.1:{self.port}", self._ca, self.token)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Until something is so."""
        with self.changed:
            assert self.changed.wait_for(ready, SECONDS), f"not within {SECONDS} s"

    def only_slice(self) -> Object:
        """The slice, when there must be one."""
        with self.changed:
            (found,) = self.slices.values()
            return copy.deepcopy(found)

    def put(self, item: Object) -> Object:
        """Create or replace a slice, as the driver or somebody else."""
        with self.changed:
            metadata = item["metadata"]
            if "name" not in metadata:
                metadata["name"] = f"{metadata['generateName']}{next(self._names)}"
            metadata.setdefault("uid", str(uuid.uuid4()))
            stored = {**item, "spec": self.store(copy.deepcopy(item["spec"]))}
            self.slices[metadata["name"]] = stored
            self._note("MODIFIED", stored)
            return stored

    def delete(self, name: str) -> Object | None:
        """Remove a slice."""
        with self.changed:
            item = self.slices.pop(name, None)
            if item:
                self._note("DELETED", item)
            return item

    def _note(self, change: str, item: Object) -> None:
        self._version = next(self._versions)
        item["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, {"type": change, "object": copy.deepcopy(item)}))
        self.changed.notify_all()

    def listed(self) -> Object:
        """All slices."""
        with self.changed:
            items = copy.deepcopy(list(self.slices.values()))
            return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    def follow(self, after: int) -> Iterator[Object]:
        """Events after a version, until the server closes."""
        with self.changed:
            self.watches += 1
            self.changed.notify_all()
        while True:
            with self.changed:
                while not (events := [one for version, one in self._events if version > after]):
                    if self.closing:
                        return
                    self.changed.wait()
                after = self._version
            yield from events


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: ApiServer

    def log_message(self, *_: object) -> None:
        """Quietly."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        slices = f"{GROUP}/{self.api.version}/resourceslices"
        claims = f"{GROUP}/{self.api.version}/namespaces/"
        if self._refused():
            return
        if path == GROUP:
            self._answer(200, {"versions": [{"version": self.api.version}]})
        elif path == slices and "watch=1" in self.path:
            self._watch()
        elif path == slices:
            self._answer(200, self.api.listed())
        elif path == f"/api/v1/nodes/{NODE}":
            self._answer(200, {"metadata": {"name": NODE, "uid": self.api.node_uid}})
        elif path.startswith(claims):
            self.api.asked.set()
            self.api.gate.wait(SECONDS)
            key = path.removeprefix(claims).replace("/resourceclaims/", "/")
            self._found(self.api.claims.get(key))
        else:
            self._found(None)

    def do_POST(self) -> None:
        self._write()

    def do_PUT(self) -> None:
        self._write()

    def do_DELETE(self) -> None:
        if not self._refused():
            name = self.path.rpartition("/")[2]
            self.api.writes.append(f"DELETE {name}")
            self._found(self.api.delete(name))

    def _write(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        with self.api.changed:
            old = self.api.slices.get(body["metadata"].get("name", ""))
            if old and old["spec"]["pool"]["name"] != body["spec"]["pool"]["name"]:
                self._answer(422, {"kind": "Status", "message": "pool.name: field is immutable"})
                return
            stored = self.api.put(body)
            self.api.writes.append(f"{self.command} {stored['metadata']['name']}")
            answer = copy.deepcopy(stored)
        self._answer(200, answer)

    def _refused(self) -> bool:
        authorized = self.headers["Authorization"] == f"Bearer {self.api.accepted_token}"
        status = self.api.failing or (0 if authorized else 401)
        if status:
            with self.api.changed:
                self.api.refused += 1
                self.api.changed.notify_all()
            self._answer(status, {"kind": "Status", "message": "no"})
        return bool(status)

    def _found(self, item: Object | None) -> None:
        if item is None:
            self._answer(404, {"kind": "Status", "message": f"{self.path} not found"})
        else:
            self._answer(200, item)

    def _answer(self, status: int, body: Object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self) -> None:
        after = int(self.path.partition("resourceVersion=")[2].partition("&")[0])
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in self.api.follow(after):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the driver has left
