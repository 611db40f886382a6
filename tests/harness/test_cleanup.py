"""What a run has in a cluster, and how it goes again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import anchor
from harness.cluster.kinds import CLAIM, LEASE, NAMESPACE, POD, VOLUME_CLAIM, name_of
from harness.cluster.kube import Kube, UnreachableError
from harness.cluster.observe import Budget
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run
from harness.session.cleanup import Removal, clean_up, delete_command
from harness.verdict.finding import UnmetError
from harness.verdict.outcome import Outcome, Result
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers, a_run, thing

TEAM = "team"


@pytest.fixture
def controllers(api: FakeApi) -> Controllers:
    """The cluster's own control loops."""
    return Controllers(api)


@pytest.fixture
def run(kube: Kube, controllers: Controllers, tmp_path: Path) -> Iterator[Run]:
    """A run that makes its own namespaces."""
    run = a_run(kube, tmp_path, timeout_scale=0.005)
    yield run
    run.close()


@pytest.fixture
def confined(kube: Kube, controllers: Controllers, api: FakeApi, tmp_path: Path) -> Iterator[Run]:
    """A run that is confined to a namespace."""
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    run = a_run(kube, tmp_path, namespace=TEAM)
    yield run
    run.close()


def names(api: FakeApi) -> set[str]:
    """Every object, as ``Kind/name``."""
    return {f"{kind}/{name}" for kind, _, name in api.objects}


def deleted(api: FakeApi) -> list[str]:
    """The paths of what was deleted, in order."""
    return [path for method, path, _ in api.requests if method == "DELETE"]


def only(results: list[Result], case_id: str) -> Result:
    """One case."""
    (found,) = [result for result in results if result.id == case_id]
    return found


def furnish(run: Run) -> None:
    """A claim, its pod, and a map in two namespaces."""
    for standard in (RESTRICTED, PRIVILEGED):
        namespace = run.open_namespace(standard)
        run.create(thing("ResourceClaim", "claim", namespace))
        run.create(thing("Pod", "pod", namespace))
        run.create(thing("ConfigMap", "map", namespace))


def test_everything_hangs_on_the_anchor(run: Run, api: FakeApi) -> None:
    """By UID; the Lease in the anchor names it."""
    furnish(run)
    owner = run.anchor
    assert owner is not None
    for namespace in run.namespaces()[1:]:
        assert anchor.is_owned_by(namespace, owner)
    lease = api.get(LEASE, name_of(owner), name_of(owner))
    assert lease is not None
    said = anchor.claimant(lease)
    assert said is not None
    assert said.anchor == anchor.naming(owner)
    assert said.run_id == run.id
    assert {name_of(namespace) for namespace in run.namespaces()} == {
        f"dra-conformance-{run.id}{part}" for part in ("", "-restricted", "-privileged")
    }


def test_uids_are_on_disk_before_they_are_used(run: Run) -> None:
    """Whatever happens next, the journal tells what the run has."""
    created = run.create(thing("Pod", "pod", run.open_namespace(RESTRICTED)))
    lines = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["what"] in ("creating", "created")]
    assert told[-2]["name"] == "pod"
    assert told[-1]["object"]["metadata"]["uid"] == created["metadata"]["uid"]


