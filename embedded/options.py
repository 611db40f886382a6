"""What cluster to bring up: the options that ``./run cluster up`` and ``./run dra`` share.

Reading them needs nothing but Python, so that a run against some other cluster knows them too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any

from embedded.hardware.products import H100, PRODUCTS
from embedded.layout import Gpus

DEFAULT_NAME = "default"
DEFAULT_NODES = 2
DEFAULT_GPUS = "4"
MOST_NODES = 200
HARDWARE = ("simulated", "real")


def gpus_of_nodes(text: str) -> tuple[tuple[Gpus, ...], ...]:
    """Read ``--embedded-gpus``: the GPUs of each node, by product; of one node, they hold for all.

    Raises:
        ValueError: says what would be right.
    """
    return tuple(_gpus_of_node(node) for node in text.split(","))


def _gpus_of_node(text: str) -> tuple[Gpus, ...]:
    groups = []
    for part in text.split("+"):
        number, colon, product = (word.strip() for word in part.partition(":"))
        if not re.fullmatch("[0-9]+", number) or (colon and not product):
            raise ValueError(
                "expected NUMBER or NUMBER:PRODUCT, several products joined by +, several nodes"
                f" by commas; {part!r} is none"
            )
        groups.append(Gpus(int(number), product or H100.name))
    for group in groups:
        if group.product not in PRODUCTS:
            known = ", ".join(f"'{name}'" for name in PRODUCTS)
            raise ValueError(f"no simulated GPU is called {group.product!r}; there are: {known}")
        most = len(PRODUCTS[group.product].pci_buses)
        if group.count > most:
            raise ValueError(f"a node has 0 to {most} GPUs of one product, not {group.count}")
    if len({group.product for group in groups}) < len(groups):
        raise ValueError("expected every product of a node once, with its number")
    return tuple(groups)


def switches(text: str) -> dict[str, bool]:
    """Read what to switch on and off: ``NAME=true,OTHER=false``; nothing in an empty text.

    Raises:
        ValueError: says what would be right.
    """
    found: dict[str, bool] = {}
    for part in text.split(",") if text else ():
        name, _, value = (word.strip() for word in part.partition("="))
        if not name or value not in ("true", "false"):
            raise ValueError(
                f"expected NAME=true or NAME=false, joined by commas; {part!r} is none"
            )
        found[name] = value == "true"
    return found


# What an option takes: text of the command line, or a value of dra.toml.


def _checked(read: Callable[[str], object]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        number = isinstance(value, int) and not isinstance(value, bool)
        given = str(value) if number else any_text(value)
        read(given)
        return given

    return parse


def any_text(value: Any) -> str:
    """Take any text."""
    if not isinstance(value, str):
        raise ValueError("expected text")
    return value


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Take one of these words."""

    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return str(value)

    return parse


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Take a whole number of a range."""

    def parse(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = least - 1
        if isinstance(value, bool) or not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return number

    return parse


def _option(default: Any, metavar: str, text: str, parse: Callable[[Any], Any] = any_text) -> Any:
    return field(default=default, metadata={"metavar": metavar, "help": text, "parse": parse})


@dataclass(frozen=True)
class Options:
    """What cluster to bring up."""

    gpus: str | None = _option(
        None,
        "N[:PRODUCT][+N:PRODUCT…][,…]",
        "GPUs of each node: number and product; several products joined by +, nodes that differ"
        f" by commas (default {DEFAULT_GPUS}; on real hardware all of the machine)",
        _checked(gpus_of_nodes),
    )
    nodes: int | None = _option(
        None,
        "N",
        f"how many nodes (default {DEFAULT_NODES}, 1 on real hardware, or as many as"
        " --embedded-gpus lists)",
        whole_number(1, MOST_NODES),
    )
    hardware: str = _option(
        HARDWARE[0],
        "|".join(HARDWARE),
        f"what is under the driver (default {HARDWARE[0]})",
        one_of(*HARDWARE),
    )
    driver: str = _option(
        "nvidia",
        "NAME[@VERSION][,…]",
        "the drivers, side by side: nvidia, example, reference or channels (of IMEX), in a version"
        " that is not the default with it, such as nvidia@0.4.1; the first one is under test"
        " (default nvidia)",
    )
    fault: str = _option(
        "",
        "NAME[,NAME]",
        "make the reference driver misbehave from its start on, to see what the checks say"
        " (default: it does not)",
    )
    kubernetes: str = _option("1.37", "MINOR", "the release of Kubernetes (default 1.37)")
    feature_gates: str = _option(
        "",
        "GATE=true|false[,…]",
        "feature gates of every component of Kubernetes (default: as the release has them)",
        _checked(switches),
    )
    runtime_config: str = _option(
        "",
        "GROUP/VERSION=true|false[,…]",
        "APIs that the API server serves, as its --runtime-config (default: as the release has"
        " them)",
        _checked(switches),
    )
    name: str = DEFAULT_NAME
    tied: bool = False
    """Whether the cluster ends with the process (the thread) that brought it up."""

    @classmethod
    def on_command_lines(cls) -> tuple[Field[Any], ...]:
        """The options that users give, with ``metavar``, ``help`` and ``parse`` in the metadata.

        ``parse`` takes text, or a number for a number, and raises ValueError with what would be
        right.
        """
        return tuple(option for option in fields(cls) if option.metadata)


def flag(name: str) -> str:
    """An option on the command line."""
    return f"--embedded-{name.replace('_', '-')}"
