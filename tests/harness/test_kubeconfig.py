"""Kubeconfigs lead where they lead kubectl, or one sentence says what is wrong."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.kube import ApiError, NoClusterError
from harness.cluster.kubeconfig import connect, from_kubeconfig
from tests.harness.fake_api import FakeApi, serving


def kubeconfig(folder: Path, server: str = "https://10.0.0.1:6443") -> Path:
    """A kubeconfig with one context."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "staging",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "staging", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def edited(path: Path, part: str, **changes: Any) -> Path:
    """Change the entry of a kubeconfig's list that holds a cluster, a user or a context."""
    document = yaml.safe_load(path.read_text())
    document[f"{part}s"][0][part].update(changes)
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_current_context_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubectl does."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path)))
    server = connect("auto", "", "r").server
    assert (server.address, server.context) == ("https://10.0.0.1:6443", "staging")


def test_the_proxy_of_the_kubeconfig_is_used(api: FakeApi, tmp_path: Path) -> None:
    """What has no address for this machine is reached through it."""
    path = kubeconfig(tmp_path, "http://cluster.invalid:6443")
    document = yaml.safe_load(path.read_text())
    api.documents["/version"] = {"gitVersion": "v1.37.2"}
    with serving(api) as proxy:
        document["clusters"][0]["cluster"]["proxy-url"] = proxy
        path.write_text(yaml.safe_dump(document))
        kube = from_kubeconfig([path], "", "r")
        assert kube.document("/version") == {"gitVersion": "v1.37.2"}
    assert api.requests == [("GET", "/version", {})]


@pytest.fixture
def proxied(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy that answers in the place of every cluster, and an environment that avoids it."""
    monkeypatch.setenv("NO_PROXY", "cluster.invalid,.invalid,10.0.0.0/8")
    with serving(api) as proxy:
        yield proxy


def test_the_proxy_of_the_kubeconfig_is_for_its_server(
    proxied: str, api: FakeApi, tmp_path: Path
) -> None:
    """Whatever NO_PROXY says; with the name and password that its URL has."""
    path = kubeconfig(tmp_path, "http://cluster.invalid:6443")
    edited(path, "cluster", **{"proxy-url": proxied.replace("//", "//me:p%40ss@")})
    kube = from_kubeconfig([path], "", "r")
    assert kube.document("/version") == {"gitVersion": "v1.37.2"}
    assert api.requests == [("GET", "/version", {})]
    assert kube._configuration.proxy_headers == {"proxy-authorization": "Basic bWU6cEBzcw=="}


def test_the_environments_proxy_is_not_for_what_no_proxy_names(
    proxied: str, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it always was."""
    monkeypatch.setenv("HTTP_PROXY", proxied)
    path = kubeconfig(tmp_path, "http://cluster.invalid:6443")
    assert "SocksProxyManager" not in type(from_kubeconfig([path], "", "r")._pool).__name__
    assert from_kubeconfig([path], "", "r")._pool.proxy is None
    monkeypatch.delenv("NO_PROXY")
    assert from_kubeconfig([path], "", "r").document("/version")


@pytest.mark.parametrize("proxy", ["bastion:3128", "ftp://bastion", "socks4://x:1", "http://"])
def test_a_proxy_that_is_none_is_named_with_its_field(proxy: str, tmp_path: Path) -> None:
    """And what would be right."""
    path = edited(kubeconfig(tmp_path), "cluster", **{"proxy-url": proxy})
    with pytest.raises(NoClusterError) as error:
        from_kubeconfig([path], "", "r")
    for word in ("proxy-url", "context staging", str(path), f"'{proxy}'", "socks5"):
        assert word in str(error.value)


def test_a_kubeconfig_without_current_context_works_where_one_is_named(tmp_path: Path) -> None:
    """As with kubectl --context; else those that there are are named."""
    path = kubeconfig(tmp_path)
    for current in ({}, {"current-context": ""}, {"current-context": None}):
        document = yaml.safe_load(path.read_text())
        document.pop("current-context", None)
        path.write_text(yaml.safe_dump({**document, **current}))
        assert from_kubeconfig([path], "staging", "r").server.context == "staging"
        with pytest.raises(NoClusterError, match=r"no current-context; .* there are staging"):
            from_kubeconfig([path], "", "r")


def test_of_several_files_those_that_exist_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing and empty ones are skipped; what the first says counts, its current context too."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = kubeconfig(tmp_path / "a")
    second = kubeconfig(tmp_path / "b", "https://10.0.0.2:6443")
    text = second.read_text().replace("staging", "prod").replace("name: c", "name: d")
    second.write_text(text.replace("cluster: c", "cluster: d"))
    (tmp_path / "empty").write_text("")
    files = [tmp_path / "missing", tmp_path / "empty", first, second]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    server = connect("auto", "", "r").server
    assert (server.address, server.context) == ("https://10.0.0.1:6443", "staging")
    assert connect("auto", "prod", "r").server.address == "https://10.0.0.2:6443"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read: while parsing .* line 1"),
        ("\xff", "cannot be read"),
        ("[1]", "is no kubeconfig; expected the keys clusters, contexts, users"),
        ("clusters: [1]", r"clusters\[0\] .* expected an object with name and cluster"),
        ("contexts: [{name: a}]\ncurrent-context: a", r"names cluster \(none\)"),
        ("current-context: a", "current-context a: no such context .* there are none"),
        ("", "no current-context"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_what_is_wrong(
    text: str, words: str, tmp_path: Path
) -> None:
    """In one line."""
    path = tmp_path / "broken"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(NoClusterError, match=words) as error:
        from_kubeconfig([path], "", "r")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("context", {"cluster": "x"}, "names cluster x; its clusters are c"),
        ("context", {"user": "x"}, "names user x; its users are u"),
        ("cluster", {"server": None}, "a cluster without server; expected its URL"),
        ("cluster", {"certificate-authority": "no.pem"}, "no.pem"),
        ("cluster", {"certificate-authority-data": "abc"}, "certificate-authority-data"),
        ("cluster", {"certificate-authority-data": "YWJj"}, "certificate-authority"),
        ("user", {"token": None, "password": "secret"}, "Expected key token$"),
    ],
)
def test_a_context_that_is_not_complete_is_named(
    part: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """With the file, and what would be right."""
    path = edited(kubeconfig(tmp_path), part, **changes)
    with pytest.raises(NoClusterError, match=words) as error:
        from_kubeconfig([path], "", "r")
    assert f"context staging of the kubeconfig {path}" in str(error.value)


def test_a_credential_plugin_that_fails_is_named(tmp_path: Path) -> None:
    """With its own words; the run does not go on as nobody."""
    program = "import sys; sys.exit('token has\x1b[0m expired')"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program],
        "interactiveMode": "Never",
    }
    path = edited(kubeconfig(tmp_path), "user", exec=plugin)
    path.write_text(path.read_text().replace("    token: secret\n", ""))
    with pytest.raises(NoClusterError) as error:
        from_kubeconfig([path], "", "r")
    said = str(error.value)
    assert f"`{sys.executable}` of context staging of the kubeconfig {path} failed" in said
    assert "log in again: exec: process returned 1. token has" in said
    edited(path, "user", exec={**plugin, "command": "no-such-login"})
    with pytest.raises(NoClusterError, match=r"`no-such-login` of context staging .* failed"):
        from_kubeconfig([path], "", "r")


