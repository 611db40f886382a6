"""A machine of the embedded cluster: a set of namespaces and its first process.

The control plane and each node are such machines. The first process of a PID namespace starts the
components, takes over orphans, and when it ends (or is killed) the kernel ends everything in the
namespace, drops its mounts and its network devices. That is why nothing can be left behind.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from embedded.deaths import leave_word

STARTUP_SECONDS = 60
LOG_LINES = 15
RESTART_KUBELET = signal.SIGHUP
"""What has a node's first process restart its kubelet."""


class MachineError(Exception):
    """A component did not start; the message is for people."""


class Machine:
    """The first process's view of its machine: the components it started."""

    def __init__(self, name: str, logs: Path, deaths: Path) -> None:
        self.name = name
        self._logs = logs
        self._deaths = deaths
        self._components: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts: dict[str, Callable[[], None]] = {}
        self._restarting: set[str] = set()
        logs.mkdir(parents=True, exist_ok=True)
        # The first process of a PID namespace has no default signal actions: without a handler
        # SIGTERM would be ignored.
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def start(
        self,
        component: str,
        argv: Sequence[str | Path],
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start a component; its output goes to a log of its name."""
        self._restarts[component] = partial(self.start, component, argv, pass_fds)
        with self._log(component).open("ab") as log:
            self._components[component] = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    def adopt(self, component: str, process: subprocess.Popen[bytes]) -> None:
        """Watch over a process that was started elsewhere."""
        self._components[component] = process

    def restart_on(self, number: signal.Signals, component: str) -> None:
        """End a component and start it again whenever a signal comes; `supervise` does it."""

        def restart(_signum: int, _frame: FrameType | None) -> None:
            self._restarting.add(component)
            self._components[component].send_signal(signal.SIGTERM)

        signal.signal(number, restart)

    def wait_until(self, what: str, ready: Callable[[], bool], *components: str) -> None:
        """Wait until ``ready()``; end early when one of the components has ended.

        Raises:
            MachineError: a component ended, or it took longer than ``STARTUP_SECONDS``.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while not ready():
            for component in components:
                status = self._components[component].poll()
                if status is not None:
                    raise MachineError(self._obituary(component, status))
            if time.monotonic() > deadline:
                logs = "\n".join(self._end_of_log(component) for component in components)
                raise MachineError(
                    f"{what} on {self.name}: not ready in {STARTUP_SECONDS} s\n{logs}"
                )
            # Readiness of a server that has just been started cannot be watched, only asked for.
            time.sleep(0.02)

    def supervise(self) -> None:
        """Reap every child for as long as the machine lives; record components that end.

        Those that are to be restarted are.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            for component, process in self._components.items():
                if process.pid != pid:
                    continue
                if component in self._restarting:
                    self._restarting.remove(component)
                    self._restarts[component]()
                    break
                self.record(component, self._obituary(component, os.waitstatus_to_exitcode(status)))

    def record(self, component: str, text: str) -> None:
        """Leave word of a death for the cluster's owner."""
        print(text, file=sys.stderr, flush=True)
        leave_word(self._deaths, f"{self.name}-{component}", text)

    def _log(self, component: str) -> Path:
        return self._logs / f"{component}.log"

    def _obituary(self, component: str, status: int) -> str:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{component} on {self.name} {how}\n{self._end_of_log(component)}"

    def _end_of_log(self, component: str) -> str:
        path = self._log(component)
        if not path.is_file():
            return ""
        lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return f"the end of {component}.log:\n  " + "\n  ".join(lines)


def unshared(module: str, *arguments: str | Path) -> list[str]:
    """The command that runs a Python module as first process of a new machine."""
    return [
        *("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--mount-proc"),
        *("--net", "--uts", "--ipc", "--", sys.executable, "-P", "-m", module),
        *map(str, arguments),
    ]


def environment() -> dict[str, str]:
    """The environment in which `unshared` finds the module, whatever the working directory is."""
    found = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}


def run(*argv: str | Path) -> str:
    """Run a short command and return its output.

    Raises:
        MachineError: it failed; the message is the command and what it said.
    """
    command = [str(word) for word in argv]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise MachineError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def answers(url: str, ca: str) -> bool:
    """Whether an HTTPS server answers 200 at ``url`` (``ca``: the authority's certificate, PEM)."""
    context = ssl.create_default_context(cadata=ca)
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """Nothing needs an orderly end: the state is thrown away with the machine."""
    os._exit(0)
