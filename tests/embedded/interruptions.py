"""The checks that disrupt, stopped by SIGTERM or ``kill -9`` at any moment: all is as it was.

``python -m tests.embedded.interruptions [--driver NAME] [--times N] [--seed N]`` brings up a
cluster, puts a pod with a claim of somebody else into it, and runs the checks once to the end to
see how long they take; what is red then has to be known of the driver. Then it interrupts them
again and again; what a killed run leaves, a sweep has to put right. Each failure is printed when it
happens; the exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from embedded.cluster import node_root
from embedded.drivers import DRIVERS
from harness.cluster.anchor import PREFIX, RUN_LABEL, moment
from harness.cluster.kinds import (
    CLAIM,
    DAEMON_SET,
    DEVICE_CLASS,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    SLICE,
    Object,
    name_of,
    namespace_of,
)
from harness.cluster.kube import Kube
from harness.cluster.kubeconfig import from_kubeconfig
from harness.options import Impact
from suites.__main__ import checks
from tests.admin import ROOT, command, environment
from tests.drivers.cluster import SLEEP, DriverCluster, running
from tests.known_findings import surprises

DISRUPTING = [check.id for check in checks() if Impact.DISRUPT in check.impacts_of(None)]
LONGEST_SECONDS = 180
"""How long a run may take to end that is asked to, and the cluster to be as it was."""
FOLDERS = ("run/cdi", "tmp", "var/lib/kubelet/plugins", "var/lib/kubelet/plugins_registry")
NODES = 2


def written(obj: Object) -> Any:
    """What people write of an object."""
    metadata = obj["metadata"]
    return [obj.get("spec"), metadata.get("labels"), metadata.get("finalizers")]


class Interruptions:
    """A cluster in which runs are interrupted."""

    def __init__(self, cluster: DriverCluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._kube: Kube = from_kubeconfig([cluster.kubeconfig], "", "test")
        self.before = self.state()
        while [False] in [seen[1] for what, seen in self.before.items() if what.startswith("pod")]:
            time.sleep(1)
            self.before = self.state()

    def state(self) -> dict[str, Any]:
        """What must not change, by what it is called."""
        seen: dict[str, Any] = {}
        for kind in (NAMESPACE, DEVICE_CLASS, DAEMON_SET, CLAIM):
            for obj in self._kube.list(kind)[0]:
                seen[f"{kind.name} {namespace_of(obj)}/{name_of(obj)}"] = written(obj)
        for obj in self._kube.list(NODE)[0]:
            spec = obj["spec"]
            seen[f"node {name_of(obj)}"] = [spec.get("taints"), spec.get("unschedulable")]
        for obj in self._kube.list(SLICE)[0]:
            # A kubelet that starts removes them, and a driver publishes them again.
            spec = obj["spec"]
            of = f"slice of {spec['driver']} {spec['pool']['name']}"
            names = [json.dumps(device, sort_keys=True) for device in spec["devices"]]
            seen[of] = sorted([*seen.get(of, []), *names])
        for obj in self._kube.list(POD)[0]:
            status = obj.get("status") or {}
            ready = [one.get("ready") for one in status.get("containerStatuses") or []]
            owner = next(iter(obj["metadata"].get("ownerReferences") or []), {"name": name_of(obj)})
            where = obj["spec"].get("nodeName")
            seen[f"pod of {owner['name']} on {where}"] = [status.get("phase"), ready]
        for number in range(1, NODES + 1):
            root = node_root(self._cluster.name, number)
            for name in FOLDERS:
                folder = root / name
                found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
                seen[f"/{name} of node {number}"] = found
        return seen

    def difference(self) -> list[str]:
        """What is not as it was."""
        now = self.state()
        return [
            f"{what}: {self.before.get(what, 'was not there')} -> {now.get(what, 'is not there')}"
            for what in sorted({*self.before, *now})
            if self.before.get(what) != now.get(what)
        ]

    def settled(self) -> list[str]:
        """What is not as it was once the cluster had time: drivers publish late."""
        until = time.monotonic() + LONGEST_SECONDS
        while (found := self.difference()) and time.monotonic() < until:
            time.sleep(1)
        return found

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the suite."""
        return subprocess.Popen(
            command(
                self._folder,
                *("-p", "no:cacheprovider", "--dra-check", ",".join(DISRUPTING)),
                *("--dra-image", self._cluster.workload_image),
                *("--dra-allow", "privileged,disrupt", *options, str(ROOT / "suites")),
            ),
            cwd=self._folder,
            env=environment(self._cluster.kubeconfig),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def whole(self, version: str) -> float:
        """Run to the end; answers the seconds that it took.

        Args:
            version: of the driver: its known findings may be red, and nothing else.
        """
        began = time.monotonic()
        printed, _ = self.start().communicate()
        takes = time.monotonic() - began
        found = list(self._folder.glob("*/results.json"))
        if len(found) != 1:
            raise SystemExit(f"the checks were not made: {printed[-3000:]}")
        if red := surprises(json.loads(found[0].read_text()), version):
            raise SystemExit(f"the checks do not pass: {red}: {printed[-3000:]}")
        return takes

    def interrupt(self, sent: signal.Signals, after: float) -> list[str]:
        """Interrupt a run; answers what went wrong."""
        run = self.start()
        try:
            run.wait(after)
        except subprocess.TimeoutExpired:
            run.send_signal(sent)
        printed, _ = run.communicate(timeout=LONGEST_SECONDS)
        problems = ["a traceback: " + printed[-3000:]] if "Traceback" in printed else []
        if sent is signal.SIGKILL:
            problems += self.sweep()
        return problems + [f"after {LONGEST_SECONDS} s: {one}" for one in self.settled()]

    def sweep(self) -> list[str]:
        """Have the Lease of a killed run expire, and sweep."""
        for found in self._kube.list(LEASE, labels=RUN_LABEL)[0]:
            if name_of(found).startswith(PREFIX):
                self._kube.update({**found, "spec": {**found["spec"], "renewTime": moment(0)}})
        sweep = self.start("--dra-sweep")
        printed, _ = sweep.communicate(timeout=LONGEST_SECONDS)
        return [] if sweep.returncode == 0 else [f"the sweep: {printed[-3000:]}"]


def bystander(cluster: DriverCluster, device_class: str) -> None:
    """Have a pod with a claim run that is somebody else's."""
    cluster.claim("others", device_class, 1)
    cluster.pod("others", "others", SLEEP)
    cluster.wait("v1", "Pod", "others", lambda pod: pod["status"].get("phase") == "Running")


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.embedded.interruptions", description=__doc__)
    parser.add_argument("--driver", default="nvidia", help="(%(default)s)")
    parser.add_argument("--times", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    failures = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(running(options.driver, nodes=NODES))
        (device_class, *_) = sorted(name_of(obj) for obj in classes(cluster))
        bystander(cluster, device_class)
        runs = Interruptions(cluster, folder)
        takes = runs.whole(DRIVERS[options.driver].version)
        problems = runs.settled()
        print(f"to the end in {takes:.0f} s: {problems or 'as it was'}", flush=True)
        failures += bool(problems)
        for number in range(1, options.times + 1):
            sent, after = (signal.SIGKILL, signal.SIGTERM)[number % 2], rng.uniform(0, takes)
            problems = runs.interrupt(sent, after)
            print(
                f"{number}: {sent.name} after {after:.1f} s: {problems or 'as it was'}", flush=True
            )
            failures += bool(problems)
    print(f"{failures} failures; seed {options.seed}")
    return 1 if failures else 0


def classes(cluster: DriverCluster) -> list[Object]:
    """The DeviceClasses of a cluster, as long as they are of GPUs."""
    kube = from_kubeconfig([cluster.kubeconfig], "", "test")
    return [obj for obj in kube.list(DEVICE_CLASS)[0] if "gpu" in name_of(obj)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
