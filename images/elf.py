"""Reads what an image needs to know of an ELF file: libraries and the symbol versions it asks for.

Everything is taken from the program headers and the dynamic section, as the loader does; section
headers may be missing. 64-bit little endian only. Source: the System V ABI, and "Symbol Versioning"
of the Linux Standard Base for the version tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_VERNEED = 1, 5, 14, 0x6FFFFFFE


@dataclass(frozen=True)
class Elf:
    """What one file asks of the loader."""

    machine: int
    """``e_machine`` of the header: 62 is x86-64, 183 AArch64."""
    interpreter: str | None
    """The loader's path; programs have one, libraries do not."""
    soname: str | None
    needed: tuple[str, ...]
    """Libraries by soname, in the order in which they are searched."""
    versions: tuple[tuple[str, str], ...]
    """Pairs of library and symbol version, such as ``("libc.so.6", "GLIBC_2.17")``."""
    loaded_size: int
    """Bytes of the file that are ever mapped; debug information and section headers lie behind."""


def is_elf(path: Path) -> bool:
    """Whether it is a regular file in ELF format."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def read(path: Path) -> Elf:
    """Read a program or library.

    Raises:
        ValueError: the file is not 64-bit little-endian ELF.
    """
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is not a 64-bit little-endian ELF file")
    table, entry_size, entries = (
        *struct.unpack_from("<Q", data, 32),
        *struct.unpack_from("<HH", data, 54),
    )
    segments = [
        _Segment(*struct.unpack_from("<I4xQQ8xQ", data, table + number * entry_size))
        for number in range(entries)
    ]
    loaded = [segment for segment in segments if segment.kind == _PT_LOAD]

    def at(address: int) -> int:
        for segment in loaded:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        raise ValueError(f"{path}: address {address:#x} is in no segment")

    interpreter = None
    dynamic: list[tuple[int, int]] = []
    for segment in segments:
        if segment.kind == _PT_INTERP:
            interpreter = _string(data, segment.offset)
        elif segment.kind == _PT_DYNAMIC:
            dynamic = list(_dynamic(data, segment))
    values = dict(reversed(dynamic))
    strings = at(values[_DT_STRTAB]) if _DT_STRTAB in values else 0
    return Elf(
        machine=struct.unpack_from("<H", data, 18)[0],
        interpreter=interpreter,
        soname=_string(data, strings + values[_DT_SONAME]) if _DT_SONAME in values else None,
        needed=tuple(_string(data, strings + value) for tag, value in dynamic if tag == _DT_NEEDED),
        versions=tuple(_versions(data, at(values[_DT_VERNEED]), strings))
        if _DT_VERNEED in values
        else (),
        loaded_size=max((segment.offset + segment.size for segment in loaded), default=len(data)),
    )


def strip(path: Path) -> None:
    """Drop what is never loaded: debug information, the static symbol table, section headers.

    Does what ``strip`` does, without needing the machine's binutils.
    """
    size = read(path).loaded_size
    data = bytearray(path.read_bytes()[:size])
    struct.pack_into("<Q", data, 40, 0)  # e_shoff: there are no section headers
    struct.pack_into("<HH", data, 60, 0, 0)  # e_shnum, e_shstrndx
    path.write_bytes(data)


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    """In the file."""


def _dynamic(data: bytes, segment: _Segment) -> Iterator[tuple[int, int]]:
    for tag, value in struct.iter_unpack(
        "<qQ", data[segment.offset : segment.offset + segment.size]
    ):
        if tag == 0:
            return
        yield tag, value


def _versions(data: bytes, offset: int, strings: int) -> Iterator[tuple[str, str]]:
    """Walk the table of needed versions: libraries, and for each the versions asked of it."""
    while True:
        _, _, file, auxiliary, following = struct.unpack_from("<HHIII", data, offset)
        entry = offset + auxiliary
        while True:
            _, _, _, name, next_entry = struct.unpack_from("<IHHII", data, entry)
            yield _string(data, strings + file), _string(data, strings + name)
            if not next_entry:
                break
            entry += next_entry
        if not following:
            return
        offset += following


def _string(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
