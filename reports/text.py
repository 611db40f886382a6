"""Text that every reader of reports accepts."""

from __future__ import annotations

import re

_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NOT_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Remove terminal codes and control characters, which XML and HTML do not take."""
    return _NOT_TEXT.sub("", _TERMINAL_CODES.sub("", text))
