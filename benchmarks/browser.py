"""A headless Chromium, driven by the DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

PROGRAMS = ("chromium-headless-shell", "chromium")
"""Debian's packages of the same names have them."""
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39}
"""Keys that are pressed, with their codes."""


def program() -> str | None:
    """Find a Chromium on this machine."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of one browser."""

    def __init__(self, to: int, answers: int, said: Path) -> None:
        """Open a page.

        Args:
            to: file descriptor on which the browser takes commands.
            answers: file descriptor on which it answers.
            said: where the browser's own messages go.
        """
        self._to, self._answers, self._said = to, answers, said
        self._number, self._session, self._rest = 0, "", b""
        self.events: list[dict[str, Any]] = []
        """What the browser told unasked."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Let the browser do something; return what it answers.

        Raises:
            RuntimeError: it refused, or has ended.
        """
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") != self._number:
                self.events.append(told)
            elif "error" in told:
                raise RuntimeError(f"{method}: {told['error']}")
            else:
                return dict(told["result"])

    def open(self, page: Path) -> Self:
        """Show a file, and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(told["method"] == "Page.loadEventFired" for told in self.events):
            self.events.append(self._next())
        return self

    def look(self, width: int, scheme: str = "light") -> Self:
        """Show pages at this width, in pixels, in the ``light`` or the ``dark`` scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        return self

    def press(self, key: str) -> None:
        """Press a key of `KEYS` and let it go."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        about = {
            "key": key,
            "code": key.strip() or "Space",
            "windowsVirtualKeyCode": KEYS[key],
            "text": text,
        }
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript is, as JSON has it.

        Raises:
            RuntimeError: it threw an exception.
        """
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise RuntimeError(f"the browser ended: {self._said.read_text()[-2000:]}")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser(found: str, folder: Path) -> Iterator[Browser]:
    """Run a browser of its own, without network, that keeps nothing.

    Args:
        found: the program.
        folder: for its profile and its messages.
    """
    # The browser reads commands from its descriptor 3 and answers on its descriptor 4.
    command = (
        *("sh", "-c", 'exec 3<&0 4>&1 </dev/null >&2 "$@"', "sh", found, "--headless"),
        *("--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"),
        *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
        *("--no-first-run", "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND"),
    )
    said = folder / "browser.log"
    with said.open("wb") as log:
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Debian's program is a shell that waits for the real one
        )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        yield Browser(running.stdin.fileno(), running.stdout.fileno(), said)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        running.stdin.close()
        running.stdout.close()
