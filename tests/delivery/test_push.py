"""Pushing to a real registry: as nobody, with each kind of credentials, with tokens, with TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from building import artifacts, bundle
from building.architecture import AMD64, ARCHITECTURES, ARM64, Architecture
from building.artifacts import Artifact
from building.binaries import RUNTIME
from building.errors import EmbeddedError
from building.progress import Progress
from delivery import credentials, push
from delivery.credentials import Credentials
from delivery.registry import Reference, RegistryError, Repository
from embedded.pki import Authority
from images import oci
from images.pause import ARCHIVE
from images.workload import image_for
from tests.delivery import registry

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
    for name in ("DRA_REGISTRY_USERNAME", "DRA_REGISTRY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


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


def send(archive: Path, address: str, *, insecure: bool = True) -> str:
    """Push one image with the credentials that are found."""
    return send_all([archive], address, insecure=insecure)


def send_all(archives: Sequence[Path], address: str, *, insecure: bool = True) -> str:
    """Push an image of one or more architectures."""
    repository = Repository(address, REPOSITORY, credentials.find(address), insecure=insecure)
    repository.connect()
    return push.push(archives, NAME, repository, "1", Progress())


def get(url: str, accept: str = "*/*") -> bytes:
    """Ask as nobody."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
        content: bytes = answer.read()
        return content


def test_what_arrives_is_the_image(program: Path, archive: Path, tmp_path: Path) -> None:
    """By tag and by digest the manifest, and every blob that it names."""
    with registry.serving(program, tmp_path / "registry") as address:
        digest = send(archive, address)
        assert digest == oci.digests(archive)[NAME]
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
    program: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each blob is reported, at the second time as there."""
    with registry.serving(program, tmp_path / "registry") as address:
        send(archive, address)
        assert capsys.readouterr().err.count(": sent") == 3
        send(archive, address)
        said = capsys.readouterr().err
        assert said.count(": there already") == 3
        assert "sent" not in said


def test_an_index_has_an_image_for_each_architecture(
    program: Path, archives: dict[Architecture, Path], tmp_path: Path
) -> None:
    """By tag and by digest the index; by its digests the manifests, with configurations that fit.

    Source: OCI image specification 1.1, "OCI Image Index".
    """
    with registry.serving(program, tmp_path / "registry") as address:
        digest = send_all(list(archives.values()), address)
        url = f"http://{address}/v2/{REPOSITORY}"
        content = get(f"{url}/manifests/{digest}", INDEX)
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
        assert get(f"{url}/manifests/1", INDEX) == content
        index = json.loads(content)
        assert (index["schemaVersion"], index["mediaType"]) == (2, INDEX)
        assert [item["digest"] for item in index["manifests"]] == [
            oci.digests(archive)[NAME] for archive in archives.values()
        ]
        for item, architecture in zip(index["manifests"], archives, strict=True):
            assert set(item) == {"mediaType", "digest", "size", "platform"}
            assert item["platform"] == {"architecture": architecture.name, "os": "linux"}
            manifest = get(f"{url}/manifests/{item['digest']}", item["mediaType"])
            assert len(manifest) == item["size"]
            config = json.loads(get(f"{url}/blobs/{json.loads(manifest)['config']['digest']}"))
            assert (config["architecture"], config["os"]) == (architecture.name, "linux")


@pytest.mark.parametrize("chosen", [(AMD64,), (ARM64,), (ARM64, AMD64)])
def test_the_verb_prints_what_the_suite_takes(
    chosen: tuple[Architecture, ...],
    program: Path,
    archives: dict[Architecture, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line on standard output: the option with the digest of the image, or of the index."""
    asked: list[str] = []

    def obtain(wanted: list[Artifact], _: Progress) -> dict[str, Path]:
        asked.extend(item.name for item in wanted)
        return {image_for(item).name: archive.parent for item, archive in archives.items()}

    monkeypatch.setattr(push, "WORKLOAD_IMAGE_NAME", NAME)
    monkeypatch.setattr(artifacts, "obtain", obtain)
    option = ",".join(item.name for item in chosen)
    with registry.serving(program, tmp_path / "registry") as address:
        assert push.main([f"{address}/{REPOSITORY}:7", "--insecure", "--arch", option]) == 0
        said = capsys.readouterr()
        assert f"pushed {address}/{REPOSITORY}:7" in said.err
    assert asked == [image_for(item).name for item in chosen]
    taken = [archives[item] for item in chosen]
    digest = oci.digests(taken[0])[NAME]
    if len(chosen) > 1:
        digest = f"sha256:{hashlib.sha256(oci.index(taken, NAME)[1]).hexdigest()}"
    assert said.out == f"--dra-image {address}/{REPOSITORY}@{digest}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root")
