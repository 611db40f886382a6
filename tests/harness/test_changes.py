"""What a run changes that is not its own: noted before, and put back whatever happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster import anchor
from harness.cluster.kinds import DAEMON_SET, LEASE, NODE, POD, Object, name_of
from harness.cluster.kube import ApiError, Kube
from harness.cluster.observe import Budgets
from harness.scenario.changes import FolderChange, read
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run
from harness.session.cleanup import clean_up
from harness.session.sweep import sweep
from harness.verdict.outcome import Outcome, Result
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers, a_run, thing

WHY = "to see what the driver's end brings"
STRATEGY, AFFINITY = "spec.updateStrategy", "spec.template.spec.affinity"
CHANGED = {STRATEGY: {"type": "OnDelete"}, AFFINITY: {"nodeAffinity": {}}}
FOLDER = "/tmp/dra-conformance-folder"


@pytest.fixture
def controllers(api: FakeApi) -> Controllers:
    """The cluster's own control loops."""
    return Controllers(api)


@pytest.fixture
def run(kube: Kube, controllers: Controllers, tmp_path: Path) -> Iterator[Run]:
    """A run that has an object of its own."""
    run = a_run(kube, tmp_path, timeout_scale=0.01)
    run.open_namespace(RESTRICTED)
    yield run
    run.close()


@pytest.fixture
def driver(api: FakeApi) -> Object:
    """Somebody's DaemonSet."""
    spec = {"updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": {"a": 1}}}
    return api.put({**thing("DaemonSet", "driver", "drivers"), "spec": spec})


def the(api: FakeApi, obj: Object) -> Object:
    """An object as it is now."""
    found = api.get(DAEMON_SET, "drivers", name_of(obj))
    assert found is not None
    return found


def noted(api: FakeApi, run: Run) -> str:
    """What the run's Lease says of changes."""
    name = anchor.anchor_name(run.id)
    lease = api.get(LEASE, name, name)
    assert lease is not None
    said = anchor.claimant(lease)
    assert said is not None
    return said.changes


def audit(run: Run) -> Result:
    """The case that names changes of what is not the run's own."""
    (found,) = [result for result in clean_up(run) if result.id == "HYGIENE-002"]
    return found


def expire(api: FakeApi, run: Run) -> None:
    """Let the run be dead for long."""
    run.close()
    name = anchor.anchor_name(run.id)
    lease = api.get(LEASE, name, name)
    assert lease is not None
    api.edit(LEASE, name, name, spec={**lease["spec"], "renewTime": anchor.moment(1)})


def test_fields_are_changed_and_put_back(run: Run, api: FakeApi, driver: Object) -> None:
    """One that was not there is not there again; nothing is left in the note."""
    change = run.changes.fields(driver, CHANGED, WHY)
    assert the(api, driver)["spec"]["template"]["spec"] == {
        "a": 1,
        "affinity": {"nodeAffinity": {}},
    }
    assert run.changes.put_back(change) == ""
    assert the(api, driver)["spec"] == driver["spec"]
    assert read(noted(api, run)) == []
    result = audit(run)
    assert result.outcome is Outcome.PASS
    assert f"daemonset/driver in drivers: {STRATEGY}, {AFFINITY} ({WHY})" in result.headline


def test_a_change_is_noted_on_disk_and_in_the_cluster_before_it_is_made(
    run: Run, api: FakeApi, driver: Object
) -> None:
    """With how it was; what cannot be noted is not done."""
    seen: list[tuple[str, str]] = []

    def look(change: str, obj: Object) -> None:
        if obj["kind"] == DAEMON_SET.name:
            seen.append((noted(api, run), (run.folder / "events.jsonl").read_text()))

    api.reactions.append(look)
    run.changes.fields(driver, CHANGED, WHY)
    ((lease, journal),) = seen
    (change,) = read(lease)
    assert change.before == {STRATEGY: {"type": "RollingUpdate"}, AFFINITY: None}  # type: ignore[union-attr]
    told = [json.loads(line) for line in journal.splitlines()]
    assert [line["change"]["name"] for line in told if line["what"] == "changing"] == ["driver"]
    api.denied.add(("update", "leases"))
    other = api.put({**thing("DaemonSet", "other", "drivers"), "spec": {}})
    with pytest.raises(ApiError):
        run.changes.fields(other, CHANGED, WHY)
    assert the(api, other)["spec"] == {}


def test_clean_up_puts_back_what_a_scenario_did_not(run: Run, api: FakeApi, driver: Object) -> None:
    """Before the pods go, whose end may need the driver."""
    run.changes.fields(driver, CHANGED, WHY)
    run.create(thing("Pod", "pod", run.open_namespace(RESTRICTED)))
    assert audit(run).outcome is Outcome.PASS
    assert the(api, driver)["spec"] == driver["spec"]
    changed = [path for method, path, _ in api.requests if method in ("PUT", "DELETE")]
    ours = [path for path in changed if "leases" not in path]
    assert ours[1].endswith("daemonsets/driver")
    assert ours[2].endswith("pods/pod")


def test_what_somebody_else_has_changed_since_is_named(
    run: Run, api: FakeApi, driver: Object
) -> None:
    """And stays as they have it; the run's anchor stays for a sweep to try again."""
    run.changes.fields(driver, CHANGED, WHY)
    api.edit(DAEMON_SET, "drivers", "driver", spec={"updateStrategy": {"type": "theirs"}})
    result = audit(run)
    assert result.outcome is Outcome.ERROR
    assert "somebody else has changed it since" in result.headline
    assert "RollingUpdate" in result.body
    assert the(api, driver)["spec"]["updateStrategy"] == {"type": "theirs"}
    assert read(noted(api, run))


