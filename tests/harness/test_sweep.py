"""Sweeping away what killed runs left, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import anchor
from harness.cluster.kinds import LEASE, NAMESPACE, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.observe import Budgets
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run
from harness.session.sweep import Swept, sweep
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers, a_run, thing

KILLED, TEAM = "20261123-000000-dead", "team"
NAME = f"dra-conformance-{KILLED}"


@pytest.fixture
def controllers(api: FakeApi) -> Controllers:
    """The cluster's own control loops."""
    return Controllers(api)


@pytest.fixture
def killed(kube: Kube, controllers: Controllers, tmp_path: Path) -> Iterator[Run]:
    """A run with namespaces, a claim and a pod, that does nothing any more."""
    run = a_run(kube, tmp_path / "killed", KILLED)
    for standard in (RESTRICTED, PRIVILEGED):
        namespace = run.open_namespace(standard)
        run.create(thing("ResourceClaim", "claim", namespace))
        run.create(thing("Pod", "pod", namespace))
    run.create(thing("ResourceClaim", "claim", name_of(run.own_namespace("scenario"))))
    yield run
    run.close()


@pytest.fixture
def confined(kube: Kube, controllers: Controllers, api: FakeApi, tmp_path: Path) -> Iterator[Run]:
    """One that was confined to a namespace."""
    api.put(thing("Namespace", TEAM, ""))
    run = a_run(kube, tmp_path / "confined", KILLED, namespace=TEAM)
    run.open_namespace(RESTRICTED)
    run.create(thing("ResourceClaim", "claim", TEAM))
    run.create(thing("Pod", "pod", TEAM))
    run.create(thing("ConfigMap", "map", TEAM))
    yield run
    run.close()


def expire(api: FakeApi, namespace: str = NAME) -> None:
    """Let the time pass after which the Lease is no longer valid."""
    lease = api.get(LEASE, namespace, NAME)
    assert lease is not None
    spec = {**lease["spec"], "renewTime": anchor.moment(1)}
    api.edit(LEASE, namespace, NAME, spec=spec)


def swept(kube: Kube, namespace: str = "") -> Swept:
    """Sweep."""
    return sweep(kube, Budgets(0.005), namespace)


def names(api: FakeApi) -> set[tuple[str, str, str]]:
    """Every object."""
    return set(api.objects)


def test_an_expired_run_is_removed(kube: Kube, killed: Run, api: FakeApi) -> None:
    """With all that hangs on it: pods before claims before namespaces before the anchor."""
    killed.close()
    expire(api)
    done = swept(kube)
    assert (len(done.removed), done.kept, done.left) == (1, [], [])
    assert names(api) == set()
    kinds = [path.split("/")[-2] for method, path, _ in api.requests if method == "DELETE"]
    assert list(dict.fromkeys(kinds)) == ["pods", "resourceclaims", "namespaces"]


def test_a_living_run_is_left_alone(kube: Kube, killed: Run, api: FakeApi) -> None:
    """With who it is and until when."""
    before = names(api)
    done = swept(kube)
    assert names(api) == before
    assert (done.removed, done.left) == ([], [])
    assert f"run {KILLED} of " in done.kept[0]
    assert "lives: its Lease expires in" in done.kept[0]


def copy_of(obj: Object, **metadata: Any) -> Object:
    """What ``kubectl get -o yaml``, an editor and ``kubectl apply`` make of an object."""
    kept = {k: v for k, v in obj["metadata"].items() if k not in ("uid", "resourceVersion")}
    return {**obj, "metadata": {**kept, **metadata}}


@pytest.mark.parametrize("name", [NAME, f"{NAME}-copy", f"{NAME}-restricted", "prod"])
def test_a_copy_is_left_alone(name: str, kube: Kube, killed: Run, api: FakeApi) -> None:
    """Labels, annotations, Lease and even the name are the killed run's; the UID is not."""
    killed.close()
    expire(api)
    namespace, lease = api.get(NAMESPACE, "", NAME), api.get(LEASE, NAME, NAME)
    assert namespace is not None
    assert lease is not None
    swept(kube)
    api.put(copy_of(namespace, name=name))
    api.put(copy_of(lease, name=name, namespace=name))
    api.put(thing("Pod", "pod", name, labels={anchor.RUN_LABEL: KILLED}))
    before = names(api)
    done = swept(kube)
    assert names(api) == before
    assert "it is a copy" in done.kept[0]


