"""What is in folders of a node, as a pod on it reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass

READ = """\
import hashlib, json, os, stat, sys
root, most, *folders = sys.argv[1:]
os.chroot(root)
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFSOCK: "socket",
         stat.S_IFLNK: "link"}
found = []
def look(path):
    try:
        status = os.lstat(path)
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
        entry = {"path": path, "kind": kind, "size": status.st_size}
        if kind == "file":
            with open(path, "rb") as file:
                data = file.read()
            entry["sha256"] = hashlib.sha256(data).hexdigest()
            if len(data) <= int(most):
                entry["text"] = data.decode("utf-8", "replace")
        found.append(entry)
        for name in sorted(os.listdir(path)) if kind == "folder" else ():
            look(os.path.join(path, name))
    except FileNotFoundError:
        pass  # it went while the folder was read, or was never there
for folder in folders:
    look(os.path.realpath(folder))
print(json.dumps(found))
"""
"""A program: it prints what is in folders below a root, which it makes its own; it writes nothing.

A node's ``/var/run`` is a link to ``/run``: it means the node's only with the node's root.
"""
SMALL = 64 << 10
"""Bytes of a file of which the content is read, too."""


@dataclass(frozen=True)
class File:
    """Something in a folder of a node."""

    path: str
    """On the node, without symbolic links in the folder's path."""
    kind: str
    """``file``, ``folder``, ``socket``, ``link`` or ``other``."""
    size: int
    """Bytes."""
    sha256: str = ""
    """Of a file's content; empty for everything else."""
    text: str | None = None
    """The content of a small file (`SMALL`)."""

    def mentions(self, word: str) -> bool:
        """Whether it has a word in its name or its content."""
        return word in self.path or word in (self.text or "")


def parse(log: str) -> tuple[File, ...]:
    """Read what `READ` printed.

    Raises:
        ValueError: it is something else.
    """
    try:
        return tuple(File(**entry) for entry in json.loads(log.strip().splitlines()[-1]))
    except (IndexError, TypeError) as error:
        raise ValueError(f"not a list of files: {error}") from error
