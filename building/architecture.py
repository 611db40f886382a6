"""The processor architectures that parts are built for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """One architecture, by the names that those give it who have to do with it."""

    name: str
    """In OCI images, in Go and in Debian: ``arm64``."""
    machine: str
    """In the kernel, in compilers and in Python's wheels: ``aarch64``."""
    loader: str
    """Where programs look for glibc's loader: the path is part of the ABI."""

    @property
    def triplet(self) -> str:
        """Names Debian's folders of libraries, and in file names Python's extension modules."""
        return f"{self.machine}-linux-gnu"

    def part(self, name: str) -> str:
        """The name of an artifact for this architecture; amd64, the usual one, is not named."""
        return name if self == AMD64 else f"{name}-{self.name}"


AMD64 = Architecture("amd64", "x86_64", "/lib64/ld-linux-x86-64.so.2")
"""That of the embedded cluster, and of every machine that builds."""
ARM64 = Architecture("arm64", "aarch64", "/lib/ld-linux-aarch64.so.1")

ARCHITECTURES = {item.name: item for item in (AMD64, ARM64)}
"""By name: those that the workload's image can be assembled for."""
