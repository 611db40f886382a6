"""``./run bench kubectl``: the original example by the suite, and its objects by kubectl alone.

Both in turn, on one embedded cluster, again and again. The objects are those that the suite made
in a first run, which does not count: two privileged pods that share a claim and a folder of the
node, what tells them their GPUs, one more pod that claims the same devices again, and the one that
removes the folder. kubectl applies them in as few calls as can be, waits, reads the logs and
deletes. Its namespace, which preflight makes for the suite, is there before the clock runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.phases import aligned
from building import artifacts
from building.binaries import KUBECTL
from building.errors import UserError
from building.progress import Progress
from embedded import cluster
from harness.cluster import journal
from harness.cluster.anchor import anchor_name
from harness.cluster.kinds import NAMESPACE, POD, Object, name_of
from harness.scenario.run import SCENARIO_LABEL
from harness.session.reproduction import bare
from harness.verdict.outcome import Exit
from harness.verdict.table import Table
from reports import results
from suites.sharing.shared_claim import AGAIN, CONSUMER, PRODUCER

ROOT = Path(__file__).parents[1]
FORM = "privileged"
CHECK = "IPC-001"
PARTS = ("share", "claim again", "ask for the end", "all is gone")
"""Of the example, one after the other."""
SECONDS = 120
"""A budget of each wait of kubectl, not a delay."""
OWN = "by-kubectl"


class BenchError(Exception):
    """The example did not run; ``str()`` says why."""


@dataclass(frozen=True)
class Timing:
    """One time through the example."""

    parts: tuple[float, ...]
    """Seconds of `PARTS`."""
    around: float = 0
    """Seconds of the suite's process before and after: preflight, reports."""

    @property
    def seconds(self) -> float:
        """From the creation of the claim until the namespace is gone."""
        return sum(self.parts)


@dataclass(frozen=True)
class Played:
    """One time through the example by the suite."""

    timing: Timing
    objects: tuple[Object, ...]
    """Its objects in the order in which they were created, without what is of the run."""


def main(arguments: Sequence[str]) -> int:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(prog="./run bench kubectl", description=__doc__)
    parser.add_argument("--times", type=int, default=10, metavar="N", help="pairs (default 10)")
    given = parser.parse_args(arguments)
    try:
        pairs = list(_pairs(given.times))
    except (BenchError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.USAGE
    print("\n".join(["", *aligned(table(pairs))]))
    return Exit.OK


def table(pairs: Sequence[tuple[Timing, Timing]]) -> Table:
    """Compare the suite with kubectl, part by part.

    Args:
        pairs: the suite's timing and kubectl's.
    """
    ours, theirs = zip(*pairs, strict=True)
    rows: list[tuple[str, float, float, float]] = []
    for number, part in enumerate(PARTS):
        medians = [statistics.median(one.parts[number] for one in side) for side in (ours, theirs)]
        rows.append((part, *_compared(*medians)))
    whole = (statistics.median(one.seconds for one in side) for side in (ours, theirs))
    rows.append(("the example", *_compared(*whole)))
    around = statistics.median(one.around for one in ours)
    return Table(
        "suite-and-kubectl",
        f"The original example, {len(pairs)} times",
        ("medians", "suite, s", "kubectl, s", "ratio"),
        tuple(rows),
        note=f"beside it, the suite's process took {around:.2f} s for preflight and reports",
    )


def _compared(ours: float, theirs: float) -> tuple[float, float, float]:
    return round(ours, 2), round(theirs, 2), round(ours / theirs, 2) if theirs else 0


def _pairs(times: int) -> Iterator[tuple[Timing, Timing]]:
    """Bring a cluster up, and let the suite and kubectl go through the example in turn."""
    progress = Progress()
    kubectl = artifacts.obtain([KUBECTL], progress)[KUBECTL.name] / "kubectl"
    options = cluster.Options(nodes=1, gpus="2")
    with cluster.running(options, progress) as running, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = by_suite(running, folder / "first")
        for number in range(1, times + 1):
            ours = by_suite(running, folder / str(number)).timing
            theirs = by_kubectl(kubectl, running, first.objects, folder)
            print(
                f"{number} of {times}: suite {ours.seconds:.2f} s, kubectl {theirs.seconds:.2f} s",
                flush=True,
            )
            yield ours, theirs


def by_suite(running: cluster.Cluster, output: Path) -> Played:
    """Go through the example by the suite; nothing else of it is tried.

    Raises:
        BenchError: its check did not pass.
    """
    began = time.time()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-m", "dra", "-k", FORM),
            *("--dra-check", CHECK, "--dra-allow", "privileged", f"--dra-output={output}"),
            *("--dra-image", running.workload_image),
        ],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(running.kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    )
    ended = time.time()
    (folder,) = output.glob("*")
    record, facts = results.read(folder)
    passed = [one.variant for one in record.results if one.id == CHECK and not one.red]
    if done.returncode or passed != [FORM]:
        raise BenchError(f"the suite did not pass the example:\n{done.stdout}")
    lines = (folder / journal.NAME).read_text(encoding="utf-8").splitlines()
    return played(list(map(json.loads, lines)), facts.run_id, began, ended)


