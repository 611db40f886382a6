"""A container runtime that is older than CDI: it takes no notice of the devices of containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

SOCKET = "run/containerd/containerd.sock"
"""Where the node's own runtime is."""
OLD = "run/containerd/without-cdi.sock"
CONFIG, CDI_DEVICES = 2, 17
"""Of a call that creates a container its configuration, and of that its CDI devices, by their
numbers in the protocol (runtime/v1/api.proto of k8s.io/cri-api)."""


@contextmanager
def without_cdi(node: Path) -> Iterator[str]:
    """Have a runtime for the kubelet that passes on all but CDI devices; answers its endpoint.

    Args:
        node: the node's root directory as seen from here.
    """
    with (
        ThreadPoolExecutor(32) as threads,  # they end once the channel has
        grpc.insecure_channel(f"unix:{node / SOCKET}") as channel,
    ):
        server = grpc.server(threads, handlers=[_Handler(channel)])
        server.add_insecure_port(f"unix:{node / OLD}")
        server.start()
        try:
            yield f"unix:///{OLD}"
        finally:
            server.stop(None).wait()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def service(self, call: grpc.HandlerCallDetails) -> Any:
        if call.method.endswith("/GetContainerEvents"):
            return grpc.unary_stream_rpc_method_handler(partial(self._events, call.method))
        return grpc.unary_unary_rpc_method_handler(partial(self._pass_on, call.method))

    def _pass_on(self, method: str, request: bytes, context: grpc.ServicerContext) -> Any:
        if method.endswith("/CreateContainer"):
            request = _altered(request, CONFIG, lambda one: _altered(one, CDI_DEVICES, _nothing))
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


def _nothing(_value: bytes) -> None:
    return None


def _altered(message: bytes, number: int, alter: Callable[[bytes], bytes | None]) -> bytes:
    """A message with a field altered, wherever it stands; None leaves it out.

    All fields up to there are numbers, or have a length: the protocol knows no others.
    """
    altered, at = b"", 0
    while at < len(message):
        key, start = _number(message, at)
        value, end = _number(message, start)
        if key & 7 == 2:
            start, end = end, end + value
            if key >> 3 == number:
                new = alter(message[start:end])
                altered += b"" if new is None else _varint(key) + _varint(len(new)) + new
                at = end
                continue
        altered += message[at:end]
        at = end
    return altered


def _number(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    written = b""
    while value > 0x7F:
        written += bytes([value & 0x7F | 0x80])
        value >>= 7
    return written + bytes([value])
