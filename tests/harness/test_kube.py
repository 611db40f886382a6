"""The one door to the API server."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from harness.cluster.kinds import CLAIM, CONFIG_MAP, POD, SLICE, Object
from harness.cluster.kube import ApiError, Kube, UnreachableError
from tests.harness.fake_api import FakeApi, client


def config_map(name: str = "it", namespace: str = "here") -> Object:
    """An object to play with."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"a": "b"},
    }


def test_created_objects_are_strictly_validated_and_signed(api: FakeApi, kube: Kube) -> None:
    """Unknown fields are an error of ours, and an admin finds each call in the audit log."""
    created = kube.create(config_map())
    assert kube.get(CONFIG_MAP, "it", "here") == created
    method, path, query = api.requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/here/configmaps")
    assert query == {"fieldValidation": "Strict"}
    assert api.agents == {"dra-conformance/0.1.0 run/test"}


@pytest.mark.parametrize("expire", [False, True])
def test_long_lists_are_read_page_by_page(
    expire: bool, api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole where the server does not keep what the pages are of."""
    monkeypatch.setattr("harness.cluster.kube.PAGE", 2)
    api.pages_expire = expire
    names = [f"gpu-{number}" for number in range(5)]
    for name in names:
        device = {"name": name, "attributes": {"product": {"string": "H200"}}}
        spec = {"driver": "d", "devices": [device]}
        metadata = {"name": name, "managedFields": [{"manager": "m"}]}
        kind = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice"}
        api.put({**kind, "metadata": metadata, "spec": spec})
    items, version = kube.list(SLICE)
    assert sorted(item["metadata"]["name"] for item in items) == names
    assert version == str(api.version)
    assert not any("managedFields" in item["metadata"] for item in items)
    values = [item["spec"]["devices"][0]["attributes"]["product"] for item in items]
    assert all(value is values[0] for value in values), "equal values are kept once"


def test_lists_tell_kind_and_version_of_items(kube: Kube) -> None:
    """The server leaves both out of a list's items."""
    kube.create(config_map())
    items, version = kube.list(CONFIG_MAP, "here")
    assert [(item["kind"], item["apiVersion"]) for item in items] == [("ConfigMap", "v1")]
    assert version == "101"


def test_refusals_carry_the_servers_sentence(kube: Kube) -> None:
    """Not a dump of headers."""
    with pytest.raises(ApiError) as error:
        kube.get(CLAIM, "none", "here")
    assert (error.value.status, str(error.value)) == (404, 'resourceclaims "none" not found')


def test_only_the_very_object_is_deleted(api: FakeApi, kube: Kube) -> None:
    """Somebody else's object of the same name stays."""
    mine = kube.create(config_map())
    assert kube.delete(mine)
    assert not kube.delete(mine)
    kube.create(config_map())
    assert not kube.delete(mine)
    assert api.get(CONFIG_MAP, "here", "it") is not None


def test_a_missing_service_account_is_asked_for_again(api: FakeApi, kube: Kube) -> None:
    """A new namespace has its default ServiceAccount only a moment later."""
    refusals = [(403, "Forbidden", 'pods "it" is forbidden: error looking up service account')] * 2
    api.fail = lambda *_: refusals.pop() if refusals else None
    assert kube.create(config_map())["metadata"]["name"] == "it"


def test_other_refusals_are_not_repeated(api: FakeApi, kube: Kube) -> None:
    """A quota will not change its mind."""
    api.fail = lambda *_: (403, "Forbidden", "exceeded quota")
    with pytest.raises(ApiError, match="exceeded quota"):
        kube.create(config_map())
    assert len(api.requests) == 1


def test_log_lines_arrive_as_written_and_the_last_without_newline_too(
    api: FakeApi, kube: Kube
) -> None:
    """The official client loses the last line of a log that does not end with a newline."""
    pod = api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}})
    api.write_log("n", "p", "one\ntw")
    lines = kube.follow_log(pod, "c").lines()
    assert next(lines) == b"one"
    api.write_log("n", "p", 'o\n{"last": true}', complete=True)
    assert list(lines) == [b"two", b'{"last": true}']
    assert kube.log(pod, "c") == 'one\ntwo\n{"last": true}'


def test_a_stream_is_ended_from_another_thread(api: FakeApi, kube: Kube) -> None:
    """A follower that waits for more can be told to stop."""
    pod = api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}})
    stream = kube.follow_log(pod, "c")
    ended = threading.Event()

    def read() -> None:
        list(stream.lines())
        ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    stream.close()
    assert ended.wait(5)


def test_an_api_server_that_is_not_there_is_named() -> None:
    """With address and cause, without Python."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnreachableError) as error:
            client(address).get(POD, "p", "n")
    assert address in str(error.value)
    assert "refused" in str(error.value)
    assert "object at" not in str(error.value)


def test_the_servers_clock_is_that_of_its_answers(api: FakeApi, kube: Kube) -> None:
    """To the second, which is all that the header tells."""
    api.documents["/version"] = {}
    api.clock_ahead = 500.0
    told, unsure = kube.clock()
    assert abs(told - time.time() - 500.0) <= unsure + 1
    assert 0.5 <= unsure < 5


def test_the_servers_clock_is_told_by_its_answers(kube: Kube) -> None:
    """To a second."""
    assert abs(kube.server_time() - time.time()) < 3


# A server that is lost


def test_a_server_that_comes_back_is_not_lost(
    api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever got no answer waits for it, and knows that it was away."""
    monkeypatch.setattr("harness.cluster.kube.ASK_AGAIN_SECONDS", 0.01)
    api.documents["/version"] = {}
    kube.document("/version")
    began = time.monotonic()
    assert not kube.was_away(began)
    api.silent = True
    with pytest.raises(UnreachableError):
        kube.list(POD)
    assert kube.was_away(began)
    threading.Timer(0.2, setattr, (api, "silent", False)).start()
    assert kube.comes_back()
    assert not kube.loss


@pytest.mark.parametrize("fault", [("silent", True), ("token", "another one")])
def test_a_server_that_stays_away_is_lost_for_good(
    fault: tuple[str, object], api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, and nobody waits for it any more."""
    monkeypatch.setattr("harness.cluster.kube.ASK_AGAIN_SECONDS", 0.01)
    told: list[str] = []
    kube.return_seconds, kube.on_loss = 0.1, lambda: told.append(kube.loss)
    api.documents["/version"] = {}
    kube.document("/version")
    setattr(api, *fault)
    assert not kube.comes_back()
    assert not kube.comes_back()
    assert told == [kube.loss]
    api.silent, api.token = False, ""
    assert kube.document("/version") == {}
    assert not kube.comes_back()


def test_a_server_that_was_never_there_is_not_waited_for(api: FakeApi, kube: Kube) -> None:
    """That it does not answer is what preflight says."""
    kube.return_seconds = 0.0
    api.silent = True
    with pytest.raises(UnreachableError):
        kube.list(POD)
    assert not kube.loss
