"""Pushing to a real registry: as nobody, with credentials, with and without TLS.

The protocol itself (tokens, retries) is the library's, and tested there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from building import artifacts, bundle
from building.architecture import AMD64, ARCHITECTURES, ARM64, Architecture
from building.artifacts import Artifact
from building.binaries import PUSH, RUNTIME
from building.errors import UserError
from building.progress import Progress
from delivery import push, runner
from embedded.pki import Authority
from images import oci
from images.pause import ARCHIVE
from images.workload import image_for
from tests.delivery import registry
from tests.images.archives import config, digests

NAME = "localhost/dra-conformance/test:1"
INDEX = "application/vnd.oci.image.index.v1+json"
REPOSITORY = "team/workload"
PASSWORD = "secret"
HTPASSWD = "me:$2a$04$sWyfhvnLC6uAytiqjnzdX.sck097TiX6TWLN3DiXC6waP5eWi1jCO\n"
"""The password by bcrypt, the only hash that the registry takes."""


@pytest.fixture(scope="session")
def program(obtained: Callable[[Artifact], Path]) -> Path:
    """The registry's binary."""
    return obtained(registry.REGISTRY) / "registry"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image of two layers."""
    return assembled(tmp_path, AMD64)


@pytest.fixture
def archives(tmp_path: Path) -> dict[Architecture, Path]:
    """Images that have one of their two layers in common, by architecture."""
    return {item: assembled(tmp_path, item) for item in (AMD64, ARM64)}


def assembled(folder: Path, architecture: Architecture) -> Path:
    """An image of a layer that is the same for all architectures, and one that is not."""
    layers = []
    for name in ("common", architecture.name):
        tree = folder / "trees" / name
        tree.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name * 100_000)
        layers.append(oci.layer(tree, folder / f"{name}.layer"))
    archive = folder / architecture.name / ARCHIVE
    archive.parent.mkdir()
    oci.write(archive, [oci.Image(NAME, tuple(layers), architecture, entrypoint=("/common",))])
    return archive


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials or proxies of whoever runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("DRA_CACHE", str(artifacts.cache()))  # which may be in HOME
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("DRA_REGISTRY_USERNAME", "DRA_REGISTRY_PASSWORD", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def docker_config(tmp_path: Path) -> Callable[[dict[str, Any]], None]:
    """Write Docker's configuration."""

    def write(config: dict[str, Any]) -> None:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps(config))

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a credential helper ``docker-credential-test`` on PATH, by its shell script."""

    def write(script: str) -> None:
        path = tmp_path / "bin" / "docker-credential-test"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return write


@pytest.fixture(scope="session")
def pusher(obtained: Callable[[Artifact], Path]) -> str:
    """The program that speaks to registries."""
    return str(obtained(PUSH) / "push")


@pytest.fixture
def send(pusher: str, archive: Path) -> Send:
    """Push the image of one architecture."""
    return Send(pusher, [archive])


@pytest.fixture
def send_all(pusher: str, archives: dict[Architecture, Path]) -> Send:
    """Push the images of two architectures."""
    return Send(pusher, list(archives.values()))


@dataclass(frozen=True)
class Send:
    """Pushes images with the credentials that are found, after asking whether that is allowed."""

    program: str
    archives: Sequence[Path]

    def __call__(self, address: str, *, insecure: bool = True) -> str:
        """Push; returns the digest."""
        command = [self.program, *(["--insecure"] * insecure), f"{address}/{REPOSITORY}:1"]
        push.call(command)
        return push.push(self.archives, NAME, command)


@pytest.fixture
def refused(send: Send, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Push one image, which must fail; returns what the user is told."""

    def fail(address: str, *, insecure: bool = True) -> str:
        with pytest.raises(subprocess.CalledProcessError):
            send(address, insecure=insecure)
        return capfd.readouterr().err

    return fail


