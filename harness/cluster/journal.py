"""The journal of a run: one JSON document a line, flushed, so that a killed run can be read.

What the run possesses in the cluster is on the disk before it is used: see `Journal.possess`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

NAME = "events.jsonl"
"""In a run's folder."""


class Journal:
    """Appends to a file; ``None`` as path keeps nothing (tests)."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self.trouble = ""
        """Why not everything is in it, on a full disk for one."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def write(self, what: str, **fields: Any) -> None:
        """Note one thing, with the time in seconds since 1970."""
        line = json.dumps({"time": round(time.time(), 3), "what": what, **fields}, default=str)
        with self._lock:
            if self._file is not None:
                try:
                    self._file.write(line + "\n")
                    self._file.flush()
                except OSError as error:
                    self.trouble = f"{self._file.name} is not complete: {error.strerror}"

    def possess(self, what: str, **fields: Any) -> None:
        """Note what the run is about to have, or has; on the disk when this returns."""
        self.write(what, **fields)
        with self._lock:
            if self._file is not None and not self.trouble:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._file is not None:
                with suppress(OSError):  # what could not be written before cannot be now
                    self._file.close()
                self._file = None