def played(entries: Sequence[Mapping[str, Any]], run_id: str, began: float, ended: float) -> Played:
    """Read from a run's journal what it made, and when its parts were over.

    Args:
        entries: of the journal.
        run_id: of the run.
        began: when its process was started, in seconds since 1970.
        ended: when that ended.

    Raises:
        BenchError: a moment is missing.
    """
    made: list[tuple[float, Object]] = []
    moments: dict[str, float] = {}
    for entry in entries:
        obj = entry.get("object") or {}
        if entry["what"] == "created" and _of_example(obj):
            made.append((entry["time"], obj))
        for moment in _reached(entry, obj):
            moments.setdefault(moment, entry["time"])
        if entry.get("change") == "DELETED" and _is_space(obj):
            moments["gone"] = entry["time"]
    try:
        at = (
            made[0][0],
            max(moments[PRODUCER], moments[CONSUMER]),
            moments[AGAIN],
            *(moments["ending"], moments["gone"]),
        )
    except (IndexError, KeyError) as error:
        raise BenchError(f"the journal does not tell of the example: {error}") from error
    parts = tuple(after - before for before, after in itertools.pairwise(at))
    text = json.dumps([bare(obj) for _, obj in made]).replace(anchor_name(run_id), OWN)
    around = ended - began - sum(parts)
    return Played(Timing(parts, around), tuple(json.loads(text)))


def _of_example(obj: Object) -> bool:
    return (obj["metadata"].get("labels") or {}).get(SCENARIO_LABEL) == FORM


def _is_space(obj: Object) -> bool:
    return obj.get("kind") == NAMESPACE.name and name_of(obj).endswith(f"-{FORM}")


def _reached(entry: Mapping[str, Any], obj: Object) -> Iterator[str]:
    """Name the moments of the example that an entry of the journal shows."""
    if _is_space(obj) and "deletionTimestamp" in obj["metadata"]:
        yield "ending"
    if entry["what"] == "object" and obj.get("kind") == POD.name and _of_example(obj):
        states = (obj.get("status") or {}).get("containerStatuses") or []
        if states and all("terminated" in (one.get("state") or {}) for one in states):
            yield name_of(obj).removesuffix(f"-{FORM}")


def by_kubectl(
    kubectl: Path, running: cluster.Cluster, objects: Sequence[Object], folder: Path
) -> Timing:
    """Go through the example by kubectl.

    Raises:
        BenchError: kubectl failed.
    """
    space = f"{OWN}-{FORM}"

    def call(*words: str, standard_input: str = "") -> None:
        done = subprocess.run(
            [kubectl, "--namespace", space, *words],
            env={"HOME": str(folder), "KUBECONFIG": str(running.kubeconfig)},
            input=standard_input,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BenchError(f"kubectl {' '.join(words)}: {done.stderr}")

    def apply(chosen: Sequence[Object]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(chosen)}
        call("apply", "-f", "-", standard_input=json.dumps(listed))

    def until_ended(*pods: str) -> None:
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        call("wait", *(f"pod/{pod}-{FORM}" for pod in pods), ended, f"--timeout={SECONDS}s")

    last = [one for one in objects if not _shares(one)]
    call("create", "namespace", space)
    at = [time.monotonic()]
    apply(list(filter(_shares, objects)))
    until_ended(PRODUCER, CONSUMER)
    at.append(time.monotonic())
    call("logs", f"{PRODUCER}-{FORM}")
    call("logs", f"{CONSUMER}-{FORM}")
    call("delete", *(f"{one['kind']}/{name_of(one)}" for one in objects if _shares(one)))
    apply(last)
    until_ended(AGAIN)
    at.append(time.monotonic())
    call("logs", f"{AGAIN}-{FORM}")
    at.append(time.monotonic())
    call("delete", "namespace", space, f"--timeout={SECONDS}s")
    at.append(time.monotonic())
    return Timing(tuple(after - before for before, after in itertools.pairwise(at)))


def _shares(obj: Object) -> bool:
    """Whether an object is there while memory is shared; the others come afterwards."""
    names = (f"{PRODUCER}-", f"{CONSUMER}-", "shared-", "allocation-shared-")
    return name_of(obj).startswith(names)
