"""The command line: every option also as environment variable, every error with its remedy."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from workload.buffer import PAGE
from workload.result import Offer, Problem, Verdict, WorkloadError

T = TypeVar("T")

_DESCRIPTION = """\
Shows the GPUs of a container and shares GPU memory between processes by CUDA IPC. Every option can
also be given as environment variable: --gpus as DRA_GPUS, and so on; the command line wins."""


@dataclass(frozen=True)
class Options:
    """What to do."""

    command: str
    """``inventory``, ``produce`` or ``consume``."""
    role: str
    """How the process calls itself in its log: ``producer``, ``consumer``, or as asked for."""
    own_pid: int | None = None
    nonce: str | None = None
    gpus: tuple[str, ...] = ()
    """UUIDs of the allocated GPUs in order; empty: the visible ones."""
    folder: Path | None = None
    """Where the offer is handed over."""
    offer: Offer | None = None
    """The consumer's, where there is no folder."""
    bytes: int = 0
    patience: float = 60
    """Seconds to wait for the partner."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line.

    Raises:
        WorkloadError: something is wrong with it (verdict usage).
        SystemExit: help was asked for.
    """
    given = _parser().parse_args(arguments)
    options = _Values(vars(given), environment)
    own_pid = options.take("own-pid", _pid)
    if given.command == "inventory":
        return Options(given.command, options.take("role", _role) or "inventory", own_pid)
    nonce = options.need("nonce", _nonce, "give the run's nonce, the same to producer and consumer")
    gpus = options.take("gpus", _gpus) or ()
    folder = options.take("folder", _folder)
    patience = options.take("patience", _patience) or 60.0
    if given.command == "produce":
        if bool(options.take("log", _flag)) == (folder is not None):
            _refuse("give either --folder DIR, where the consumer sees it too, or --log")
        size = options.take("bytes", _bytes) or 64 << 20
        return Options("produce", "producer", own_pid, nonce, gpus, folder, None, size, patience)
    offer = options.take("offer", _offer)
    if (offer is None) == (folder is None):
        _refuse("give either --folder DIR, where the producer sees it too, or --offer JSON")
    return Options("consume", "consumer", own_pid, nonce, gpus, folder, offer, 0, patience)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _refuse(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    # Values stay text here: they may come from the environment, too, and are judged in one place.
    everywhere = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument(
        "--own-pid",
        metavar="N",
        help="fork until this process's own PID is N (needs a PID namespace)",
    )
    parser = _Parser("workload", description=_DESCRIPTION, parents=[everywhere])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text,
            parents=[everywhere],
            argument_default=argparse.SUPPRESS,
        )

    inventory = command("inventory", "show the visible GPUs")
    inventory.add_argument("--role", metavar="NAME", help="how to call itself in the log")
    produce = command("produce", "fill GPU memory, offer it, verify what the consumer wrote")
    consume = command("consume", "open offered GPU memory, verify it, write back")
    for sub in (produce, consume):
        sub.add_argument(
            "--nonce", metavar="N", help="the run's own word; other offers are refused"
        )
        sub.add_argument("--gpus", metavar="UUID[,UUID]", help="allocated GPUs; the first exports")
        sub.add_argument("--folder", metavar="DIR", help="shared folder to hand the offer over in")
        sub.add_argument("--patience", metavar="S", help="seconds to wait for the partner (60)")
    produce.add_argument(
        "--log", action="store_const", const="1", help="hand the offer over in the log"
    )
    produce.add_argument("--bytes", metavar="N", help="size of the allocation (67108864)")
    consume.add_argument("--offer", metavar="JSON", help="the offer from the producer's log")
    return parser


class _Values:
    """Options by name: from the command line, else from the environment."""

    def __init__(self, given: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self._given = given
        self._environment = environment

    def take(self, name: str, read: Callable[[str], T]) -> T | None:
        """The value, if there is one."""
        attribute = name.replace("-", "_")
        variable = f"DRA_{attribute.upper()}"
        text, source = self._given.get(attribute), f"--{name}"
        if text is None:
            text, source = self._environment.get(variable) or None, variable
        if text is None:
            return None
        try:
            return read(str(text))
        except ValueError as error:
            _refuse(f"{source}: {error}")

    def need(self, name: str, read: Callable[[str], T], remedy: str) -> T:
        """The value, which must be given."""
        value = self.take(name, read)
        if value is None:
            _refuse(f"--{name} (or DRA_{name.upper()}) is missing: {remedy}")
        return value


def _refuse(text: str) -> NoReturn:
    raise WorkloadError(Verdict.USAGE, Problem("options", text))


def _pid(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1 << 22:
        raise ValueError(f"{text!r} is not a PID: give a number from 1 to 4194304")
    return int(text)


def _role(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]{0,62}", text):
        raise ValueError(f"{text!r} is no role: give a word such as `producer`")
    return text.lower()


def _nonce(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError(f"{text!r} is no nonce: give up to 64 letters, digits, dots, dashes")
    return text


def _gpus(text: str) -> tuple[str, ...]:
    uuids = tuple(part.strip() for part in text.split(",") if part.strip())
    for uuid in uuids:
        if not re.fullmatch(r"(GPU|MIG)-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", uuid):
            raise ValueError(
                f"{uuid!r} is not a GPU's UUID: give the `uuid` attributes of the allocated devices"
                " (GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx), separated by commas"
            )
    if len(set(uuids)) < len(uuids):
        raise ValueError(f"{text!r} names a GPU twice: give each allocated device once")
    return uuids


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise ValueError(
            f"{text!r} is not a directory here: mount a folder that both processes see"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{text!r} cannot be written by uid {os.getuid()}: make it writable")
    return folder


def _flag(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError(f"{text!r} is neither yes nor no: give 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _bytes(text: str) -> int:
    if not text.isdecimal() or int(text) % PAGE or int(text) < 2 * PAGE:
        raise ValueError(
            f"{text!r} is no size: give a multiple of {PAGE} (2 MiB), at least {2 * PAGE}"
        )
    return int(text)


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise ValueError(f"{text!r} is no time to wait: give seconds, more than 0, at most 86400")
    return seconds


def _offer(text: str) -> Offer:
    try:
        offer = Offer.parse(text)
    except ValueError as error:
        raise ValueError(
            f"{error}: give the JSON that follows `Producer: offer` in its log"
        ) from error
    if offer.bytes % PAGE or offer.bytes < 2 * PAGE:
        raise ValueError(
            f"'bytes' is {offer.bytes}, not a multiple of 2 MiB that is at least 4 MiB"
        )
    return offer
