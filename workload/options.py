"""The command line: every option also as environment variable, every error with its remedy."""

from __future__ import annotations

import argparse
import enum
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from workload import attempts
from workload.buffer import DOORBELLS, PAGE
from workload.result import Offer, Problem, Verdict, WorkloadError

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
    log: bool = False
    """Whether the offer is handed over in the log."""
    folder: Path | None = None
    """Where the offer is handed over otherwise."""
    offer: Offer | None = None
    """The partner's, where there is no folder."""
    bytes: int = 64 << 20
    """Of the producer's allocation."""
    size: Size = Size(64 << 20)
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
    """Whether the consumer, or importer, verifies again when the producer is gone."""
    speeds: bool = False
    """Whether to measure how fast each pair of GPUs is."""
    measure: bool = False
    """Whether the importer measures how fast the memory is."""
    rounds: int = 0
    """How often memory is shared and given back after that."""
    attempts: tuple[str, ...] = ()
    """What to try; empty: all that the offer has."""


def _refuse(text: str) -> NoReturn:
    raise WorkloadError(Verdict.USAGE, Problem("options", text))


def _number(what: str, least: int, most: int) -> Callable[[str], int]:
    """What reads a whole number of these bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not {what}: give {least} to {most}")
        return int(text)

    return read


_pid = _number("a PID", 1, 1 << 22)
_consumers = _number("a number of consumers", 1, DOORBELLS)
_rounds = _number("a number of rounds", 1, 1000)
_doorbell = _number("a doorbell", 0, DOORBELLS - 1)


def _pages(text: str) -> int:
    if not text.isdecimal() or int(text) % PAGE or not int(text):
        raise ValueError(f"{text!r} is no size: give a multiple of {PAGE} (2 MiB)")
    return int(text)


def _role(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]{0,62}", text):
        raise ValueError(f"{text!r} is no role: give a word such as `producer`")
    return text.lower()


def _nonce(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError(f"{text!r} is no nonce: give up to 64 letters, digits, dots, dashes")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _gpus(text: str) -> tuple[str, ...]:
    uuids = _words(text)
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


def _fraction(text: str, most: float) -> float | None:
    """A number above 0 and at most ``most``; None for all else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number <= most else None


def _size(text: str) -> Size:
    if not text.endswith("%"):
        return Size(_pages(text))
    if (percent := _fraction(text[:-1], 100)) is None:
        raise ValueError(f"{text!r} is no share: give more than 0% and at most 100%")
    return Size(percent=percent)


def _patience(text: str) -> float:
    if (seconds := _fraction(text, 86400)) is None:
        raise ValueError(f"{text!r} is no time to wait: give seconds, more than 0, at most 86400")
    return seconds


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
    names = _words(text)
    if unknown := [name for name in names if name not in attempts.NAMES]:
        raise ValueError(f"{unknown[0]!r} is no attempt: give some of {', '.join(attempts.NAMES)}")
    return names


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


class _Option(NamedTuple):
    """One option."""

    name: str
    commands: str
    """Those that take it, separated by blanks."""
    read: Callable[[str], object]
    metavar: str | None
    """None for a flag."""
    help: str
    field: str = ""
    """Of `Options`, where it is not called as the option is."""