def test_beside_an_expired_run_copies_and_similar_names_survive(
    kube: Kube, killed: Run, api: FakeApi
) -> None:
    """A namespace with its label, one with its name's beginning, one that somebody else owns."""
    other = {"apiVersion": "v1", "kind": "Namespace", "name": NAME, "uid": "another"}
    foreign = [
        api.put(thing("Namespace", f"{NAME}-x", "", labels={anchor.RUN_LABEL: KILLED})),
        api.put(thing("Namespace", f"{NAME}-restricted-2", "")),
        api.put(
            thing(
                *("Namespace", f"{NAME}-y", ""),
                labels={anchor.RUN_LABEL: KILLED},
                ownerReferences=[other],
            )
        ),
        api.put(thing("Pod", "pod", f"{NAME}-x", labels={anchor.RUN_LABEL: KILLED})),
        api.put(thing("ResourceClaim", "claim", "prod", labels={anchor.RUN_LABEL: KILLED})),
    ]
    killed.close()
    expire(api)
    done = swept(kube)
    assert len(done.removed) == 1
    assert [line.split(": ")[0] for line in done.kept] == [
        f"namespace/{NAME}-x",
        f"namespace/{NAME}-y",
    ]
    assert {uid for obj in api.objects.values() if (uid := obj["metadata"]["uid"])} == {
        obj["metadata"]["uid"] for obj in foreign
    }


def test_an_anchor_without_a_lease_is_left_alone(kube: Kube, killed: Run, api: FakeApi) -> None:
    """Nobody knows whether it lives."""
    killed.close()
    api.remove(LEASE, NAME, NAME)
    done = swept(kube)
    assert done.kept == [f"namespace/{NAME}: no Lease of a run names it"]


def test_what_does_not_go_is_named_and_can_be_swept_again(
    kube: Kube, killed: Run, api: FakeApi, controllers: Controllers
) -> None:
    """A finalizer is never touched."""
    killed.close()
    expire(api)
    controllers.held.add("pod")
    done = swept(kube)
    assert done.removed == []
    assert f"pod/pod in {NAME}-privileged" in "\n".join(done.left)
    assert api.get(NAMESPACE, "", NAME) is not None
    controllers.held.clear()
    for standard in (RESTRICTED, PRIVILEGED):
        api.remove(NAMESPACE, "", f"{NAME}-{standard}")
        for kind, namespace, name in list(api.objects):
            if namespace == f"{NAME}-{standard}":
                api.objects.pop((kind, namespace, name))
    assert len(swept(kube).removed) == 1
    assert names(api) == set()


def test_in_a_namespace_that_stays_only_what_the_lease_owns_goes(
    kube: Kube, confined: Run, api: FakeApi
) -> None:
    """A copy of its pod and of its Lease survive, and so does the namespace."""
    confined.close()
    expire(api, TEAM)
    lease = api.get(LEASE, TEAM, NAME)
    assert lease is not None
    foreign = [
        api.put(thing("Pod", "copy", TEAM, labels={anchor.RUN_LABEL: KILLED})),
        api.put(copy_of(lease, name=f"{NAME}-copy")),
        api.put(thing("Pod", "other", TEAM)),
    ]
    done = swept(kube, TEAM)
    assert len(done.removed) == 1
    assert "it is a copy" in done.kept[0]
    assert {name for _, _, name in names(api)} == {TEAM, *(name_of(obj) for obj in foreign)}


def test_nothing_is_said_to_be_nothing(kube: Kube) -> None:
    """An empty answer is an answer."""
    assert list(swept(kube).lines()) == ["SWEPT    there is nothing of any run"]
