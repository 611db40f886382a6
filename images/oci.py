"""Writes OCI image layouts as tar archives: no daemon, no build tool, the same bytes every time.

Format: OCI image specification 1.1 (image layout, index, manifest, configuration, uncompressed tar
layers). Names go where containerd's import looks for them. Archives are reproducible: entries are
sorted, all times are 0, everything belongs to root, and a mode says only whether a file can be
executed; a directory with the sticky bit (``/tmp``) stays writable for everyone.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from building.architecture import AMD64, Architecture

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Layer:
    """One layer: a tar archive and its digest (of blob and content alike: it is not compressed)."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """What an image is, as its configuration says it."""

    name: str
    """Full reference, such as ``localhost/dra-conformance/pause:1``."""
    layers: tuple[Layer, ...]
    """From the lowest to the topmost."""
    architecture: Architecture = AMD64
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    working_directory: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)


def layer(root: Path, archive: Path) -> Layer:
    """Pack a directory tree as a layer.

    Args:
        root: directory whose content becomes the image's root.
        archive: file to write.
    """
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):  # parents first
            entry = _entry(path, str(path.relative_to(root)))
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Layer(archive, f"sha256:{digest}", archive.stat().st_size)


def write(archive: Path, images: Sequence[Image]) -> None:
    """Write one archive with all images; layers that they share are stored once."""
    blobs: dict[str, bytes | Path] = {}
    manifests = [_manifest(image, blobs) for image in images]
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", _index(manifests))
        for digest, content in sorted(blobs.items()):
            _add(tar, "blobs/" + digest.replace(":", "/"), content)


def unpack(archives: Sequence[Path], name: str, folder: Path) -> None:
    """Unpack the images that have one name in several archives, one for each architecture.

    The layout's index names them without what they are called here, which is nobody's concern
    elsewhere; it tells a node's runtime which manifest is for it.

    Args:
        archives: written by `write`.
        name: the image's, in each of the archives.
        folder: where the layout goes.

    Raises:
        KeyError: an archive has no image of that name.
    """
    manifests = []
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not before 3.11.4
            tar.extractall(folder)
        listed = json.loads((folder / "index.json").read_text())["manifests"]
        described = {item["annotations"][_NAME]: item for item in listed}[name]
        manifests.append({key: value for key, value in described.items() if key != "annotations"})
    (folder / "index.json").write_bytes(_index(manifests))


def _manifest(image: Image, blobs: dict[str, bytes | Path]) -> dict[str, Any]:
    """Add the parts of an image to the blobs, by digest; describe its manifest for the index."""

    def blob(media_type: str, value: object) -> dict[str, Any]:
        content = json.dumps(value, indent=1, sort_keys=True).encode()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    platform = {"architecture": image.architecture.name, "os": "linux"}
    configuration = {
        **platform,
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Env": [f"{key}={value}" for key, value in image.env.items()],
            "User": image.user,
            "WorkingDir": image.working_directory,
            "Labels": dict(image.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [item.digest for item in image.layers]},
    }
    blobs |= {item.digest: item.path for item in image.layers}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": blob(_CONFIG, configuration),
        "layers": [
            {"mediaType": _LAYER, "digest": item.digest, "size": item.size} for item in image.layers
        ],
    }
    annotations = {
        _NAME: image.name,
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    return {**blob(_MANIFEST, manifest), "platform": platform, "annotations": annotations}


def _index(manifests: Sequence[Mapping[str, Any]]) -> bytes:
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    return json.dumps(index, indent=1, sort_keys=True).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
        entry.size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        tar.addfile(entry, stream)


def _entry(path: Path, name: str) -> tarfile.TarInfo:
    """The header of one entry; only what the content is about survives of its metadata.

    Raises:
        ValueError: it is neither file, directory nor symbolic link.
    """
    entry = tarfile.TarInfo(name)
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
    elif stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
        entry.mode = 0o1777 if status.st_mode & stat.S_ISVTX else 0o755
    elif stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
        entry.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    else:
        raise ValueError(f"{path}: an image holds files, directories and symbolic links only")
    return entry
