"""What must hold all through a run, whatever is being checked, judged by everything that is seen.

An invariant must not cry wolf. What is seen of one kind in one watch of the whole cluster is a true
history, so a device in two allocations at a time counts at once; seen through several watches it
counts when a fresh look confirms it. What controllers and drivers mend by themselves counts only
when nothing has changed for `SETTLED_SECONDS` and a fresh look confirms it. What is not the run's,
or of another driver than the one under test, is reported as advice and fails nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.cluster.inventory import Pool, generation_of, pools, results
from harness.cluster.journal import Journal
from harness.cluster.kinds import CLAIM, POD, SLICE, Object, name_of, namespace_of, uid_of
from harness.cluster.kube import ApiError, Kube, UnreachableError
from harness.verdict.finding import Blame, Finding, UnmetError
from harness.verdict.outcome import INVARIANTS_AREA, Outcome, Result

SETTLED_SECONDS = 30.0
"""How long nothing may have changed before something that mends itself counts."""

RETRY_SECONDS = 5.0
"""When to look again after the API server did not answer."""

DeviceKey = tuple[str, str, str]
"""Driver, pool and name of a device: what an allocation calls it."""


@dataclass(frozen=True)
class Breach:
    """One way in which an invariant does not hold."""

    text: str
    """What is wrong, in one line."""
    observed: str
    mine: bool
    """Whether it concerns the run's own objects, or the driver under test."""


@dataclass(frozen=True)
class Invariant:
    """One thing that must hold all the time."""

    id: str
    name: str
    sentence: str
    blame: Blame
    """Who has to act when it does not."""
    likely: str
    next: str
    nothing_to_judge: str


ONE_ALLOCATION = Invariant(
    "INV-001",
    "device_is_in_one_allocation",
    "A device MUST NOT be in two allocations at the same time, unless one has admin access or they"
    " are distinct shares of it.",
    Blame.SCHEDULER,
    "two schedulers are active, or one has forgotten what it allocated",
    "kubectl get resourceclaims --all-namespaces -o yaml shows which claim has which device",
    "no allocation was seen",
)
LIVING_USERS = Invariant(
    "INV-002",
    "claim_is_reserved_for_living_pods",
    f"A claim MUST NOT be reserved for a pod that has been gone for {SETTLED_SECONDS:g} s.",
    Blame.CLUSTER,
    "the claim controller of kube-controller-manager does not run, or is far behind",
    "see the log of kube-controller-manager",
    "no claim of the run was reserved for a pod",
)
WHOLE_POOLS = Invariant(
    "INV-003",
    "pools_are_whole",
    "A pool MUST NOT stay incomplete: there are as many slices of its newest generation as each of"
    " them says, no slice is of an older generation, and no device is in two slices.",
    Blame.DRIVER,
    "the driver does not finish publishing its ResourceSlices: it crashed, or two instances publish"
    " the same pool",
    "kubectl get resourceslices -o yaml; see the driver's log",
    "no ResourceSlice was seen",
)
INVARIANTS = (ONE_ALLOCATION, LIVING_USERS, WHOLE_POOLS)


# What is wrong with what is there


@dataclass(frozen=True)
class _Share:
    claim: Object
    request: str
    share: str


class Allocations:
    """Who has which device now."""

    def __init__(self) -> None:
        self._of_claim: dict[str, set[DeviceKey]] = {}
        self._of_device: dict[DeviceKey, list[_Share]] = {}

    def take(self, claim: Object, *, gone: bool) -> set[DeviceKey]:
        """Take a claim as it is now; answers the devices that it has."""
        uid = uid_of(claim)
        for key in self._of_claim.pop(uid, ()):
            self._of_device[key] = [s for s in self._of_device[key] if uid_of(s.claim) != uid]
        held: set[DeviceKey] = set()
        for result in () if gone else results(claim):
            if result.get("adminAccess"):
                continue
            key = (str(result["driver"]), str(result["pool"]), str(result["device"]))
            share = _Share(claim, str(result.get("request")), str(result.get("shareID") or ""))
            self._of_device.setdefault(key, []).append(share)
            held.add(key)
        if held:
            self._of_claim[uid] = held
        return held

    def clash(self, key: DeviceKey) -> tuple[_Share, _Share] | None:
        """Two allocations that cannot both have a device, if there are."""
        holders = self._of_device.get(key, [])
        for number, one in enumerate(holders):
            for other in holders[number + 1 :]:
                same_claim = uid_of(one.claim) == uid_of(other.claim)  # that is one allocation
                shares = one.share and other.share and one.share != other.share
                if not same_claim and not shares:
                    return one, other
        return None


