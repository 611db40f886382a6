"""What is done with every GPU of a node, in one scenario: nothing else may run at that time."""

from __future__ import annotations

from harness.scenario.pod_spec import ContainerSpec
from harness.scenario.scenario import CUDA, EVERY_DEVICE, scenario
from harness.scenario.steps import Steps
from suites.cuda.tables import pairs
from suites.cuda.transfers import EXPORTER, IMPORTER

SIMULATED_BYTES = str(64 << 20)
SHARE_OF_FREE_MEMORY = "25%"
SHARED, SIMULATED_SHARED = 128 << 20, 4 << 20
"""Bytes that are exported on each GPU."""
IMPORTERS_PID = 300


def buffer(steps: Steps) -> list[str]:
    """How much memory to compute on: simulated GPUs have no memory but the machine's."""
    return ["--bytes", SIMULATED_BYTES if steps.simulated else SHARE_OF_FREE_MEMORY]


@scenario(needs=CUDA, most=EVERY_DEVICE, impacts=["exhaust"], tables=pairs)
def every_gpu(steps: Steps) -> None:
    """Pods of a claim of every GPU of a node: one shows them, one computes on all at once, one
    exports memory on each, and another opens all of it on each.
    """
    claim, nonce = steps.claim(), ["--nonce", steps.nonce]
    size = str(SIMULATED_SHARED if steps.simulated else SHARED)
    args = {
        "inventory": ["inventory"],
        "compute": ["compute", *nonce, *buffer(steps)],
        EXPORTER: ["export-all", *nonce, "--bytes", size, *steps.patience()],
    }
    pods = {
        role: steps.create_pod(role, [ContainerSpec(role, given)], claim)[0]
        for role, given in args.items()
    }
    steps.await_start(*pods.values())
    steps.finish(pods["inventory"], pods["compute"])
    importing = ["import-all", "--offer", steps.offer(pods[EXPORTER])]
    speeds = [] if steps.simulated else ["--speeds"]
    importer = steps.start(IMPORTER, [*importing, *speeds], claim, own_pid=IMPORTERS_PID)
    steps.finish_together(importer, pods[EXPORTER])
