"""The command line: every option also as environment variable, every error with its remedy."""

from __future__ import annotations

import argparse
import enum
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from workload import attempts
from workload.buffer import DOORBELLS, PAGE
from workload.result import Offer, Problem, Verdict, WorkloadError

T = TypeVar("T")

_DESCRIPTION = """\
Shows the GPUs of a container and shares GPU memory between processes by CUDA IPC. Every option can
also be given as environment variable: --gpus as DRA_GPUS, and so on; the command line wins."""


OWN = "own"
"""The value of ``--rewrite-pid`` that stands for the consumer's own PID."""


class End(enum.StrEnum):
    """How a process ends: a producer instead of waiting for the consumer, one at rest at last."""

    EXIT = "exit"
    """At once, in order."""
    KILL = "kill"
    """At once, by SIGKILL."""
    KILL_WHEN_RUNG = "kill-when-rung"
    """By SIGKILL when the doorbell is rung."""


@dataclass(frozen=True)
class Size:
    """How much memory."""

    bytes: int = 0
    percent: float = 0
    """Of the GPU's free memory, where no bytes are given."""


@dataclass(frozen=True)
class Options:
    """What to do."""

    command: str
    role: str
    """How the process calls itself in its log: ``producer``, ``consumer``, or as asked for."""
    own_pid: int | None = None
    nonce: str | None = None
    gpus: tuple[str, ...] = ()
    """UUIDs of the allocated GPUs in order; empty: the visible ones."""
    folder: Path | None = None
    """Where the offer is handed over."""
    offer: Offer | None = None
    """The partner's, where there is no folder."""
    bytes: int = 0
    """Of the producer's allocation; of what is measured (0: all)."""
    size: Size = Size()
    """Of what is computed on."""
    foreign: str | None = None
    """The nonce of another run, whose words must not be seen."""
    patience: float = 60
    """Seconds to wait: for the partner, or at rest."""
    extras: bool = False
    """Whether the offer has them."""
    consumers: int = 1
    """How many doorbells the producer waits for."""
    end: End | None = None
    read_only: bool = False
    """Whether the consumer only looks."""
    index: int = 0
    """Which of the doorbells is the consumer's."""
    rewrite_pid: int | str | None = None
    """What to write over the PID in the handle: a number or `OWN`."""
    until_gone: bool = False
    """Whether the consumer verifies again when the producer is gone."""
    attempts: tuple[str, ...] = ()
    """What to try; empty: all that the offer has."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line.

    Raises:
        WorkloadError: something is wrong with it (verdict usage).
        SystemExit: help was asked for.
    """
    given = _parser().parse_args(arguments)
    values = _Values(vars(given), environment)
    read = {
        "rest": _rest,
        "inventory": _inventory,
        "compute": _compute,
        "produce": _produce,
        "consume": _consume,
        "probe": _probe,
        "measure": _measure,
    }[given.command]
    return replace(read(values), own_pid=values.take("own-pid", _pid))


def _rest(values: _Values) -> Options:
    return Options(
        "rest",
        values.take("role", _role) or "rest",
        patience=values.take("patience", _patience) or 60.0,
        end=values.take("end", _end),
    )


def _inventory(values: _Values) -> Options:
    return Options("inventory", values.take("role", _role) or "inventory")


def _compute(values: _Values) -> Options:
    return Options(
        "compute",
        values.take("role", _role) or "compute",
        nonce=values.need("nonce", _nonce, "give the run's nonce, from which the pattern comes"),
        gpus=values.take("gpus", _gpus) or (),
        size=values.take("bytes", _size) or Size(64 << 20),
        foreign=values.take("foreign", _nonce),
    )


_SAME_NONCE = "give the run's nonce, the same to producer and consumer"


def _produce(values: _Values) -> Options:
    folder, end = values.take("folder", _folder), values.take("end", _end)
    extras = bool(values.take("extras", _flag))
    if bool(values.take("log", _flag)) == (folder is not None):
        _refuse("give either --folder DIR, where the consumer sees it too, or --log")
    if folder and extras:
        _refuse("--extras: an offer with extras is too long for --folder: give --log")
    if folder and end in (End.EXIT, End.KILL):
        _refuse(f"--end: {end}: an offer in a folder is gone with its producer: give --log")
    return Options(
        "produce",
        "producer",
        nonce=values.need("nonce", _nonce, _SAME_NONCE),
        gpus=values.take("gpus", _gpus) or (),
        folder=folder,
        bytes=values.take("bytes", _bytes) or 64 << 20,
        patience=values.take("patience", _patience) or 60.0,
        extras=extras,
        consumers=values.take("consumers", _consumers) or 1,
        end=end,
    )


def _consume(values: _Values) -> Options:
    folder, offer = values.take("folder", _folder), values.take("offer", _offer)
    until_gone = bool(values.take("until-gone", _flag))
    if (offer is None) == (folder is None):
        _refuse("give either --folder DIR, where the producer sees it too, or --offer JSON")
    if until_gone and not folder:
        _refuse("--until-gone: only in a folder the producer's end is noticed: give --folder DIR")
    return Options(
        "consume",
        "consumer",
        nonce=values.need("nonce", _nonce, _SAME_NONCE),
        gpus=values.take("gpus", _gpus) or (),
        folder=folder,
        offer=offer,
        patience=values.take("patience", _patience) or 60.0,
        read_only=bool(values.take("read-only", _flag)),
        index=values.take("index", _index) or 0,
        rewrite_pid=values.take("rewrite-pid", _pid_or_own),
        until_gone=until_gone,
    )