@contextmanager
def socks(reached: int) -> Iterator[tuple[str, list[str]]]:
    """A SOCKS5 proxy that leads to one port: its URL, and the names that it was asked for."""
    asked: list[str] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one of the two has gone
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        try:
            one, _ = listener.accept()
        except OSError:
            return
        one.recv(3)
        one.sendall(b"\x05\x00")
        _, _, _, kind, size = one.recv(5)
        asked.append(one.recv(size).decode() if kind == 3 else "an address")
        one.recv(2)
        one.sendall(b"\x05\x00\x00\x01" + bytes(6))
        other = socket.create_connection(("127.0.0.1", reached))
        back = threading.Thread(target=pump, args=(other, one), daemon=True)
        with one, other:
            back.start()
            pump(one, other)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"socks5://127.0.0.1:{listener.getsockname()[1]}", asked


def test_a_socks_proxy_looks_the_servers_name_up(api: FakeApi, tmp_path: Path) -> None:
    """As it does for kubectl."""
    path = kubeconfig(tmp_path, "http://cluster.invalid:6443")
    with serving(api) as address, socks(int(address.rpartition(":")[2])) as (proxy, asked):
        edited(path, "cluster", **{"proxy-url": proxy})
        assert from_kubeconfig([path], "", "r").document("/version")
    assert asked == ["cluster.invalid"]


def test_a_socks_proxy_without_its_package_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the proxy, the file and the package."""
    monkeypatch.setitem(sys.modules, "socks", None)
    path = edited(kubeconfig(tmp_path), "cluster", **{"proxy-url": "socks5://127.0.0.1:1080"})
    with pytest.raises(NoClusterError, match=r"proxy-url of .*kubeconfig.*:1080, .* PySocks"):
        from_kubeconfig([path], "", "r")


def test_no_configuration_names_the_way_to_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a silent fall-back to simulation."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoClusterError, match=r"`\./run dra`"):
        connect("auto", "", "r")


def test_a_kubeconfig_that_is_set_but_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a reason to try another source."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(NoClusterError, match="none does not exist"):
        connect("auto", "", "r")


def test_an_unknown_context_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    """Names option and value."""
    with pytest.raises(NoClusterError, match=r"--dra-context prod: .* there are staging"):
        from_kubeconfig([kubeconfig(tmp_path)], "prod", "r")


# Credentials that expire


def write_token(path: Path, token: str, server: str, current: str = "staging") -> None:
    """Write the token of a kubeconfig, as a login tool does."""
    document = yaml.safe_load(kubeconfig(path.parent, server).read_text())
    document["users"][0]["user"]["token"] = token
    document["current-context"] = current
    document["contexts"].append({"name": "prod", "context": {"cluster": "c", "user": "u"}})
    path.write_text(yaml.safe_dump(document))


def test_an_expired_token_is_read_anew(tmp_path: Path, api: FakeApi) -> None:
    """From the same context, whatever is the current one by now."""
    path = tmp_path / "kubeconfig"
    api.token = "first"
    api.documents["/version"] = {"gitVersion": "v1"}
    with serving(api) as address:
        write_token(path, "first", address)
        kube = from_kubeconfig([path], "", "r")
        assert kube.document("/version")
        api.token = "second"
        with pytest.raises(
            ApiError, match=r"expired or unknown to .*kubeconfig, context staging\)"
        ):
            kube.document("/version")
        write_token(path, "second", address, current="prod")
        assert kube.document("/version")
        assert kube.server.context == "staging"


def test_new_credentials_are_not_sent_to_another_server(tmp_path: Path, api: FakeApi) -> None:
    """The kubeconfig's context has been pointed elsewhere meanwhile."""
    path = tmp_path / "kubeconfig"
    api.token = "first"
    with serving(api) as address, serving(FakeApi()) as elsewhere:
        write_token(path, "stale", address)
        kube = from_kubeconfig([path], "", "r")
        write_token(path, "first", elsewhere)
        with pytest.raises(ApiError, match=f"is now at {elsewhere}") as error:
            kube.document("/version")
        assert error.value.status == 401