def get(url: str, accept: str = "*/*") -> bytes:
    """Ask as nobody."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
        content: bytes = answer.read()
        return content


def test_what_arrives_is_the_image(
    program: Path, send: Send, archive: Path, tmp_path: Path
) -> None:
    """By tag and by digest the manifest, and every blob that it names."""
    with registry.serving(program, tmp_path / "registry") as address:
        digest = send(address)
        assert digest == digests(archive)[NAME]
        url = f"http://{address}/v2/{REPOSITORY}"
        accept = "application/vnd.oci.image.manifest.v1+json"
        manifest = get(f"{url}/manifests/{digest}", accept)
        assert get(f"{url}/manifests/1", accept) == manifest
        described = json.loads(manifest)
        assert len(described["layers"]) == 2
        for item in (described["config"], *described["layers"]):
            content = get(f"{url}/blobs/{item['digest']}")
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == item["digest"]


def test_what_is_there_is_not_sent_again(
    program: Path, send: Send, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each blob is reported, at the second time as there."""
    with registry.serving(program, tmp_path / "registry") as address:
        send(address)
        assert capfd.readouterr().err.count("pushed blob: ") == 3
        send(address)
        said = capfd.readouterr().err
        assert said.count("existing blob: ") + said.count("existing manifest: ") >= 1
        assert "pushed blob" not in said


