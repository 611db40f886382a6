"""``libcuda.so.1`` itself: calls by name, for what PyCUDA does not offer or does not say.

PyCUDA's exceptions carry CUDA's text but not its number, and not all functions and flags can be
reached through it. Source of the calls: the CUDA Driver API reference.
"""

from __future__ import annotations

import ctypes
from functools import cache

from workload.result import HANDLE_BYTES

_LARGEST_CODE = 999
"""``CUDA_ERROR_UNKNOWN``, the last of ``CUresult``."""


class Handle(ctypes.Structure):
    """``CUipcMemHandle`` and ``CUipcEventHandle``: passed by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class Library:
    """The driver's library; functions work on the calling thread's current context."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def call(self, function: str, *arguments: object) -> int:
        """Call a function and return its ``CUresult``.

        Args:
            function: its name, with the version's suffix.
            arguments: ctypes values of the declared types; a Python number is an ``int``.
        """
        code: int = getattr(self._library, function)(*arguments)
        return code

    def has(self, function: str) -> bool:
        """Whether this version of the library has a function."""
        return hasattr(self._library, function)

    def name(self, code: int) -> str | None:
        """A code's name: ``CUDA_ERROR_INVALID_VALUE``."""
        return self._words("cuGetErrorName", code)

    def text(self, code: int) -> str | None:
        """What a code means: ``invalid argument``."""
        return self._words("cuGetErrorString", code)

    @cache  # noqa: B019 - one object a process
    def codes(self) -> dict[str, int]:
        """Every error's code by its text, the longest text first: one may begin like another."""
        codes = {text: code for code in range(_LARGEST_CODE, 0, -1) if (text := self.text(code))}
        return dict(sorted(codes.items(), key=lambda item: -len(item[0])))

    def _words(self, function: str, code: int) -> str | None:
        answer = ctypes.c_char_p()
        if self.call(function, code, ctypes.byref(answer)) or not answer.value:
            return None
        return answer.value.decode()