def _version(obj: Object) -> str:
    return f"{uid_of(obj)}@{obj['metadata'].get('resourceVersion')}"


def _claim_name(claim: Object) -> str:
    return f"{namespace_of(claim)}/{name_of(claim)}"


# Over time


@dataclass
class _Suspicion:
    breach: Breach
    evidence: frozenset[str]
    """The objects that it rests on, each with its version."""
    since: float


@dataclass
class _Book:
    """What is known about one invariant."""

    judged: bool = False
    suspicions: dict[Hashable, _Suspicion] = field(default_factory=dict)
    breaches: dict[Hashable, Breach] = field(default_factory=dict)


class Invariants:
    """Judges what an observer sees, while it sees it.

    Args:
        kube: for the fresh look at what is suspicious.
        journal: gets every breach.
        driver: the one under test.
        is_mine: whether an object is the run's own.
        true_history: whether all claims come through one watch.
        clock: seconds that pass steadily.
    """

    def __init__(
        self,
        kube: Kube,
        journal: Journal,
        driver: str,
        is_mine: Callable[[Object], bool],
        *,
        true_history: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._journal = journal
        self._driver = driver
        self._is_mine = is_mine
        self._true_history = true_history
        self._clock = clock
        self._changed = threading.Condition()
        self._ended = False
        self._disturbed = 0
        self._books = {invariant.id: _Book() for invariant in INVARIANTS}
        self._allocations = Allocations()
        self._claims: dict[str, Object] = {}
        """The run's own: others' pods are not watched."""
        self._pods: set[str] = set()
        self._slices: dict[str, Object] = {}
        self._of_pool: dict[tuple[str, str], dict[str, Object]] = {}
        """The slices of each driver's pools, by their UID."""
        self._thread = threading.Thread(target=self._run, name="invariants", daemon=True)

    def saw(self, changes: Iterable[tuple[Object, bool]]) -> None:
        """Take objects that were seen at the same time, each with whether it is gone."""
        with self._changed:
            touched: set[DeviceKey] = set()
            pools: set[tuple[str, str]] = set()
            for obj, gone in changes:
                if obj["kind"] == CLAIM.name:
                    touched |= self._take_claim(obj, gone=gone)
                elif obj["kind"] == POD.name:
                    (self._pods.discard if gone else self._pods.add)(uid_of(obj))
                elif obj["kind"] == SLICE.name:
                    pools |= self._take_slice(obj, gone=gone)
            for key in touched:
                breach, evidence = self._clash(key)
                self._suspect(ONE_ALLOCATION, key, breach, evidence)
            self._judge_users()
            for driver, pool in pools:
                self._judge_pool(driver, pool)
            self._changed.notify_all()

    def start(self) -> None:
        """Confirm, from now on, what stays suspicious."""
        self._thread.start()

    def close(self) -> None:
        """Confirm nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def disturb(self) -> None:
        """Judge no pool until `settle`: the run itself restarts or stops the driver."""
        with self._changed:
            self._disturbed += 1

    def settle(self) -> None:
        """Judge pools again; what is wrong with one now counts from now on."""
        with self._changed:
            self._disturbed -= 1
            for suspicion in self._books[WHOLE_POOLS.id].suspicions.values():
                suspicion.since = self._clock()
            self._changed.notify_all()

    def confirm_what_is_due(self) -> None:
        """Look afresh at what has been suspicious long enough."""
        now = self._clock()
        with self._changed:
            due = [
                (invariant, key, suspicion)
                for invariant in INVARIANTS
                for key, suspicion in self._books[invariant.id].suspicions.items()
                if now - suspicion.since >= self._patience(invariant)
            ]
        for invariant, key, suspicion in due:
            try:
                confirmed = self._still(invariant, key)
            except (ApiError, UnreachableError):
                confirmed = None
            with self._changed:
                book = self._books[invariant.id]
                if book.suspicions.get(key) is not suspicion:
                    continue  # something has changed meanwhile
                if confirmed is None:
                    suspicion.since = now + RETRY_SECONDS  # nobody knows: look again later
                else:
                    del book.suspicions[key]
                    if confirmed:
                        self._note(invariant, key, suspicion.breach)
                    self._changed.notify_all()

    def results(self) -> list[Result]:
        """Each invariant as a case of the report."""
        with self._changed:
            return [_result(invariant, self._books[invariant.id]) for invariant in INVARIANTS]

    # Taking

    def _take_claim(self, claim: Object, *, gone: bool) -> set[DeviceKey]:
        if gone:
            self._claims.pop(uid_of(claim), None)
        elif self._is_mine(claim):
            self._claims[uid_of(claim)] = claim
        held = self._allocations.take(claim, gone=gone)
        if held:
            self._books[ONE_ALLOCATION.id].judged = True
        suspected = self._books[ONE_ALLOCATION.id].suspicions
        return held | {key for key in suspected if isinstance(key, tuple)}

    def _take_slice(self, item: Object, *, gone: bool) -> set[tuple[str, str]]:
        before = self._slices.pop(uid_of(item), None)
        touched = {_pool_of(item)}
        if before is not None:
            touched.add(_pool_of(before))
            self._of_pool[_pool_of(before)].pop(uid_of(item))
        if not gone:
            self._slices[uid_of(item)] = item
            self._of_pool.setdefault(_pool_of(item), {})[uid_of(item)] = item
            self._books[WHOLE_POOLS.id].judged = True
        return touched

    # Judging what is there now

    def _clash(self, key: DeviceKey) -> tuple[Breach | None, frozenset[str]]:
        clash = self._allocations.clash(key)
        if clash is None:
            return None, frozenset()
        one, other = clash
        driver, pool, device = key
        names = " and ".join(sorted({_claim_name(one.claim), _claim_name(other.claim)}))
        breach = Breach(
            text=f"device {device} of pool {pool} is allocated twice: to {names}",
            observed="\n".join(
                f"{_claim_name(s.claim)}, request {s.request}: {driver}/{pool}/{device}"
                for s in clash
            ),
            mine=self._is_mine(one.claim) or self._is_mine(other.claim),
        )
        return breach, frozenset((_version(one.claim), _version(other.claim)))

    def _judge_users(self) -> None:
        book = self._books[LIVING_USERS.id]
        found: dict[Hashable, tuple[Breach, frozenset[str]]] = {}
        for claim in self._claims.values():
            for user in _users(claim):
                book.judged = True
                if user["uid"] not in self._pods:
                    name = _claim_name(claim)
                    breach = Breach(
                        text=f"claim {name} is reserved for pod {user['name']}, which is gone",
                        observed=f"status.reservedFor of {name}: {user}",
                        mine=True,
                    )
                    found[uid_of(claim), user["uid"]] = (breach, frozenset((_version(claim),)))
        for pair in [*book.suspicions, *found]:
            self._suspect(LIVING_USERS, pair, *found.get(pair, (None, frozenset())))

    def _judge_pool(self, driver: str, name: str) -> None:
        pool = _pool(self._of_pool.get((driver, name), {}).values(), driver, name)
        slices = (*pool.slices, *pool.older) if pool is not None else ()
        breach = None
        if pool is not None and pool.problem:
            breach = Breach(
                text=f"pool {name} of {driver} is not consistent: {pool.problem}",
                observed="\n".join(
                    f"slice {name_of(s)}: generation {generation_of(s)}, of"
                    f" {s['spec']['pool']['resourceSliceCount']},"
                    f" {len(s['spec'].get('devices') or [])} devices"
                    for s in slices
                ),
                mine=driver == self._driver,
            )
        evidence = frozenset(map(_version, slices))
        self._suspect(WHOLE_POOLS, (driver, name), breach, evidence)

    # Suspicions

    def _suspect(
        self,
        invariant: Invariant,
        key: Hashable,
        breach: Breach | None,
        evidence: frozenset[str],
    ) -> None:
        book = self._books[invariant.id]
        if breach is None:
            book.suspicions.pop(key, None)
        elif invariant is ONE_ALLOCATION and self._true_history:
            self._note(invariant, key, breach)
        else:
            known = book.suspicions.get(key)
            if known is None or known.evidence != evidence:
                book.suspicions[key] = _Suspicion(breach, evidence, self._clock())

    def _note(self, invariant: Invariant, key: Hashable, breach: Breach) -> None:
        book = self._books[invariant.id]
        if key not in book.breaches:
            book.breaches[key] = breach
            self._journal.write("breach", invariant=invariant.id, text=breach.text)

    def _patience(self, invariant: Invariant) -> float:
        if invariant is WHOLE_POOLS and self._disturbed:
            return math.inf
        return 0.0 if invariant is ONE_ALLOCATION else SETTLED_SECONDS

    def _still(self, invariant: Invariant, key: Any) -> bool:
        """Whether a breach is there when one looks afresh."""
        if invariant is ONE_ALLOCATION:
            return self._still_clashes(key)
        if invariant is WHOLE_POOLS:
            pool = _pool(self._kube.list(SLICE)[0], *key)
            return pool is not None and bool(pool.problem)
        claim_uid, pod_uid = key
        with self._changed:
            claim = self._claims.get(claim_uid)
        if claim is None:
            return False
        seen = self._kube.find(CLAIM, name_of(claim), namespace_of(claim))
        user = next((u for u in _users(seen or {}) if u["uid"] == pod_uid), None)
        if seen is None or uid_of(seen) != claim_uid or user is None:
            return False
        pod = self._kube.find(POD, user["name"], namespace_of(claim))
        return pod is None or uid_of(pod) != pod_uid

    def _still_clashes(self, key: DeviceKey) -> bool:
        with self._changed:
            clash = self._allocations.clash(key)
        if clash is None:
            return False
        fresh = Allocations()
        for claim in {uid_of(s.claim): s.claim for s in clash}.values():
            seen = self._kube.find(CLAIM, name_of(claim), namespace_of(claim))
            if seen is not None and uid_of(seen) == uid_of(claim):
                fresh.take(seen, gone=False)
        return fresh.clash(key) is not None

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ended and (left := self._seconds_left()) != 0:
                    self._changed.wait(left)
                if self._ended:
                    return
            self.confirm_what_is_due()

    def _seconds_left(self) -> float | None:
        """Until the next suspicion is due; None when there is none."""
        now = self._clock()
        left = [
            max(0.0, suspicion.since + self._patience(invariant) - now)
            for invariant in INVARIANTS
            for suspicion in self._books[invariant.id].suspicions.values()
        ]
        return min(filter(math.isfinite, left), default=None)


def _users(claim: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    users = (claim.get("status") or {}).get("reservedFor") or []
    return [user for user in users if user.get("resource") == "pods"]


def _pool_of(item: Object) -> tuple[str, str]:
    return str(item["spec"]["driver"]), str(item["spec"]["pool"]["name"])


def _pool(slices: Iterable[Object], driver: str, name: str) -> Pool | None:
    return next((pool for pool in pools(slices, driver) if pool.name == name), None)


def _result(invariant: Invariant, book: _Book) -> Result:
    result = Result.passed(invariant.id, invariant.name, INVARIANTS_AREA, invariant.sentence)
    result = replace(result, force="MUST")
    mine = [breach for breach in book.breaches.values() if breach.mine]
    if not book.breaches:
        if book.judged:
            return result
        return result.skipped(UnmetError(invariant.nothing_to_judge))
    describe = mine or list(book.breaches.values())
    finding = Finding(
        head=describe[0].text,
        expected=invariant.sentence,
        observed="\n".join(breach.observed for breach in describe),
        blame=invariant.blame,
        likely=invariant.likely,
        next=invariant.next,
    )
    outcome = Outcome.FAIL if invariant.blame is Blame.DRIVER else Outcome.ERROR
    # What is not the run's, nor the driver's under test, is worth telling but no failure.
    return result.ended(outcome if mine else Outcome.PASS, finding)
