"""GPU memory shared by descriptors and fabric handles, between pods that share a volume.

Pods that the restricted Pod Security Standard admits have no folder of the node (``hostPath``) for
a Unix socket; a ReadWriteOnce volume is one, for pods of one node.
"""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import FOLDER, ContainerSpec
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from suites.cuda.mechanisms import judge_right
from suites.cuda.tables import shared_memory
from suites.cuda.transfers import EXPORTER, IMPORTER
from workload.result import Mechanism

BYTES = str(4 << 20)


@scenario(needs=CUDA, uses=(Steps.volume, Steps.channels), tables=shared_memory)
def shared_volume(steps: Steps) -> None:
    """Exporter and importer are pods of one claim, and meet on a volume."""
    way = ["--folder", FOLDER, "--nonce", steps.nonce, *steps.patience()]
    specs = [
        ContainerSpec(EXPORTER, ["lend", "--bytes", BYTES, *way], own_pid=1),
        ContainerSpec(IMPORTER, ["borrow", "--role", IMPORTER, *way], own_pid=300),
    ]
    volume, claims = steps.volume(), (steps.claim(1), *steps.channels())
    exporter, importer = (
        steps.start_pod(spec.role, [spec], *claims, volume=volume)[0] for spec in specs
    )
    steps.finish(importer, exporter)


@check(
    id="IPC-036",
    level=4,
    source="IPC-6, IPC-7",
    forms=tuple(Part(one, shared_volume) for one in Mechanism if one is not Mechanism.IPC),
    after=("IPC-023",),
    judges_driver=False,
)
def test_shared_memory_opens_in_another_pod(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle MUST open in another pod of the claim that has a
    volume in common with the exporter, without any privilege, and hold what was written.
    """
    judge_right(evidence, IMPORTER, "same", form)
