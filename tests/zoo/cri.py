"""A container runtime that is older than CDI: it takes no notice of the devices of containers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from building.artifacts import obtain
from building.binaries import RUNTIME_PROTOCOL
from building.progress import Progress

SOCKET = "run/containerd/containerd.sock"
"""Where the node's own runtime is."""
OLD = "run/containerd/without-cdi.sock"


@contextmanager
def without_cdi(node: Path) -> Iterator[str]:
    """Have a runtime for the kubelet that passes on all but CDI devices; answers its endpoint.

    Args:
        node: the node's root directory as seen from here.
    """
    sys.path.append(str(obtain([RUNTIME_PROTOCOL], Progress())[RUNTIME_PROTOCOL.name]))
    messages, _ = grpc.protos_and_services("runtime_v1.proto")
    with (
        ThreadPoolExecutor(32) as threads,  # they end once the channel has
        grpc.insecure_channel(f"unix:{node / SOCKET}") as channel,
    ):
        server = grpc.server(threads, handlers=[_Handler(channel, messages)])
        server.add_insecure_port(f"unix:{node / OLD}")
        server.start()
        try:
            yield f"unix:///{OLD}"
        finally:
            server.stop(None).wait()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.Channel, messages: Any) -> None:
        self._channel = channel
        self._messages = messages

    def service(self, call: grpc.HandlerCallDetails) -> Any:
        if call.method.endswith("/GetContainerEvents"):
            return grpc.unary_stream_rpc_method_handler(partial(self._events, call.method))
        return grpc.unary_unary_rpc_method_handler(partial(self._pass_on, call.method))

    def _pass_on(self, method: str, request: bytes, context: grpc.ServicerContext) -> Any:
        if method.endswith("/CreateContainer"):
            asked = self._messages.CreateContainerRequest.FromString(request)
            asked.config.ClearField("CDI_devices")
            request = asked.SerializeToString()
        call: Any = self._channel.unary_unary(method)
        try:
            return call(request, timeout=context.time_remaining())
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")

    def _events(self, method: str, request: bytes, context: grpc.ServicerContext) -> Any:
        call: Any = self._channel.unary_stream(method)
        try:
            yield from call(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")
