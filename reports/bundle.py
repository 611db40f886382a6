"""``bundle.tar.gz``: a run's files in one to hand on, without secrets and with their hashes."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from reports.redaction import redacted

NAME = "bundle.tar.gz"
SUMS = "SHA256SUMS"
"""As ``sha256sum --check`` reads it."""


def write(folder: Path) -> Path:
    """Pack the files of a run's folder; the same files make the same bundle.

    Args:
        folder: the run's.

    Returns:
        The bundle.

    Raises:
        OSError: a file cannot be read, or the bundle not written.
    """
    packed = {
        str(path.relative_to(folder)): _clean(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name[0] != "." and path.name != NAME
    }
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in packed.items()]
    packed[SUMS] = "".join(sums).encode()
    made, partly = folder / NAME, folder / f".{NAME}"
    with (
        partly.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for name, data in packed.items():
            entry = tarfile.TarInfo(f"{folder.resolve().name}/{name}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    partly.replace(made)
    return made


def _clean(path: Path) -> bytes:
    return redacted(path.read_text(encoding="utf-8", errors="replace")).encode()