_COMMANDS = {
    "rest": "touch no GPU, until SIGTERM or the patience ends it",
    "inventory": "show the visible GPUs",
    "compute": "fill and verify fresh memory on all allocated GPUs at once",
    "produce": "fill GPU memory, offer it, verify what the consumer wrote",
    "consume": "open offered GPU memory, verify it, write back",
    "probe": "try to open offered GPU memory in right and wrong ways",
    "lend": "offer GPU memory by every mechanism that CUDA has",
    "borrow": "open what lend offers, verify it, write back",
    "export-all": "fill and offer memory of every GPU, verify what every GPU wrote",
    "import-all": "open every GPU's offered memory on every GPU, verify it, write back",
}
_ALL = " ".join(_COMMANDS)
_GPU = "compute produce consume probe lend borrow export-all import-all"
_OPTIONS = (
    _Option(
        "own-pid", _ALL, _pid, "N", "fork until this process's own PID is N, in a PID namespace"
    ),
    _Option(
        "role", "rest inventory compute lend borrow", _role, "NAME", "how to call itself in the log"
    ),
    _Option("nonce", _GPU, _nonce, "N", "the run's own word; other offers are refused"),
    _Option("gpus", _GPU, _gpus, "UUID[,UUID]", "allocated GPUs; the first exports"),
    _Option(
        *("folder", "produce consume lend borrow", _folder, "DIR"),
        "shared folder to hand the offer over in",
    ),
    _Option(
        "patience",
        "rest produce consume lend borrow export-all",
        _patience,
        "S",
        "seconds to wait, for a partner (60)",
    ),
    _Option(
        *("offer", "consume probe import-all", _offer, "JSON"), "the offer from the producer's log"
    ),
    _Option(
        "bytes",
        "compute",
        _size,
        "N|P%",
        "size on each GPU, or share of what is free (67108864)",
        "size",
    ),
    _Option(
        "foreign", "compute", _nonce, "NONCE", "first look for this run's words in the fresh memory"
    ),
    _Option("log", "produce", _flag, None, "hand the offer over in the log"),
    _Option(
        *("bytes", "produce lend export-all", _pages, "N", "size of the allocation (67108864)")
    ),
    _Option("speeds", "import-all", _flag, None, "measure how fast each pair reads and writes"),
    _Option("extras", "produce", _flag, None, "offer more handles, for probe"),
    _Option("consumers", "produce lend", _consumers, "N", "wait for so many consumers (1)"),
    _Option("end", "rest", _end, "|".join(End), "how to end when the patience is over (exit)"),
    _Option(
        "end",
        "produce",
        _end,
        "|".join(End),
        "end when the offer is out or the doorbell is rung, and do not verify",
    ),
    _Option(
        *("end", "lend", _end, "exit|kill"),
        "end when the importer has opened what it can, and do not verify",
    ),
    _Option("read-only", "consume", _flag, None, "verify, and write nothing back"),
    _Option("index", "consume", _doorbell, "K", "the doorbell to ring, from 0 on (0)"),
    _Option(
        "rewrite-pid", "consume", _pid_or_own, "N|own", "write this over the PID in the handle"
    ),
    _Option("until-gone", "consume borrow", _flag, None, "verify again when the producer is gone"),
    _Option(
        "attempt",
        "probe",
        _attempts,
        "NAME[,NAME]",
        f"of {', '.join(attempts.NAMES)} (all)",
        "attempts",
    ),
    _Option("measure", "borrow", _flag, None, "measure how fast the memory is read and written"),
    _Option("rounds", "borrow", _rounds, "N", "share and give back memory so often after that (0)"),
)
_NEEDED = {
    "nonce": (
        "compute produce consume lend borrow export-all",
        "give the run's nonce, the same to all that take part",
    ),
    "folder": ("lend borrow", "give a folder that both processes see"),
    "offer": ("probe import-all", "give the JSON that the producer's log has"),
}
"""Options that must be given: to which commands, and the remedy."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line.

    Raises:
        WorkloadError: something is wrong with it (verdict usage).
        SystemExit: help was asked for.
    """
    given = vars(_parser().parse_args(arguments))
    command: str = given["command"]
    role = {"produce": "producer", "consume": "consumer"}.get(command, command)
    values: dict[str, Any] = {"role": role}
    for option in (option for option in _OPTIONS if command in option.commands.split()):
        attribute = option.name.replace("-", "_")
        text, source = given.get(attribute), f"--{option.name}"
        if text is None:
            source = f"DRA_{attribute.upper()}"
            text = environment.get(source) or None
        if text is not None:
            try:
                values[option.field or attribute] = option.read(text)
            except ValueError as error:
                _refuse(f"{source}: {error}")
    for name, (commands, remedy) in _NEEDED.items():
        if command in commands.split() and name not in values:
            _refuse(f"--{name} (or DRA_{name.upper()}) is missing: {remedy}")
    if command in ("probe", "import-all"):
        offer = values["offer"]
        values = {"nonce": offer.nonce, "bytes": offer.bytes - PAGE, **values}
    options = Options(command, **values)
    _refuse_contradictions(options)
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _refuse(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    # Values stay text here: they may come from the environment, too, and are judged in one place.
    parser = _Parser("workload", description=_DESCRIPTION, argument_default=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    takers = {
        name: commands.add_parser(
            name, help=text, description=text, argument_default=argparse.SUPPRESS
        )
        for name, text in _COMMANDS.items()
    }
    for option in _OPTIONS:
        kind: dict[str, Any] = {"metavar": option.metavar}
        if option.metavar is None:
            kind = {"action": "store_const", "const": "1"}
        # What all commands take may stand before them, too.
        before = [parser] if option.commands == _ALL else []
        for taker in (*before, *(takers[name] for name in option.commands.split())):
            taker.add_argument(f"--{option.name}", help=option.help, **kind)
    return parser


def _refuse_contradictions(options: Options) -> None:
    """Refuse options that do not go together.

    Raises:
        WorkloadError: some do not.
    """
    folder, offer = options.folder, options.offer
    if options.command in ("produce", "export-all") and options.bytes < 2 * PAGE:
        _refuse(f"--bytes: {options.bytes} is too little: give at least {2 * PAGE}")
    if options.command == "produce":
        if options.log == (folder is not None):
            _refuse("give either --folder DIR, where the consumer sees it too, or --log")
        if folder and options.extras:
            _refuse("--extras: an offer with extras is too long for --folder: give --log")
        if folder and options.end in (End.EXIT, End.KILL):
            _refuse(
                f"--end: {options.end}: an offer in a folder is gone with its producer: give --log"
            )
    if options.command == "lend" and options.end is End.KILL_WHEN_RUNG:
        _refuse(f"--end: {options.end}: there is no doorbell: give {End.EXIT} or {End.KILL}")
    if options.command == "consume":
        if (offer is None) == (folder is None):
            _refuse("give either --folder DIR, where the producer sees it too, or --offer JSON")
        if options.until_gone and not folder:
            _refuse(
                "--until-gone: only in a folder the producer's end is noticed: give --folder DIR"
            )
    if offer and not offer.extras:
        for name in options.attempts:
            if attempts.NAMES[name]:
                _refuse(f"--attempt: {name}: the offer has no extras: give one of produce --extras")