@pytest.mark.parametrize("count", [1, 2])
def test_containerd_pulls_what_was_pushed(
    count: int,
    program: Path,
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
        digest = send_all(list(archives.values())[:count], address)
        image = f"{address}/{REPOSITORY}@{digest}"
        pulled = ctr("images", "pull", "--local", "--plain-http", "--snapshotter", "native", image)
        assert image in ctr("images", "ls", "--quiet"), pulled
        content = set(ctr("content", "ls", "--quiet").split())
        layers = {item: oci.config(archives[item], NAME)["rootfs"]["diff_ids"] for item in archives}
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


def test_without_credentials_it_says_what_to_do(guarded: str, archive: Path) -> None:
    """The registry's words, that nothing was tried, and both ways to log in."""
    with pytest.raises(RegistryError) as caught:
        send(archive, guarded)
    for words in (
        "answered 401 to GET /v2/: UNAUTHORIZED: authentication required",
        "Tried with no credentials",
        f"docker login {guarded}",
        "DRA_REGISTRY_USERNAME",
    ):
        assert words in str(caught.value)


def test_wrong_credentials_are_named_without_the_password(
    guarded: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they came from."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", "wrong-one")
    with pytest.raises(RegistryError, match="Tried with DRA_REGISTRY_USERNAME and") as caught:
        send(archive, guarded)
    assert "wrong-one" not in str(caught.value)


def test_credentials_of_the_environment(
    guarded: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken before Docker's."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", PASSWORD)
    assert send(archive, guarded)


@pytest.mark.parametrize("key", ["{}", "https://{}/v1/", "http://{}"])
def test_credentials_of_docker(
    guarded: str, archive: Path, key: str, docker_config: Callable[[dict[str, Any]], None]
) -> None:
    """Under each of the ways in which a registry is written there."""
    auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    docker_config({"auths": {"other.example.com": {}, key.format(guarded): {"auth": auth}}})
    assert send(archive, guarded)


def test_credentials_of_a_helper(
    guarded: str,
    archive: Path,
    helper: Callable[[str], None],
    docker_config: Callable[[dict[str, Any]], None],
) -> None:
    """It gets the registry's name and says who."""
    answer = json.dumps({"Username": "me", "Secret": PASSWORD})
    helper(f"""read -r server; [ "$1 $server" = "get {guarded}" ] && echo '{answer}'""")
    docker_config({"credHelpers": {guarded: "test"}})
    assert send(archive, guarded)


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {"a.b": "test"}}])
def test_a_helper_without_an_entry_is_no_error(
    config: dict[str, Any],
    helper: Callable[[str], None],
    docker_config: Callable[[dict[str, Any]], None],
) -> None:
    """Then one pushes as nobody."""
    helper("echo credentials not found in native keychain; exit 1")
    docker_config(config)
    assert credentials.find("a.b") is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo the keychain is locked; exit 1", "docker-credential-test failed: the keychain is"),
        ("echo no JSON", "config.json is not what Docker writes"),
    ],
)
def test_a_broken_helper_is_named(
    script: str,
    message: str,
    helper: Callable[[str], None],
    docker_config: Callable[[dict[str, Any]], None],
) -> None:
    """With what it said."""
    helper(script)
    docker_config({"credsStore": "test"})
    with pytest.raises(EmbeddedError, match=message):
        credentials.find("a.b")


