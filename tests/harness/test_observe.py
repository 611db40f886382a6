"""Observing instead of polling."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from harness.cluster.journal import Journal
from harness.cluster.kinds import CONFIG_MAP, NODE, POD, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.observe import Budget, Observer, StoppedError, WaitTimeoutError
from tests.harness.fake_api import FakeApi, client, serving

LONG = Budget("long", 10)
NONE = Budget("none", 0.05)


def pod(name: str, phase: str = "Pending", namespace: str = "n") -> Object:
    """A pod in a phase."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def phase_is(observer: Observer, name: str, phase: str) -> Object | None:
    """The pod, once it is in that phase."""
    for obj in observer.objects(POD):
        if name_of(obj) == name and obj["status"]["phase"] == phase:
            return obj
    return None


def wait_for(observer: Observer, name: str, phase: str) -> Object:
    """Wait for a phase."""
    return observer.wait(phase, lambda: phase_is(observer, name, phase), LONG, lambda: "")


def test_what_is_there_and_what_changes_is_seen(api: FakeApi, observer: Observer) -> None:
    """List, then watch."""
    api.put(pod("old"))
    observer.observe(POD, "n")
    assert [name_of(obj) for obj in observer.objects(POD)] == ["old"]
    api.put(pod("new", "Running"))
    assert wait_for(observer, "new", "Running")


def test_an_object_is_remembered_after_its_end(api: FakeApi, observer: Observer) -> None:
    """A container's end is often seen only in the last state of its pod."""
    stored = api.put(pod("p", "Running"))
    observer.observe(POD, "n")
    api.put({**stored, "status": {"phase": "Failed"}})
    api.remove(POD, "n", "p")
    observer.wait("its end", lambda: observer.last(stored).gone or None, LONG, lambda: "")
    assert observer.last(stored).obj["status"]["phase"] == "Failed"
    assert observer.objects(POD) == []
    assert [v["status"]["phase"] for v in observer.versions(stored)] == [
        "Running",
        "Failed",
        "Failed",
    ]


def test_nodes_are_kept_without_their_images(api: FakeApi, observer: Observer) -> None:
    """As listed and as changed: thousands of nodes name fifty each."""
    status = {"images": [{"names": ["a"]}], "phase": "old"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "status": status}
    api.put(node)
    observer.observe(NODE)
    assert [seen["status"] for seen in observer.objects(NODE)] == [{"phase": "old"}]
    api.put({**node, "status": {**status, "phase": "new"}})
    observer.wait(
        "the change",
        lambda: [seen["status"] for seen in observer.objects(NODE)] == [{"phase": "new"}],
        LONG,
        lambda: str(observer.objects(NODE)),
    )


def test_a_forgotten_version_is_listed_anew(api: FakeApi, observer: Observer) -> None:
    """410 in the stream: what was deleted meanwhile is gone, what came is seen."""
    kept, lost = api.put(pod("kept")), api.put(pod("lost"))
    observer.observe(POD, "n")
    api.forget()
    api.remove(POD, "n", "lost")
    api.put(pod("came", "Running"))
    api.put({**kept, "status": {"phase": "Running"}})
    api.remember()
    wait_for(observer, "came", "Running")
    wait_for(observer, "kept", "Running")
    observer.wait("the end", lambda: observer.last(lost).gone or None, LONG, lambda: "")


def test_a_watch_that_ends_is_taken_up_again(api: FakeApi, observer: Observer) -> None:
    """Servers end watches now and then."""
    api.drop_watches = 3
    observer.observe(POD, "n")
    api.put(pod("p", "Running"))
    wait_for(observer, "p", "Running")
    assert sum(query.get("watch") == "true" for _, _, query in api.requests) >= 1


def test_a_wait_that_is_in_vain_says_what_was_seen(api: FakeApi, observer: Observer) -> None:
    """What, how long, which budget, and what instead."""
    api.put(pod("p"))
    observer.observe(POD, "n")
    with pytest.raises(WaitTimeoutError) as error:
        observer.wait("the pod's start", lambda: None, NONE, lambda: "p is Pending")
    text = "the pod's start not within 0.05 s (budget none); seen: p is Pending"
    assert str(error.value) == text