def test_progress_is_told_in_bytes(
    program: Path, pusher: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """At every tenth of what has to be sent."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "noise").write_bytes(os.urandom(20 << 20))
    archive = tmp_path / ARCHIVE
    oci.write(archive, [oci.Image(NAME, (oci.layer(tree, tmp_path / "layer.tar"),))])
    with registry.serving(program, tmp_path / "registry") as address:
        Send(pusher, [archive])(address)
    told = [
        int(found[1])
        for found in re.finditer(r"^(\d+) of 20 MB$", capfd.readouterr().err, re.MULTILINE)
    ]
    assert len(told) >= 9
    assert told == sorted(told)


def test_an_index_has_an_image_for_each_architecture(
    program: Path, send_all: Send, archives: dict[Architecture, Path], tmp_path: Path
) -> None:
    """By tag and by digest the index; by its digests the manifests, with configurations that fit.

    Source: OCI image specification 1.1, "OCI Image Index".
    """
    with registry.serving(program, tmp_path / "registry") as address:
        digest = send_all(address)
        url = f"http://{address}/v2/{REPOSITORY}"
        content = get(f"{url}/manifests/{digest}", INDEX)
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
        assert get(f"{url}/manifests/1", INDEX) == content
        index = json.loads(content)
        assert (index["schemaVersion"], index["mediaType"]) == (2, INDEX)
        assert [item["digest"] for item in index["manifests"]] == [
            digests(archive)[NAME] for archive in archives.values()
        ]
        for item, architecture in zip(index["manifests"], archives, strict=True):
            assert set(item) == {"mediaType", "digest", "size", "platform"}
            assert item["platform"] == {"architecture": architecture.name, "os": "linux"}
            manifest = get(f"{url}/manifests/{item['digest']}", item["mediaType"])
            assert len(manifest) == item["size"]
            described = json.loads(get(f"{url}/blobs/{json.loads(manifest)['config']['digest']}"))
            assert (described["architecture"], described["os"]) == (architecture.name, "linux")


@pytest.mark.parametrize("chosen", [(AMD64,), (ARM64,), (ARM64, AMD64)])
def test_the_verb_prints_what_the_suite_takes(
    chosen: tuple[Architecture, ...],
    program: Path,
    pusher: str,
    archives: dict[Architecture, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line on standard output: the option with the digest of the image, or of the index."""
    asked: list[str] = []
    built = {image_for(item).name: archive.parent for item, archive in archives.items()}

    def obtain(wanted: list[Artifact], _: Progress) -> dict[str, Path]:
        asked.extend(item.name for item in wanted)
        return {**built, PUSH.name: Path(pusher).parent}

    monkeypatch.setattr(push, "WORKLOAD_IMAGE_NAME", NAME)
    monkeypatch.setattr(artifacts, "obtain", obtain)
    monkeypatch.setenv("DRA_CACHE", str(tmp_path / "nothing" / "built"))
    option = ",".join(item.name for item in chosen)
    with registry.serving(program, tmp_path / "registry") as address:
        assert push.main([f"{address}/{REPOSITORY}:7", "--insecure", "--arch", option]) == 0
        said = capsys.readouterr()
        assert f"pushed {address}/{REPOSITORY}:7" in said.err
    assert asked == [PUSH.name, *(image_for(item).name for item in chosen)]
    taken = [archives[item] for item in chosen]
    digest = digests(taken[0])[NAME]
    if len(chosen) > 1:
        oci.unpack(taken, NAME, tmp_path / "layout")
        content = (tmp_path / "layout" / "index.json").read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert said.out == f"--dra-image {address}/{REPOSITORY}@{digest}\n"


def test_the_runner_is_pushed_by_an_option(
    program: Path,
    pusher: str,
    archives: dict[Architecture, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is printed is the image alone: a CronJob takes no option of ours."""
    monkeypatch.setattr(artifacts, "obtain", lambda *_: {PUSH.name: Path(pusher).parent})
    monkeypatch.setattr(runner, "IMAGE_NAME", NAME)
    monkeypatch.setattr(runner, "assemble", lambda _, architecture, __: archives[architecture])
    with registry.serving(program, tmp_path / "registry") as address:
        assert push.main([f"{address}/{REPOSITORY}", "--insecure", "--runner"]) == 0
    digest = digests(archives[AMD64])[NAME]
    assert capsys.readouterr().out == f"{address}/{REPOSITORY}@{digest}\n"


def test_the_runner_is_made_of_a_checkout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed suite says so before anything is fetched or asked."""
    monkeypatch.setattr(push, "INSTALLED", True)
    assert push.main(["a.b/c", "--runner"]) == 1
    assert "is made of a git checkout, and this is none" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root")
@pytest.mark.parametrize("count", [1, 2])
def test_containerd_pulls_what_was_pushed(
    count: int,
    program: Path,
    pusher: str,
    archives: dict[Architecture, Path],
    tmp_path: Path,
    obtained: Callable[[Artifact], Path],
) -> None:
    """A node's runtime takes and unpacks it by the printed digest; of an index what is its own."""
    runtime = obtained(RUNTIME)
    with (
        registry.serving(program, tmp_path / "registry") as address,
        containerd(runtime / "containerd", tmp_path / "containerd") as ctr,
    ):
        digest = Send(pusher, list(archives.values())[:count])(address)
        image = f"{address}/{REPOSITORY}@{digest}"
        pulled = ctr("images", "pull", "--local", "--plain-http", "--snapshotter", "native", image)
        assert image in ctr("images", "ls", "--quiet"), pulled
        content = set(ctr("content", "ls", "--quiet").split())
        layers = {item: config(archives[item], NAME)["rootfs"]["diff_ids"] for item in archives}
        assert content.issuperset(layers[AMD64])
        assert content.isdisjoint(set(layers[ARM64]) - set(layers[AMD64]))


@contextmanager
def containerd(program: Path, folder: Path) -> Iterator[Callable[..., str]]:
    """A containerd of its own; yields its ``ctr``."""
    folder.mkdir()
    socket = folder / "socket"
    (folder / "config.toml").write_text(
        f"""version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{folder}/ttrpc"
"""
    )
    running = subprocess.Popen(
        [program, "--config", folder / "config.toml"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    try:
        said = ""
        for line in running.stdout:
            said += line
            if "containerd successfully booted" in line:
                break
        else:
            raise AssertionError(f"containerd did not start: {said}")
        reader = threading.Thread(target=running.stdout.read)
        reader.start()

        def ctr(*arguments: str) -> str:
            done = subprocess.run(
                [program.with_name("ctr"), "--address", socket, *arguments],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            yield ctr
        finally:
            running.terminate()
            reader.join()
    finally:
        running.kill()
        running.communicate()


@pytest.fixture
def guarded(program: Path, tmp_path: Path) -> Iterator[str]:
    """A registry that wants user name and password."""
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "here", "path": str(tmp_path / "htpasswd")}}
    with registry.serving(program, tmp_path / "registry", auth=auth) as address:
        yield address


def test_without_credentials_it_says_what_to_do(guarded: str, refused: Callable[..., str]) -> None:
    """The registry's words, that nothing was tried, and both ways to log in."""
    said = refused(guarded)
    for words in (
        f"error: {guarded}: ",
        "UNAUTHORIZED: authentication required",
        "Tried with no credentials",
        f"docker login {guarded}",
        "DRA_REGISTRY_USERNAME",
    ):
        assert words in said


def test_it_is_refused_before_anything_is_built(
    guarded: str, pusher: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who may not push is told so at once."""

    def obtain(wanted: list[Artifact], _: Progress) -> dict[str, Path]:
        assert wanted == [PUSH]
        return {PUSH.name: Path(pusher).parent}

    monkeypatch.setattr(artifacts, "obtain", obtain)
    assert push.main([f"{guarded}/{REPOSITORY}", "--insecure"]) == 1
    assert "UNAUTHORIZED" in capfd.readouterr().err


def test_wrong_credentials_are_named_without_the_password(
    guarded: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they came from."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", "wrong-one")
    said = refused(guarded)
    assert "Tried with DRA_REGISTRY_USERNAME and" in said
    assert "wrong-one" not in said


def test_credentials_of_the_environment(
    guarded: str,
    send: Send,
    docker_config: Callable[[dict[str, Any]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are taken before Docker's."""
    docker_config({"auths": {guarded: {"auth": base64.b64encode(b"me:wrong-one").decode()}}})
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", PASSWORD)
    assert send(guarded)


@pytest.mark.parametrize("key", ["{}", "https://{}/v1/", "http://{}"])
def test_credentials_of_docker(
    guarded: str, send: Send, key: str, docker_config: Callable[[dict[str, Any]], None]
) -> None:
    """Under each of the ways in which a registry is written there."""
    auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    docker_config({"auths": {"other.example.com": {}, key.format(guarded): {"auth": auth}}})
    assert send(guarded)


def test_credentials_of_podman(guarded: str, send: Send, tmp_path: Path) -> None:
    """Where it leaves them itself, if Docker has left none."""
    auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    (tmp_path / "containers").mkdir()
    config = json.dumps({"auths": {guarded: {"auth": auth}}})
    (tmp_path / "containers" / "auth.json").write_text(config)
    assert send(guarded)


@pytest.mark.parametrize("everywhere", [True, False])
def test_credentials_of_a_helper(
    everywhere: bool,
    guarded: str,
    send: Send,
    helper: Callable[[str], None],
    docker_config: Callable[[dict[str, Any]], None],
) -> None:
    """One for all registries, or for this one: it gets the registry's name and says who."""
    answer = json.dumps({"Username": "me", "Secret": PASSWORD})
    helper(
        f"""read -r server
        [ "$1 $server" = "get {guarded}" ] && echo '{answer}' && exit
        echo credentials not found in native keychain; exit 1"""
    )
    docker_config({"credsStore": "test"} if everywhere else {"credHelpers": {guarded: "test"}})
    assert send(guarded)


@pytest.mark.parametrize(
    ("config", "script", "message"),
    [
        ({"credsStore": "test"}, "echo the keychain is locked; exit 1", "the keychain is locked"),
        ({"credsStore": "test"}, "echo no JSON", "invalid character"),
        ({"credsStore": "elsewhere"}, "", "docker-credential-elsewhere"),
        (["no", "object"], "", "cannot unmarshal array"),
    ],
)
def test_broken_credentials_are_named(
    config: Any,
    script: str,
    message: str,
    guarded: str,
    helper: Callable[[str], None],
    docker_config: Callable[[Any], None],
    refused: Callable[..., str],
) -> None:
    """Where they were to come from, and what was said there."""
    helper(script)
    docker_config(config)
    said = refused(guarded)
    assert f"error: the credentials of Docker's config.json for {guarded}: " in said
    assert message in said


def test_a_helper_without_an_entry_is_no_error(
    program: Path,
    send: Send,
    helper: Callable[[str], None],
    docker_config: Callable[[dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    """Then one pushes as nobody."""
    helper("echo credentials not found in native keychain; exit 1")
    docker_config({"credsStore": "test"})
    with registry.serving(program, tmp_path / "registry") as address:
        assert send(address)


def test_half_of_the_environments_credentials_is_an_error(
    guarded: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a push as nobody."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    assert "set both, or none" in refused(guarded)


@pytest.fixture
def encrypted(program: Path, tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """A registry with a certificate of an authority that nobody knows."""
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("registry", "registry", hosts=["127.0.0.1"])
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    with registry.serving(program, tmp_path / "registry", http=tls) as address:
        yield address, authority


def test_unknown_certificate_is_refused(
    encrypted: tuple[str, Authority], refused: Callable[..., str]
) -> None:
    """With both ways out."""
    said = refused(encrypted[0], insecure=False)
    assert re.search(r"failed to verify certificate(.|\n)*SSL_CERT_FILE.*--insecure", said)


def test_known_certificate(
    encrypted: tuple[str, Authority], send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an authority that this machine was told of."""
    address, authority = encrypted
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert send(address, insecure=False)


def test_any_certificate_by_option(encrypted: tuple[str, Authority], send: Send) -> None:
    """TLS stays, as the registry speaks nothing else."""
    assert send(encrypted[0])


def test_plain_http_is_refused_unless_asked_for(
    program: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    """Passwords would travel in the clear; not even a private address makes that right."""
    with registry.serving(program, tmp_path / "registry") as address:
        said = refused(address, insecure=False)
    assert "plain HTTP is not allowed" in said
    assert "If it speaks plain HTTP" in said


def test_a_proxy_of_the_environment_is_asked(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that cannot be reached."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert "proxyconnect tcp: dial tcp 127.0.0.1:1" in refused("registry.example.com")


def test_nobody_there(refused: Callable[..., str]) -> None:
    """Said in words of the network."""
    assert re.search(r"error: 127\.0\.0\.1:1: .*refused", refused("127.0.0.1:1"))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("registry.example.com/a/b-c:1.0", ("registry.example.com/a/b-c", "1.0")),
        ("localhost/a", ("localhost/a", "latest")),
        ("localhost:5000/a__b", ("localhost:5000/a__b", "latest")),
        ("[::1]:5000/a", ("[::1]:5000/a", "latest")),
    ],
)
def test_references(text: str, parsed: tuple[str, str]) -> None:
    """Repository and tag."""
    assert push.parse(text) == parsed


@pytest.mark.parametrize(
    "text", ["workload", "team/workload:1", "a.b/Upper", "a.b/", "a.b/x@sha256:00", "https://a.b/c"]
)
def test_no_references(text: str) -> None:
    """What is refused is repeated, with an example of what is right."""
    with pytest.raises(UserError) as caught:
        push.parse(text)
    assert f"{text!r} is no REGISTRY/NAME[:TAG]" in str(caught.value)


@pytest.mark.parametrize("text", ["riscv64", "amd64,riscv64"])
def test_unknown_architectures_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the option, the value and what may be given, before the registry is asked."""
    assert push.main(["a.b/c", "--arch", text]) == 1
    assert capsys.readouterr().err == "error: --arch 'riscv64': must be one of amd64, arm64\n"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("amd64", [AMD64]),
        ("arm64", [ARM64]),
        ("arm64,amd64", [ARM64, AMD64]),
        ("arm64,arm64", [ARM64]),
    ],
)
def test_architectures(text: str, chosen: list[Architecture]) -> None:
    """In the order in which they are given, each once."""
    assert push.chosen(text) == chosen


def test_a_bundle_has_one_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is built, another one is refused with the way out."""
    carrier = bundle.Bundle("1", ("nvidia",), ("1.37",), ("3.11",), "3.11", "")
    monkeypatch.setattr(bundle, "unpacked", lambda: carrier)
    assert push.chosen("amd64") == [AMD64]
    with pytest.raises(UserError, match=r"--arch 'arm64': .*for amd64 only\. Push it from a"):
        push.chosen("amd64,arm64")


def test_amd64_builds_nothing_of_another_architecture() -> None:
    """The parts of each image are of its own architecture, or of those that run in builds."""

    def names(artifact: Artifact) -> set[str]:
        return {artifact.name}.union(*map(names, artifact.needs))

    every = {item: names(image_for(item)) for item in ARCHITECTURES.values()}
    assert not [name for name in every[AMD64] if "arm64" in name]
    assert every[ARM64] - every[AMD64] == {
        "cpython-arm64",
        "glibc-arm64",
        "pycuda-arm64",
        "workload-base-arm64",
        "workload-image-arm64",
        "workload-packages-arm64",
    }
