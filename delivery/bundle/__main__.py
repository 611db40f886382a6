"""``./run bundle``: make an air-gapped bundle."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from building.binaries import KUBERNETES, RELEASES
from building.errors import UserError, exit_code, must_be_of
from building.progress import Progress
from delivery.bundle.write import write
from embedded.drivers import DRIVERS

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEAST = 1 << 20


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./run bundle", description=__doc__)
    parser.add_argument(
        "--output", default=Path("dist"), type=Path, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--part-size", default="45M", metavar="SIZE", help="the most of one part; default: 45M"
    )
    parser.add_argument(
        "--embedded-driver",
        default="nvidia",
        metavar="NAME[@VERSION][,…]",
        help=f"of {', '.join(DRIVERS)}; default: nvidia",
    )
    parser.add_argument(
        "--embedded-kubernetes",
        default=KUBERNETES.minor,
        metavar="MINOR[,MINOR]",
        help=f"of {', '.join(RELEASES)}; default: {KUBERNETES.minor}",
    )
    options = parser.parse_args(arguments)
    return exit_code(lambda: _bundle(options), "interrupted")


def _bundle(options: argparse.Namespace) -> int:
    drivers, minors = options.embedded_driver.split(","), options.embedded_kubernetes.split(",")
    must_be_of(DRIVERS, "--embedded-driver", *drivers)
    must_be_of(RELEASES, "--embedded-kubernetes", *minors)
    size = part_size(options.part_size)
    releases = [RELEASES[minor] for minor in minors]
    written = write(options.output, size, drivers, releases, Progress())
    for path in (*written.parts, written.checksums, written.installer):
        print(f"{path.stat().st_size:>12,}  {path}")
    print(f"{written.size:>12,}  in all. On the other machine: sh {written.installer.name} DIR")
    return 0


def part_size(text: str) -> int:
    """Bytes from a number with K, M or G behind it (powers of 1024).

    Raises:
        UserError: it is none, or less than 1M.
    """
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if size < _LEAST:
        raise UserError(f"--part-size {text!r}: give a size of at least 1M, such as 45M")
    return size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