def _probe(values: _Values) -> Options:
    offer = values.need("offer", _offer, "give the JSON that the producer's log has")
    chosen = values.take("attempt", _attempts) or ()
    if missing := [name for name in chosen if attempts.NAMES[name] and not offer.extras]:
        _refuse(f"--attempt: {missing[0]}: the offer has no extras: give one of produce --extras")
    return Options(
        "probe",
        "probe",
        nonce=values.take("nonce", _nonce) or offer.nonce,
        gpus=values.take("gpus", _gpus) or (),
        offer=offer,
        attempts=chosen,
    )


def _measure(values: _Values) -> Options:
    offer = values.need("offer", _offer, "give the JSON that the producer's log has")
    size = values.take("bytes", _page_multiple)
    if size and size > offer.bytes - PAGE:
        _refuse(f"--bytes: {size} is more than the {offer.bytes - PAGE} that the offer has")
    return Options(
        "measure",
        "measure",
        nonce=values.take("nonce", _nonce) or offer.nonce,
        gpus=values.take("gpus", _gpus) or (),
        offer=offer,
        bytes=size or offer.bytes - PAGE,
    )


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

    def flag(sub: argparse.ArgumentParser, name: str, text: str) -> None:
        sub.add_argument(name, action="store_const", const="1", help=text)

    rest = command("rest", "touch no GPU, until SIGTERM or the patience ends it")
    inventory = command("inventory", "show the visible GPUs")
    compute = command("compute", "fill and verify fresh memory on all allocated GPUs at once")
    produce = command("produce", "fill GPU memory, offer it, verify what the consumer wrote")
    consume = command("consume", "open offered GPU memory, verify it, write back")
    probe = command("probe", "try to open offered GPU memory in right and wrong ways")
    measure = command("measure", "measure how fast offered GPU memory is opened, read and written")
    for sub in (rest, inventory, compute):
        sub.add_argument("--role", metavar="NAME", help="how to call itself in the log")
    for sub in (compute, produce, consume, probe, measure):
        sub.add_argument(
            "--nonce", metavar="N", help="the run's own word; other offers are refused"
        )
        sub.add_argument("--gpus", metavar="UUID[,UUID]", help="allocated GPUs; the first exports")
    for sub in (produce, consume):
        sub.add_argument("--folder", metavar="DIR", help="shared folder to hand the offer over in")
    for sub in (rest, produce, consume):
        sub.add_argument("--patience", metavar="S", help="seconds to wait, for a partner (60)")
    for sub in (consume, probe, measure):
        sub.add_argument("--offer", metavar="JSON", help="the offer from the producer's log")
    compute.add_argument(
        "--bytes", metavar="N|P%", help="size on each GPU, or share of what is free (67108864)"
    )
    compute.add_argument(
        "--foreign", metavar="NONCE", help="first look for words of this run in the fresh memory"
    )
    flag(produce, "--log", "hand the offer over in the log")
    produce.add_argument("--bytes", metavar="N", help="size of the allocation (67108864)")
    flag(produce, "--extras", "offer more handles, for probe")
    produce.add_argument("--consumers", metavar="N", help="wait for so many doorbells (1)")
    for sub, when in (
        (rest, "how to end when the patience is over (exit)"),
        (produce, "end when the offer is out, or when the doorbell is rung, and do not verify"),
    ):
        sub.add_argument("--end", metavar="|".join(End), help=when)
    flag(consume, "--read-only", "verify, and write nothing back")
    consume.add_argument("--index", metavar="K", help="the doorbell to ring, from 0 on (0)")
    consume.add_argument(
        "--rewrite-pid", metavar="N|own", help="write this over the PID in the handle"
    )
    flag(consume, "--until-gone", "verify the mapping again when the producer is gone")
    probe.add_argument(
        "--attempt", metavar="NAME[,NAME]", help=f"of {', '.join(attempts.NAMES)} (all)"
    )
    measure.add_argument("--bytes", metavar="N", help="how much to read and write (all)")
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


def _page_multiple(text: str) -> int:
    if not text.isdecimal() or int(text) % PAGE or not int(text):
        raise ValueError(f"{text!r} is no size: give a multiple of {PAGE} (2 MiB)")
    return int(text)


def _size(text: str) -> Size:
    if not text.endswith("%"):
        return Size(_page_multiple(text))
    try:
        percent = float(text[:-1])
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise ValueError(f"{text!r} is no share: give more than 0% and at most 100%")
    return Size(percent=percent)


def _consumers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= DOORBELLS:
        raise ValueError(f"{text!r} is no number of consumers: give 1 to {DOORBELLS}")
    return int(text)


def _index(text: str) -> int:
    if not text.isdecimal() or int(text) >= DOORBELLS:
        raise ValueError(f"{text!r} is no doorbell: give 0 to {DOORBELLS - 1}")
    return int(text)


def _pid_or_own(text: str) -> int | str:
    if text == OWN:
        return OWN
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise ValueError(f"{text!r} is neither a number of 32 bits nor {OWN!r}")
    return int(text)


def _end(text: str) -> End:
    try:
        return End(text)
    except ValueError:
        raise ValueError(f"{text!r} is no end: give one of {', '.join(End)}") from None


def _attempts(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in names if name not in attempts.NAMES]:
        raise ValueError(f"{unknown[0]!r} is no attempt: give some of {', '.join(attempts.NAMES)}")
    return names


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
