"""Runs the driver: ``python -m kubelet_plugin``, in a DaemonSet's pod, until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import DRIVER
from .api import Api
from .bindings import Binder
from .cdi import Cdi
from .channels import channels
from .claims import Claims
from .faults import FILE, FaultError, Faults, Point
from .gpus import discover
from .services import Plugin
from .slices import Publisher
from .status import Status

PREPARED = "reference_driver_prepared_devices"
"""The one metric."""

log = logging.getLogger(__package__)


def main() -> None:
    """Put the parts together, start them, and stop them in the opposite order."""
    options = _options()
    # Blocked before the first thread starts, in all of them: `sigwait` below gets them.
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    threading.excepthook = _end_with_a_broken_thread
    folder = options.kubelet_root / "plugins" / DRIVER
    folder.mkdir(parents=True, exist_ok=True)
    faults = Faults(folder / FILE)
    api = Api.in_cluster()
    gpus = channels(options.channels) if options.channels else discover(options.gpus)
    claims = Claims(
        node=options.node_name,
        gpus=gpus,
        read=api.claim,
        cdi=Cdi(options.cdi_root, None if options.channels else options.driver_root),
        checkpoint=folder / "checkpoint.json",
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        faults=faults,
        schema=int(os.environ.get("DRIVER_VERSION", "1")),
    )
    registry = options.kubelet_root / "plugins_registry"
    status = Status(api, options.node_name, gpus, faults)
    plugin = Plugin(folder, registry, claims, [gpu.name for gpu in gpus], status.tell)
    publisher = Publisher(
        api, options.node_name, gpus, faults, held=claims.held, first=claims.first
    )
    plugin.start()
    publisher.start()
    binder = Binder(api, options.node_name, faults, publisher.binding)
    threading.Thread(target=binder.run, daemon=True).start()
    threading.Thread(target=_watch, args=(faults, publisher, plugin, claims), daemon=True).start()
    probes = {
        "/healthz": plugin.answers,
        "/readyz": lambda: faults.alter(
            Point.READY,
            plugin.registered.is_set() and publisher.published.is_set() and plugin.answers(),
        ),
    }
    probe_server = ThreadingHTTPServer(("", options.port), _handler(probes, claims))
    threading.Thread(target=probe_server.serve_forever, daemon=True).start()
    log.info("%s on %s with %d devices", DRIVER, options.node_name, len(gpus))
    signal.sigwait(stop)
    plugin.stop()
    publisher.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kubelet_plugin", description=__doc__)
    parser.add_argument("--node-name", default=os.environ.get("NODE_NAME"), help="or NODE_NAME")
    for option, default, text in (
        ("--kubelet-root", "/var/lib/kubelet", "the kubelet's folder"),
        ("--cdi-root", "/var/run/cdi", "where the runtime looks for CDI specifications"),
        ("--driver-root", "/run/nvidia/driver", "where the vendor's libraries lie"),
        ("--gpus", "/run/simulated-gpus", "where the simulated GPUs describe themselves"),
    ):
        parser.add_argument(option, default=default, type=Path, help=f"{text} (%(default)s)")
    parser.add_argument(
        "--channels", default=0, type=int, help="publish so many IMEX channels and no GPU"
    )
    parser.add_argument(
        "--port", default=8080, type=int, help="of probes and metrics (%(default)s)"
    )
    options = parser.parse_args()
    if not options.node_name:
        parser.error("--node-name or NODE_NAME must name the node that this runs on")
    return options


def _watch(faults: Faults, publisher: Publisher, plugin: Plugin, claims: Claims) -> None:
    for name in faults.changes():
        log.warning("fault: %s", name or "none")
        publisher.wake()
        plugin.report_health()
        if not name:
            claims.tidy()


def _end_with_a_broken_thread(broken: threading.ExceptHookArgs) -> None:
    """A driver of which a part is dead must not look alive: the kubelet starts it anew."""
    sys.excepthook(broken.exc_type, broken.exc_value or SystemExit(), broken.exc_traceback)
    os._exit(1)


def _handler(
    probes: Mapping[str, Callable[[], bool]], claims: Claims
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            probe = probes.get(self.path)
            if self.path == "/metrics":
                self._answer(200, f"{PREPARED} {claims.count()}\n")
            else:
                self._answer(404 if probe is None else 200 if probe() else 503)

        def _answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """A line every second would be too much."""

    return Handler


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        main()
    except (OSError, ValueError, FaultError) as error:
        sys.exit(f"error: {error}")
