"""Print docs/blame.md: `python -m tests.zoo.blame > docs/blame.md`."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from tests.zoo.blame import ROWS

HEAD = """\
# Faults that are not the driver's

What goes wrong in a cluster looks like a fault of the driver at first: no pod with a device
starts. Here is what a run says of each such fault, and whom it tells to act. In none of them the
driver has failed: where something is red, the verdict is *inconclusive*, not *nonconformant*. Each
row is made for real on the embedded cluster, with the reference driver:

    ./run matrix test_not_the_drivers

`PF-…` is a step of preflight: nothing has run then. The words are those of the first line, of the
likely cause or of what was observed.
The page is made from the table of that test (`python -m tests.zoo.blame > docs/blame.md`).
"""
TITLES = {
    "control_plane": "Scheduler, controllers, API server",
    "admission": "Quotas, policies, webhooks",
    "node": "Nodes: kubelet, runtime, images",
    "devices": "Devices that cannot be had",
    "run": "The run itself",
}
COLUMNS = "| what is wrong | said by | responsible | words | next step |\n|---|---|---|---|---|"


def page() -> str:
    """The whole page."""
    text = HEAD
    rows = sorted(ROWS, key=lambda row: list(TITLES).index(row.area))
    for area, of_area in groupby(rows, key=attrgetter("area")):
        lines = [
            f"| {row.what} | {row.says} | {row.party} | {row.words} | {row.next} |"
            if row.says
            else f"| {row.what} | nobody: the run waits, and goes on | | | |"
            for row in of_area
        ]
        text += f"\n## {TITLES[area]}\n\n" + "\n".join([COLUMNS, *lines]) + "\n"
    return text


if __name__ == "__main__":
    print(page(), end="")
