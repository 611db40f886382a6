"""A container's log while it is written, read by a thread of its own."""

from __future__ import annotations

import threading

from harness.cluster.kinds import Object
from harness.cluster.kube import ApiError, Kube, Stream, UnreachableError
from harness.cluster.observe import Observer


class LogFollower:
    """Collects a started container's log, and has waiting questions asked again at each line."""

    def __init__(self, kube: Kube, observer: Observer, pod: Object, container: str) -> None:
        self.trouble = ""
        """Why the log ended early, if it did."""
        self._kube = kube
        self._observer = observer
        self._pod = pod
        self._container = container
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._stream: Stream | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """What has come so far."""
        with self._lock:
            return list(self._lines)

    def ended(self) -> bool:
        """Whether nothing more will come."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Follow no longer."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self._stream = self._kube.follow_log(self._pod, self._container)
            if self._closed:
                self._stream.close()
            for line in self._stream.lines():
                with self._lock:
                    self._lines.append(line.decode("utf-8", "replace"))
                self._observer.poke()
        except (ApiError, UnreachableError) as error:
            self.trouble = str(error)
        finally:
            self._observer.poke()