def test_a_missing_helper_is_named(docker_config: Callable[[dict[str, Any]], None]) -> None:
    """By its program."""
    docker_config({"credHelpers": {"a.b": "nowhere-to-be-found"}})
    with pytest.raises(EmbeddedError, match="docker-credential-nowhere-to-be-found: No such file"):
        credentials.find("a.b")


def test_tokens_of_docker_and_of_helpers(
    helper: Callable[[str], None], docker_config: Callable[[dict[str, Any]], None]
) -> None:
    """An identity token is told from a password."""
    helper("""echo '{"Username": "<token>", "Secret": "abc"}'""")
    docker_config({"auths": {"a.b": {"identitytoken": "def"}}, "credHelpers": {"c.d": "test"}})
    assert credentials.find("a.b") == Credentials(
        credentials.find("a.b").origin,  # type: ignore[union-attr]
        identity_token="def",
    )
    assert credentials.find("c.d") == Credentials("docker-credential-test", identity_token="abc")


def test_half_of_the_environments_credentials_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a push as nobody."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    with pytest.raises(EmbeddedError, match="set both, or none"):
        credentials.find("a.b")


@dataclass
class TokenServer:
    """What a registry sends its clients to."""

    authority: Authority
    url: str = ""
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """Method, parameters and authorization of every request."""
    lifetime: int = 60

    def token(self, service: str, scope: str) -> str:
        """A token as the registry checks it: RFC 7515 with the signer's certificate in it."""
        certificate, key_file = self._signer
        kind, name, actions = scope.split(":")
        now = int(time.time())
        claims = {
            "iss": "tests",
            "aud": service,
            "nbf": now - 60,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(len(self.asked)),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        header = {"alg": "ES256", "typ": "JWT", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        pair = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32, "big") for number in pair)
        return f"{signed}.{_base64url(signature)}"

    def __post_init__(self) -> None:
        self._signer = self.authority.issue("signer", "signer")


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    """A token server that knows one password and one identity token."""
    server = TokenServer(Authority(tmp_path / "authority"))
    allowed = Credentials("", "me", PASSWORD).basic

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(urlsplit(self.path).query, self.headers.get("Authorization") == allowed)

        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.answer(query, "refresh_token=the-identity" in query.split("&"))

        def answer(self, query: str, known: bool) -> None:
            asked = {key: values[0] for key, values in parse_qs(query).items()}
            server.asked.append((self.command, asked, self.headers.get("Authorization", "")))
            self.send_response(200 if known else 401)
            self.end_headers()
            if known:
                token = server.token(asked["service"], asked["scope"])
                self.wfile.write(json.dumps({"token": token}).encode())
            else:
                self.wfile.write(b'{"errors": [{"code": "DENIED", "message": "who are you?"}]}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}/token"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def with_tokens(program: Path, tokens: TokenServer, tmp_path: Path) -> Iterator[str]:
    """A registry that wants tokens of that server."""
    token = {
        "realm": tokens.url,
        "service": "test registry",
        "issuer": "tests",
        "rootcertbundle": str(tokens.authority.certificate),
    }
    with registry.serving(program, tmp_path / "registry", auth={"token": token}) as address:
        yield address


def test_token_for_a_password(
    with_tokens: str, tokens: TokenServer, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for once, with the right to push to this repository, whoever the registry is."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", PASSWORD)
    assert send(archive, with_tokens)
    ((method, asked, _),) = tokens.asked
    assert method == "GET"
    assert asked == {"service": "test registry", "scope": f"repository:{REPOSITORY}:pull,push"}


def test_token_for_an_identity_token(
    with_tokens: str,
    tokens: TokenServer,
    archive: Path,
    docker_config: Callable[[dict[str, Any]], None],
) -> None:
    """By OAuth2's refresh grant, without a password."""
    docker_config({"auths": {with_tokens: {"identitytoken": "the-identity"}}})
    assert send(archive, with_tokens)
    ((method, asked, authorization),) = tokens.asked
    assert (method, asked["grant_type"], authorization) == ("POST", "refresh_token", "")


def test_expired_token_is_renewed(
    with_tokens: str, tokens: TokenServer, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two blobs."""
    monkeypatch.setenv("DRA_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("DRA_REGISTRY_PASSWORD", PASSWORD)
    repository = Repository(with_tokens, REPOSITORY, credentials.find("a.b"), insecure=True)
    tokens.lifetime = -3600
    with pytest.raises(RegistryError, match="answered 401"):
        repository.connect()
    tokens.lifetime = 60
    assert push.push([archive], NAME, repository, "1", Progress())


def test_no_token_for_a_stranger(with_tokens: str, archive: Path) -> None:
    """The token server's words."""
    with pytest.raises(RegistryError, match="answered 401 to GET /token: DENIED: who are you"):
        send(archive, with_tokens)


@pytest.fixture
def encrypted(program: Path, tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """A registry with a certificate of an authority that nobody knows."""
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("registry", "registry", hosts=["127.0.0.1"])
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    with registry.serving(program, tmp_path / "registry", http=tls) as address:
        yield address, authority


def test_unknown_certificate_is_refused(encrypted: tuple[str, Authority], archive: Path) -> None:
    """With both ways out."""
    with pytest.raises(
        RegistryError, match=r"certificate verify failed.*SSL_CERT_FILE.*--insecure"
    ):
        send(archive, encrypted[0], insecure=False)


def test_known_certificate(
    encrypted: tuple[str, Authority], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an authority that this machine was told of."""
    address, authority = encrypted
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert send(archive, address, insecure=False)


def test_any_certificate_by_option(encrypted: tuple[str, Authority], archive: Path) -> None:
    """TLS stays, as the registry speaks nothing else."""
    assert send(archive, encrypted[0])


def test_plain_http_is_refused_unless_asked_for(
    program: Path, archive: Path, tmp_path: Path
) -> None:
    """Passwords would travel in the clear."""
    with (
        registry.serving(program, tmp_path / "registry") as address,
        pytest.raises(RegistryError, match=r"If it speaks plain HTTP.*--insecure"),
    ):
        send(archive, address, insecure=False)


def test_nobody_there(archive: Path) -> None:
    """Said at once, before anything is built."""
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1: .*refused"):
        send(archive, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("registry.example.com/a/b-c:1.0", Reference("registry.example.com", "a/b-c", "1.0")),
        ("localhost/a", Reference("localhost", "a", "latest")),
        ("localhost:5000/a__b", Reference("localhost:5000", "a__b", "latest")),
        ("[::1]:5000/a", Reference("[::1]:5000", "a", "latest")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    """Host, name and tag."""
    assert Reference.parse(text) == reference


@pytest.mark.parametrize(
    "text", ["workload", "team/workload:1", "a.b/Upper", "a.b/", "a.b/x@sha256:00", "https://a.b/c"]
)
def test_no_references(text: str) -> None:
    """What is refused is repeated, with an example of what is right."""
    with pytest.raises(RegistryError) as caught:
        Reference.parse(text)
    assert f"{text!r} is no REGISTRY/NAME[:TAG]" in str(caught.value)


@pytest.mark.parametrize("text", ["riscv64", "amd64,riscv64"])
def test_unknown_architectures_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the option, the value and what may be given, before the registry is asked."""
    assert push.main(["a.b/c", "--arch", text]) == 1
    assert capsys.readouterr().err == "error: --arch 'riscv64': must be of amd64, arm64\n"


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
    with pytest.raises(EmbeddedError, match=r"--arch 'arm64': .*for amd64 only\. Push it from a"):
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
