"""Looks into OCI archives, and writes one with one more layer."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from images import oci

_NAME = "io.containerd.image.name"


def digests(archive: Path) -> dict[str, str]:
    """The digest of each image's manifest, by the image's name."""
    return {name: item["digest"] for name, item in _named(archive).items()}


def config(archive: Path, name: str) -> dict[str, Any]:
    """The configuration of one image of an archive, as stored."""
    manifest = _blob(archive, _named(archive)[name])
    found: dict[str, Any] = _blob(archive, manifest["config"])
    return found


def add_layer(base: Path, base_name: str, added: oci.Layer, name: str, archive: Path) -> None:
    """Write an archive with one image: an existing one, by a new name, with a layer on top."""
    described = _named(base)[base_name]
    manifest = _blob(base, described)
    configuration = _blob(base, manifest["config"])
    configuration["rootfs"]["diff_ids"].append(added.digest)
    lower = manifest["layers"]
    manifest["layers"] = [*lower, {**lower[-1], "digest": added.digest, "size": added.size}]
    with tarfile.open(base) as old, tarfile.open(archive, "w") as new:

        def put(path: str, content: bytes) -> None:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))

        def described_as(value: object) -> dict[str, Any]:
            content = json.dumps(value).encode()
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            put(_path(digest), content)
            return {"digest": digest, "size": len(content)}

        for entry in old:
            if entry.name != "index.json":
                new.addfile(entry, old.extractfile(entry))
        put(_path(added.digest), added.path.read_bytes())
        manifest["config"] |= described_as(configuration)
        described |= described_as(manifest)
        described["annotations"] = {_NAME: name}
        put("index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode())


def _named(archive: Path) -> dict[str, dict[str, Any]]:
    """The index's descriptors of manifests, by image name."""
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    return {item["annotations"][_NAME]: item for item in index["manifests"]}


def _blob(archive: Path, descriptor: dict[str, Any]) -> Any:
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile(_path(descriptor["digest"])))  # type: ignore[arg-type]


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