def test_the_lease_is_renewed_while_the_run_lives(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after somebody else has changed it."""
    monkeypatch.setattr(anchor, "RENEW_SECONDS", 0.01)
    run.open_namespace(RESTRICTED)
    name = anchor.anchor_name(run.id)
    with api.changed:
        first = api.get(LEASE, name, name)
        assert first is not None
        api.edit(LEASE, name, name, metadata={**first["metadata"], "labels": {"by": "others"}})

        def renewed() -> bool:
            lease = api.get(LEASE, name, name)
            assert lease is not None
            return bool(lease["spec"]["renewTime"] > first["spec"]["renewTime"])

        assert api.changed.wait_for(renewed, 10)


def test_pods_go_before_claims_before_namespaces_before_the_anchor(run: Run, api: FakeApi) -> None:
    """And nothing is left, nothing foreign is gone."""
    foreign = [
        thing("Namespace", f"dra-conformance-{run.id}-other", ""),
        thing("Pod", "pod", f"dra-conformance-{run.id}-other", labels={anchor.RUN_LABEL: run.id}),
        thing("ResourceClaim", "claim", "elsewhere", labels={anchor.RUN_LABEL: run.id}),
    ]
    for obj in foreign:
        api.put(obj)
    furnish(run)
    results = clean_up(run)
    assert [(r.id, r.outcome) for r in results] == [
        ("HYGIENE-001", Outcome.PASS),
        ("HYGIENE-002", Outcome.PASS),
    ]
    kinds = [path.split("/")[-2] for path in deleted(api)]
    assert list(dict.fromkeys(kinds)) == ["pods", "resourceclaims", "configmaps", "namespaces"]
    assert deleted(api)[-1].endswith(f"/dra-conformance-{run.id}")
    assert names(api) == {f"{obj['kind']}/{name_of(obj)}" for obj in foreign}


def test_a_pod_is_deleted_once(run: Run, api: FakeApi, controllers: Controllers) -> None:
    """One that is over stays for another second, whether its scenario or the run has deleted it."""
    namespace = run.open_namespace(RESTRICTED)
    pods = [run.create(thing("Pod", name, namespace)) for name in ("deleted", "kept")]
    for pod in pods:
        controllers.held.add(name_of(pod))
        api.edit(POD, namespace, name_of(pod), status={"phase": "Succeeded"})
    run.kube.delete(pods[0])
    removal = Removal(run.kube, run.observer, Budget("clean-up", 0.1))
    removal.delete(POD, pods)
    removal.delete_all(pods, last=None)
    assert sorted(path.rsplit("/", 1)[-1] for path in deleted(api)) == ["deleted", "kept"]


def test_a_volume_is_waited_for_while_it_is_protected(
    confined: Run, api: FakeApi, controllers: Controllers
) -> None:
    """Its finalizer goes only after its pods, and nobody watches it."""
    volume = confined.create(
        thing("PersistentVolumeClaim", "volume", confined.open_namespace(RESTRICTED))
    )
    controllers.held.add("volume")
    told = threading.Timer(0.5, lambda: api.remove(VOLUME_CLAIM, TEAM, name_of(volume)))
    told.start()
    results = clean_up(confined)
    told.join()
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.PASS]
    assert confined.record.leftovers == []
    assert names(api) == {f"Namespace/{TEAM}"}


def test_what_does_not_go_is_named_and_stays_sweepable(
    run: Run, api: FakeApi, controllers: Controllers
) -> None:
    """The anchor and its Lease are kept: the way to what is left."""
    furnish(run)
    controllers.held.add("pod")
    result = only(clean_up(run), "HYGIENE-001")
    assert result.outcome is Outcome.ERROR
    assert "pod/pod in dra-conformance-" in result.headline
    assert len(result.headline) <= 120
    assert f"kubectl delete namespace dra-conformance-{run.id} (or --dra-sweep" in result.body
    assert {f"Namespace/dra-conformance-{run.id}", f"Lease/dra-conformance-{run.id}"} <= names(api)
    assert run.record.leftovers


def test_what_does_not_go_is_waited_for_once(
    run: Run, api: FakeApi, controllers: Controllers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that stays keeps its claim and its namespace: one time limit for all of them."""
    furnish(run)
    controllers.held.add("pod")
    asked: list[float] = []
    wait = run.observer.wait

    def recording(what: str, predicate: Any, budget: Budget, state: Any) -> Any:
        if what == "the end of the run's objects":
            asked.append(budget.seconds)
        return wait(what, predicate, budget, state)

    monkeypatch.setattr(run.observer, "wait", recording)
    clean_up(run)
    assert asked[0] == run.budgets.clean_up.seconds
    assert len(asked) > 1
    assert asked[1:] == pytest.approx([0.0] * len(asked[1:]), abs=0.1)


def test_a_change_of_what_is_not_the_runs_is_found(run: Run, api: FakeApi) -> None:
    """Unless it was made through the run's changes."""
    lent, other = (api.put(thing("Pod", name, "others")) for name in ("lent", "other"))
    run.open_namespace(RESTRICTED)
    run.changes.delete(lent, "to see it come back")
    made = api.put(thing("ResourceClaim", "made", run.open_namespace(RESTRICTED)))
    copied = api.put(thing("Pod", "copied", "others", labels={anchor.RUN_LABEL: run.id}))
    for obj in (other, made, copied):
        run.kube.delete(obj)
    result = only(clean_up(run), "HYGIENE-002")
    assert result.outcome is Outcome.ERROR
    assert "delete pod/other in others" in result.headline
    assert "delete pod/copied in others" in result.body
    assert "lent" not in result.body
    assert "made" not in result.body


def test_a_lost_api_server_is_not_asked_for_every_object(run: Run, api: FakeApi) -> None:
    """What is left is named all the same."""
    furnish(run)
    api.fall_silent()
    result = only(clean_up(run), "HYGIENE-001")
    assert result.outcome is Outcome.ERROR
    assert len(run.record.leftovers) == len(run.created)
    assert len(deleted(api)) <= 1
    assert "does not answer" in result.body


def test_what_was_created_without_an_answer_is_removed(run: Run, api: FakeApi) -> None:
    """The server did it and died before it said so."""
    namespace = run.open_namespace(RESTRICTED)

    def refuse(path: str, obj: object) -> None:
        api.fail = lambda *_: None
        api.put(thing("Pod", "pod", namespace))
        raise ConnectionResetError

    api.fail = refuse
    with pytest.raises(UnreachableError):
        run.create(thing("Pod", "pod", namespace))
    assert only(clean_up(run), "HYGIENE-001").outcome is Outcome.PASS
    assert names(api) == set()


def test_a_confined_run_never_deletes_the_namespace(confined: Run, api: FakeApi) -> None:
    """Only its own objects in it, which hang on the Lease."""
    foreign = api.put(thing("Pod", "foreign", TEAM, labels={anchor.RUN_LABEL: confined.id}))
    assert {confined.open_namespace(standard) for standard in (RESTRICTED, PRIVILEGED)} == {TEAM}
    claim = confined.create(thing("ResourceClaim", "claim", TEAM))
    owner = confined.anchor
    assert owner is not None
    assert anchor.is_owned_by(claim, owner)
    assert delete_command(confined) == (
        f"kubectl delete lease dra-conformance-{confined.id} --namespace {TEAM}"
    )
    assert all(result.outcome is Outcome.PASS for result in clean_up(confined))
    assert names(api) == {f"Namespace/{TEAM}", f"Pod/{name_of(foreign)}"}


def test_a_confined_run_creates_nothing_of_the_cluster(confined: Run) -> None:
    """A check that needs to is skipped."""
    confined.open_namespace(RESTRICTED)
    with pytest.raises(UnmetError, match="--dra-namespace keeps the run to team"):
        confined.create(confined.render("namespace.yaml.j2", {"name": "x", "standard": RESTRICTED}))


def test_others_claims_are_seen_when_that_is_allowed(run: Run, api: FakeApi) -> None:
    """Then one watch serves all; else each namespace of the run has its own."""
    api.put(thing("ResourceClaim", "theirs", "others"))
    run.observe_cluster()
    run.open_namespace(RESTRICTED)
    assert [name_of(claim) for claim in run.observer.objects(CLAIM)] == ["theirs"]
    watched = {path for _, path, query in api.requests if "resourceclaims" in path}
    assert watched == {CLAIM.path()}
    assert NAMESPACE.path() in {path for _, path, _ in api.requests}
    assert any("/namespaces/" in path for _, path, _ in api.requests if POD.plural in path)


def test_what_controllers_make_of_the_runs_objects_is_the_runs(confined: Run) -> None:
    """A claim made from a template carries its pod's UID, not the run's label."""
    pod = confined.create(thing("Pod", "pod", confined.open_namespace(RESTRICTED)))
    owner = {"kind": "Pod", "name": "pod", "uid": pod["metadata"]["uid"]}
    made = thing("ResourceClaim", "made", TEAM, uid="made", ownerReferences=[owner])
    other = thing("ResourceClaim", "other", TEAM, uid="other")
    assert (confined.is_mine(made), confined.is_mine(other)) == (True, False)
