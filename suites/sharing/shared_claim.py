"""The shared claim: two pods, one claim of GPUs, CUDA IPC between them, in several forms.

The project began with it: the form ``privileged`` is the original example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.options import Impact
from harness.scenario.evidence import REST, Claim, Container, Evidence
from harness.scenario.pod_spec import EXAMPLE, FOLDER, RESTRICTED, ContainerSpec, Security
from harness.scenario.run import PRIVILEGED
from harness.scenario.run import RESTRICTED as RESTRICTED_STANDARD
from harness.scenario.scenario import CUDA, Scenario
from harness.scenario.steps import Steps
from workload.result import Verdict

CLAIM = "shared-dual-gpus"
ONE_GPU_CLAIM = "shared-single-gpu"
PRODUCER, CONSUMER = "producer", "consumer"
ROLES = (PRODUCER, CONSUMER)
AGAIN = "again"
"""The claim of the same devices after they were given back, and the container that uses it."""
CONSUME = "consume"


@dataclass(frozen=True)
class SharedClaim:
    """One form of the shared claim."""

    name: str
    devices: int = 2
    """One for each request of the claim."""
    security: Security = RESTRICTED
    """Of both pods."""
    folder: bool = False
    """The handle goes through a folder of the node; else through the API."""
    own_pids: Mapping[str, int] = field(default_factory=dict)
    """What PID the two processes are to see of themselves; empty: as it comes."""
    rests: bool = False
    """The two pods touch no device, so any driver can be judged."""

    @property
    def scenario(self) -> Scenario:
        """What runs in the cluster."""
        privileged = self.security != RESTRICTED
        return Scenario(
            self.name,
            partial(_rest if self.rests else _share, form=self),
            frozenset({Impact.PRIVILEGED}) if privileged else frozenset(),
            devices=self.devices,
            needs="" if self.rests else CUDA,
            standard=PRIVILEGED if privileged else RESTRICTED_STANDARD,
            basic=self.rests,
            admin=self.rests,
        )

    @property
    def claim(self) -> str:
        """The claim's name."""
        return CLAIM if self.devices > 1 else ONE_GPU_CLAIM

    @property
    def requests(self) -> tuple[str, ...]:
        """The claim's requests, of one device each."""
        return tuple(f"gpu-{number}" for number in range(1, self.devices + 1))

    @property
    def equal_own_pids(self) -> bool:
        """Whether both processes see the same PID of themselves."""
        return len(self.own_pids) > len(set(self.own_pids.values()))


def _share(steps: Steps, form: SharedClaim) -> None:
    """Pass memory of the claim's GPUs from one pod to another, then use the GPUs once more."""
    claim = steps.claim(form.devices, name=form.claim)
    pair = _through_folder(steps, form, claim) if form.folder else _through_api(steps, form, claim)
    reports = [container.report.known() for container in pair]
    if all(reports) and not form.equal_own_pids:
        steps.finish(steps.start(AGAIN, ["inventory"], steps.claim_again(claim)))


def _through_folder(steps: Steps, form: SharedClaim, claim: Claim) -> tuple[Container, Container]:
    """Both pods start at once and find each other in a folder of the node."""
    folder, way = steps.node_folder(), ["--folder", FOLDER]
    create = partial(steps.create_pod, security=form.security, host_folder=folder)
    produce, consume = (
        [command, "--nonce", steps.nonce, *way, *steps.patience()]
        for command in ("produce", CONSUME)
    )
    (producer,) = create(PRODUCER, [ContainerSpec(PRODUCER, produce)], claim)
    (consumer,) = create(CONSUMER, [ContainerSpec(CONSUMER, consume)], claim)
    steps.await_start(producer, consumer)
    steps.await_use(claim, producer, consumer)
    steps.finish_together(producer, consumer)
    return producer, consumer


def _through_api(steps: Steps, form: SharedClaim, claim: Claim) -> tuple[Container, Container]:
    """The producer's log has the handle; the consumer gets it as an argument."""
    start = partial(steps.start, security=form.security)
    produce = ["produce", "--nonce", steps.nonce, "--log", *steps.patience()]
    producer = start(PRODUCER, produce, claim, own_pid=form.own_pids.get(PRODUCER))
    offer = steps.find_offer(producer)
    # With nothing to open, the consumer at least shows what its container sees.
    consume = ["inventory", "--role", CONSUMER]
    if offer is not None:
        consume = [CONSUME, "--nonce", steps.nonce, "--offer", offer, *steps.patience()]
    consumer = start(CONSUMER, consume, claim, own_pid=form.own_pids.get(CONSUMER))
    if form.equal_own_pids:
        consumer.verdict = Verdict.NOT_OPENED
    if offer is not None:
        steps.await_use(claim, producer, consumer)
    steps.finish(consumer)
    report = consumer.report.known()
    if offer is None or (report is not None and report.verdict is Verdict.OK):
        steps.finish(producer)
    else:
        steps.stop(producer)
    return producer, consumer


def _rest(steps: Steps, form: SharedClaim) -> None:
    """Have the claim in two pods that touch no device."""
    claim = steps.claim(form.devices, name=form.claim)
    pair = [
        container
        for role in ROLES
        for container in steps.create_pod(
            role,
            [ContainerSpec(role, [REST, "--role", role, *steps.patience()], waits=False)],
            claim,
        )
    ]
    steps.await_start(*pair)
    steps.await_use(claim, *pair)


_DIFFERENT = {PRODUCER: 1, CONSUMER: 300}
PRIVILEGED_FORM = SharedClaim("privileged", security=EXAMPLE, folder=True)
HOSTPID_FORM = SharedClaim("hostpid", security=Security(host_pid=True))
RESTRICTED_FORM = SharedClaim("restricted", own_pids=_DIFFERENT)
ONE_GPU_FORM = SharedClaim("one-gpu", devices=1, own_pids=_DIFFERENT)
EQUAL_PIDS_FORM = SharedClaim("equal-pids", own_pids={PRODUCER: 1, CONSUMER: 1})
ANY_DRIVER_FORM = SharedClaim("any-driver", devices=1, rests=True)

SHARING_TWO = (PRIVILEGED_FORM, HOSTPID_FORM, RESTRICTED_FORM)
SHARING = (*SHARING_TWO, ONE_GPU_FORM)
TWO_GPUS = (*SHARING_TWO, EQUAL_PIDS_FORM)
RESTRICTED_FORMS = (RESTRICTED_FORM, ONE_GPU_FORM, EQUAL_PIDS_FORM)
EVERY_FORM = (*SHARING, EQUAL_PIDS_FORM)
ANY_DRIVER = (ANY_DRIVER_FORM,)


# Judging


def both(evidence: Evidence) -> tuple[Container, ...]:
    """Find producer and consumer."""
    return tuple(evidence.container(role) for role in ROLES)


def consumer_opens(evidence: Evidence) -> bool:
    """Whether the producer offered memory for the consumer to open."""
    return evidence.container(CONSUMER).args[0] == CONSUME
