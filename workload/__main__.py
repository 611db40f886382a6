"""The command: reads options, does the role's part, reports."""

from __future__ import annotations

# ruff: noqa: E402
import gc

# Looking for cycles while modules are loaded takes a fifth of the start, and finds none. What comes
# later lives as long as this process, or is given back by name.
gc.disable()

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from workload import nodes, nvml, process
from workload import options as command_line
from workload.cuda import Cuda
from workload.exchange import ConsumerSide, ProducerSide, Waiting
from workload.options import End, Options
from workload.result import CudaDriver, Gpu, Problem, Result, Verdict, WorkloadError
from workload.task import Log, Task

_PARTS = {
    "borrow": "borrowing.borrow",
    "compute": "compute.compute",
    "consume": "consumer.consume",
    "export-all": "every_pair.export_all",
    "import-all": "every_pair.import_all",
    "probe": "probe.probe",
    "produce": "producer.produce",
}
"""The function of each command that uses GPUs."""


def _part(command: str) -> Callable[..., Any]:
    """Load a command's part of the program; all parts take as long as the rest of the start."""
    module, _, name = _PARTS[command].partition(".")
    function: Callable[..., Any] = getattr(import_module(f"workload.{module}"), name)
    return function


def main(arguments: Sequence[str]) -> int:
    """Run the workload and return its exit code."""
    result = Result("workload", process.describe(), environment=dict(os.environ))
    try:
        options = command_line.parse(arguments, os.environ)
        result.role, result.nonce = options.role, options.nonce
        if options.own_pid is not None:
            process.become(options.own_pid)  # before CUDA, which does not survive a fork
            result.process = process.describe()
        _run(options, result)
    except WorkloadError as error:
        result.end(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the result must say so
        traceback.print_exc()
        problem = Problem("run", f"{type(error).__name__}: {error}", blame="workload")
        result.end(WorkloadError(Verdict.WORKLOAD_FAULT, problem))
    return _report(result)


def _run(options: Options, result: Result) -> None:
    if options.command == "rest":
        _rest(options, result)
    elif options.command == "inventory":
        _prepare(options, result)
    elif options.command in ("compute", "probe", "import-all"):
        _part(options.command)(_prepare(options, result))
    else:
        waiting = Waiting(options.patience)
        with waiting.heeding_signals():
            try:
                _exchange(options, waiting, result)
            finally:  # whoever ends this pod now shall get the result, which is all that is left
                signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


def _rest(options: Options, result: Result) -> None:
    """Report, then wait for SIGTERM; touch no GPU: for a pod that only has a claim."""
    # Blocked: what has no handler is not even sent to the first process of a PID namespace.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    Log(options.role).say("at rest")
    result.device_nodes, result.metadata = nodes.names(), nodes.metadata()
    print(result.line(), flush=True)
    told = signal.sigtimedwait((signal.SIGTERM,), options.patience)
    if told is None and options.end is End.KILL:
        process.kill_oneself()


def _exchange(options: Options, waiting: Waiting, result: Result) -> None:
    """Do the part of a process that meets another one."""
    if options.command == "lend":
        from workload import lending, meeting  # noqa: PLC0415 - as every part

        assert options.folder  # the options need it
        name = lending.SOCKET.format(options.nonce)
        door = meeting.Door(options.folder, name)  # before CUDA, likewise
        lending.lend(_prepare(options, result), door, waiting)
        return
    part = _part(options.command)
    if options.command in ("borrow", "export-all"):
        part(_prepare(options, result), waiting)
        return
    if options.command == "produce":
        producer = ProducerSide(options.folder)  # before CUDA, which takes its time
        part(_prepare(options, result), producer, waiting)
        return
    consumer = ConsumerSide(options.folder)
    try:
        part(_prepare(options, result), consumer, waiting)
    except WorkloadError as error:
        consumer.tell(error.verdict)
        raise
    consumer.tell(Verdict.OK)


def _prepare(options: Options, result: Result) -> Task:
    """Load NVML and CUDA, show the GPUs, and find those to use.

    Raises:
        WorkloadError: there is no driver, no GPU, or not the right one.
    """
    log = Log(options.role)
    result.device_nodes, result.metadata = nodes.names(), nodes.metadata()
    result.forbidden_nodes = nodes.forbidden(result.device_nodes)
    links: nvml.Links = {}
    try:
        shown = nvml.look()
    except nvml.NvmlError as error:
        result.nvml_error = str(error)
    else:
        result.driver_version, result.nvml, links = shown.driver_version, shown.gpus, shown.links
    try:
        cuda = Cuda()
    except WorkloadError as error:
        if error.verdict is Verdict.NO_GPU:
            log.gpus([])
        raise
    result.cuda, result.gpus = CudaDriver(cuda.version), tuple(cuda.gpus)
    result.peers = cuda.peers(links)
    log.gpus(cuda.gpus)
    return Task(options, cuda, _allocated(options, cuda.gpus), result, log)


def _allocated(options: Options, visible: list[Gpu]) -> list[Gpu]:
    """The GPUs to use, in order.

    Raises:
        WorkloadError: an allocated one is not visible.
    """
    by_uuid = {gpu.uuid: gpu for gpu in visible}
    if missing := [uuid for uuid in options.gpus if uuid not in by_uuid]:
        raise WorkloadError(
            Verdict.WRONG_GPU,
            Problem(
                "find the allocated GPUs",
                f"{', '.join(missing)} not visible; visible are {', '.join(by_uuid)}",
            ),
        )
    return [by_uuid[uuid] for uuid in options.gpus] or visible


def _report(result: Result) -> int:
    """Write the termination message, then the result as the log's last line."""
    path = Path(os.environ.get("DRA_TERMINATION_LOG") or "/dev/termination-log")
    try:
        # The kubelet makes the file; outside of a pod there is none, and none is wanted.
        if path.exists() or "DRA_TERMINATION_LOG" in os.environ:
            path.write_text(result.termination_message())
    except OSError as error:
        print(f"Workload: no termination message: {error}", file=sys.stderr, flush=True)
    if result.error:
        print(Log(result.role).prefix + f"{result.verdict}: {result.error.sentence()}", flush=True)
    print(result.line(), flush=True)
    return result.verdict.exit


def _be_silent() -> None:
    """Say nothing more: in a broken context, libraries complain while they are taken down."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    # A container's log knows no order between its two streams, and the result is the last line.
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    code = main(sys.argv[1:])
    _be_silent()
    if threading.active_count() > 1:
        os._exit(code)  # a call of CUDA that gives no answer would hold up the end
    sys.exit(code)