def test_an_object_that_was_replaced_is_left_alone(run: Run, api: FakeApi, driver: Object) -> None:
    """One of the same name that came later has another UID."""
    run.changes.fields(driver, CHANGED, WHY)
    api.remove(DAEMON_SET, "drivers", "driver")
    later = api.put({**thing("DaemonSet", "driver", "drivers"), "spec": {"new": True}})
    assert audit(run).outcome is Outcome.PASS
    assert the(api, driver)["spec"] == later["spec"]


def test_a_lost_api_server_leaves_the_note(run: Run, api: FakeApi, driver: Object) -> None:
    """What was not put back is named."""
    run.changes.fields(driver, CHANGED, WHY)
    api.fall_silent()
    assert "daemonset/driver in drivers" in audit(run).headline


def test_after_kill_9_a_sweep_puts_fields_back(
    run: Run, kube: Kube, api: FakeApi, driver: Object
) -> None:
    """From the Lease alone."""
    run.changes.fields(driver, CHANGED, WHY)
    expire(api, run)
    done = sweep(kube, Budgets(0.01))
    assert (len(done.restored), len(done.removed), done.left) == (1, 1, [])
    assert the(api, driver)["spec"] == driver["spec"]
    assert set(api.objects) == {("DaemonSet", "drivers", "driver")}


# Folders of nodes


class Nodes:
    """Starts pods, and ends those that remove a folder."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.exit_code = 0
        self.removed_on: list[str] = []
        for name in ("node-1", "node-2"):
            api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        api.reactions.append(self._react)

    def _react(self, change: str, obj: Object) -> None:
        if change != "ADDED" or not name_of(obj).startswith("removal-"):
            return
        self.removed_on.append(obj["spec"]["nodeName"])
        ended = {"terminated": {"exitCode": self.exit_code}}
        status = {"containerStatuses": [{"name": "removal", "state": ended}]}
        where = obj["metadata"]["namespace"]
        self.api.write_log(where, name_of(obj), "it is busy\n", complete=True)
        self.api.edit(POD, where, name_of(obj), status=status)


@pytest.fixture
def nodes(api: FakeApi, controllers: Controllers) -> Nodes:
    """Two nodes."""
    return Nodes(api)


def with_folder(run: Run, node: str = "node-2") -> FolderChange:
    """Make a folder, as a pod on this node does."""
    where = run.open_namespace(PRIVILEGED)
    removal = {
        **thing("Pod", "removal", where),
        "spec": {"nodeName": "", "containers": [{"name": "removal"}]},
    }
    folder = run.changes.folder(FOLDER, removal)
    volumes = [{"name": "shared", "hostPath": {"path": FOLDER}}]
    spec = {"nodeName": node, "containers": [{"name": "main"}], "volumes": volumes}
    run.create({**thing("Pod", "pod", where), "spec": spec})
    return folder


def test_clean_up_removes_a_folder_where_it_was_made(run: Run, nodes: Nodes) -> None:
    """Once the pods that have it are gone."""
    with_folder(run)
    assert audit(run).outcome is Outcome.PASS
    assert nodes.removed_on == ["node-2"]
    assert run.record.leftovers == []


def test_a_folder_that_stays_is_named(run: Run, nodes: Nodes) -> None:
    """With its node, the reason, and what removes it by hand."""
    nodes.exit_code = 1
    with_folder(run)
    result = audit(run)
    assert f"folder {FOLDER} on node-2: it is busy" in result.body
    assert f"rm -r {FOLDER} on node-2 removes it" in result.body
    assert run.record.leftovers


def test_a_folder_of_a_node_that_is_gone_is_gone(run: Run, api: FakeApi, nodes: Nodes) -> None:
    """Nobody waits for a pod there."""
    with_folder(run)
    api.remove(NODE, "", "node-2")
    assert audit(run).outcome is Outcome.PASS
    assert nodes.removed_on == []


@pytest.mark.parametrize("pods_are_there", [True, False])
def test_after_kill_9_a_sweep_removes_a_folder(
    pods_are_there: bool, run: Run, kube: Kube, api: FakeApi, nodes: Nodes
) -> None:
    """Wherever in its scenario the run was killed: the pods, or the note, say on which node."""
    folder = with_folder(run)
    if not pods_are_there:
        pods = [obj for obj in run.created if obj["kind"] == POD.name]
        run.changes.settle(folder, pods)
        api.remove(POD, run.open_namespace(PRIVILEGED), "pod")
    expire(api, run)
    done = sweep(kube, Budgets(0.01))
    assert done.restored == [f"folder {FOLDER} on node-2"]
    assert (nodes.removed_on, done.left) == (["node-2"], [])
    assert {kind for kind, _, _ in api.objects} == {"Node"}


def test_a_folder_that_a_sweep_cannot_remove_can_be_swept_again(
    run: Run, kube: Kube, api: FakeApi, nodes: Nodes
) -> None:
    """The anchor, which has the note, stays until then."""
    with_folder(run)
    nodes.exit_code = 1
    expire(api, run)
    done = sweep(kube, Budgets(0.01))
    assert (done.removed, len(done.left)) == ([], 1)
    assert "it is busy" in done.left[0]
    nodes.exit_code = 0
    assert sweep(kube, Budgets(0.01)).left == []


def test_a_note_that_no_run_wrote_removes_nothing(run: Run, kube: Kube, api: FakeApi) -> None:
    """It is told instead."""
    run._note_changes('[{"what": "everything"}]')
    expire(api, run)
    done = sweep(kube, Budgets(0.01))
    assert done.removed == []
    assert "not a note of changes" in done.kept[0]