def test_trouble_with_the_api_server_is_told_with_the_time_out(
    api: FakeApi, observer: Observer
) -> None:
    """Silence may be the API server's fault."""
    observer.observe(POD, "n")
    api.forget()
    told = observer.wait(
        "trouble", lambda: dict(observer._trouble) or None, LONG, lambda: "nothing"
    )
    assert told == {"pods in n": ("the watch of pods in n failed: too old", False)}
    with pytest.raises(WaitTimeoutError, match="the watch of pods in n failed"):
        observer.wait("news", lambda: None, NONE, lambda: "nothing")


def test_a_wait_ends_when_the_run_does(observer: Observer) -> None:
    """Ctrl-C in one thread, waits in others."""
    ended: list[type[BaseException]] = []
    waiting = threading.Event()

    def ready() -> None:
        waiting.set()

    def wait() -> None:
        try:
            observer.wait("ever", ready, LONG, lambda: "")
        except StoppedError as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(5)
    observer.stop_waits()
    thread.join(5)
    assert ended == [StoppedError]


def test_everything_seen_is_journaled(api: FakeApi, kube: Kube, tmp_path: Path) -> None:
    """A killed run can be read afterwards."""
    journal = Journal(tmp_path / "events.jsonl")
    observer = Observer(kube, journal)
    observer.observe(CONFIG_MAP, "n")
    map_ = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}}
    api.put({**map_, "managedFields": []})
    observer.wait("it", lambda: observer.objects(CONFIG_MAP) or None, LONG, lambda: "")
    observer.close()
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(line["what"], line["change"]) for line in lines] == [("object", "ADDED")]


def test_a_listener_gets_what_there_is_and_what_comes(api: FakeApi, observer: Observer) -> None:
    """What a list tells at once comes at once: it is one state of the cluster."""
    kept, lost = api.put(pod("kept")), api.put(pod("lost"))
    observer.observe(POD, "n")
    seen: list[list[tuple[str, bool]]] = []
    heard = threading.Condition()

    def listen(changes: list[tuple[Object, bool]]) -> None:
        with heard:
            seen.append([(name_of(obj), gone) for obj, gone in changes])
            heard.notify_all()

    observer.listen(listen)
    assert seen == [[("kept", False), ("lost", False)]]
    with api.changed:
        api.forget()
        api.remove(POD, "n", "lost")
        api.put({**kept, "status": {"phase": "Running"}})
        api.remember()
        api.oldest = api.version + 1
    with heard:
        assert heard.wait_for(lambda: len(seen) > 1, 10)
    assert seen[1] == [("lost", True), ("kept", False)]
    assert name_of(lost) == "lost"


def test_an_api_server_that_comes_back_is_seen_again(api: FakeApi, tmp_path: Path) -> None:
    """While it is away that is known; then nothing of what happened is missed."""
    with serving(api) as address:
        port = int(address.rpartition(":")[2])
        observer = Observer(client(address), Journal(None))
        observer.observe(POD, "n")
        assert observer.reachable()
    observer.wait("its end", lambda: None if observer.reachable() else True, LONG, lambda: "")
    api.put(pod("born-meanwhile", "Running"))
    api.closing = False
    with serving(api, port):
        wait_for(observer, "born-meanwhile", "Running")
        observer.wait("its return", lambda: observer.reachable() or None, LONG, lambda: "")
        observer.close()


def test_of_what_is_foreign_only_an_extract_is_journaled(
    api: FakeApi, kube: Kube, tmp_path: Path
) -> None:
    """A long run on a busy cluster neither grows without end nor copies others' secrets."""
    journal = Journal(tmp_path / "events.jsonl")
    observer = Observer(kube, journal, lambda obj: name_of(obj) == "theirs")
    observer.observe(POD, "n")
    theirs = api.put({**pod("theirs"), "spec": {"secret": "x"}})
    api.put({**theirs, "status": {"phase": "Running"}})
    wait_for(observer, "theirs", "Running")
    assert observer.versions(theirs) == []
    api.remove(POD, "n", "theirs")
    observer.wait("its end", lambda: not observer.objects(POD) or None, LONG, lambda: "")
    observer.close()
    journal.close()
    text = (tmp_path / "events.jsonl").read_text()
    assert "secret" not in text
    assert text.count(theirs["metadata"]["uid"]) == 3
