"""A GPU and its parts: good evidence, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace

from harness.cluster.inventory import Device
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from suites.features.test_partitions import ONE, OTHER, WHOLE
from tests.suite.cases import Case
from tests.suite.made import DEVICES, does_not_start, made, report, says

GPU = DEVICES[2]
HOST = {"HOSTNAME": "pod"}


def part(number: int) -> Device:
    """A part of the GPU, as its driver publishes it."""
    uuid = f"MIG-{number}0000000-0000-0000-0000-000000000000"
    entry = {"name": f"gpu-2-part-{number}", "attributes": {"uuid": {"string": uuid}}}
    return replace(GPU, name=f"gpu-2-part-{number}", uuid=uuid, entry=entry)


FIRST, SECOND = part(0), part(1)


def good() -> Evidence:
    """Two pods with a part each; the whole GPU had to wait for them."""
    evidence = made(
        "parts-of-a-device",
        one=report(environment={**HOST, "GPU_PART": FIRST.uuid}),
        other=report(environment={**HOST, "GPU_PART": SECOND.uuid}),
    )
    evidence.containers[WHOLE] = made("parts-of-a-device", whole=report()).containers[WHOLE]
    evidence.noted = {"devices": {ONE: FIRST, OTHER: SECOND, WHOLE: GPU}}
    evidence.containers[WHOLE].told.found("cannot allocate all claims")
    evidence.containers[WHOLE].waits.found("")
    return evidence


def does_not_wait(evidence: Evidence) -> None:
    """The pod with the whole GPU runs beside its parts."""
    evidence.containers[WHOLE].told.found("")


def shows_nothing(evidence: Evidence) -> None:
    """No variable names a part."""
    for role in (ONE, OTHER):
        says(role, environment=HOST)(evidence)


GOOD = {"parts-of-a-device": good}

CASES = (
    Case(
        "ALLOC-041",
        "the whole GPU",
        says(ONE, environment={**HOST, "GPU": GPU.uuid}),
        r"the container has gpu-2; allocated: gpu-2-part-0$",
    ),
    Case(
        "ALLOC-041",
        "the other part",
        says(OTHER, environment={**HOST, "GPU_PART": FIRST.uuid}),
        r"the container has gpu-2-part-0; allocated: gpu-2-part-1$",
    ),
    Case(
        "ALLOC-041",
        "one container with nothing",
        says(OTHER, environment=HOST),
        r"the container has no device; allocated: gpu-2-part-1$",
    ),
    Case(
        "ALLOC-041",
        "no part that is named",
        shows_nothing,
        r"unsupported: nothing in the containers tells which part they have$",
        blame=None,
    ),
    Case(
        "ALLOC-041",
        "the second part is not prepared",
        does_not_start(OTHER, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-023",
        "the whole GPU beside its parts",
        does_not_wait,
        r"a claim for gpu-2 does not wait for its parts: it runs$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-023",
        "the whole GPU is not prepared after its parts",
        does_not_start(WHOLE, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
)
