"""What may be done in a cluster, as RBAC can give it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cluster.kinds import Kind


@dataclass(frozen=True)
class Rule:
    """Verbs on one resource, with the reason."""

    kind: Kind
    verbs: tuple[str, ...]
    why: str
    anywhere: bool = False
    """In the whole cluster; else in the run's namespaces, or in ``--dra-namespace``."""
    subresource: str = ""
    needed: bool = True
    """Without it the run says less, but it runs."""

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.kind.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """As RBAC spells it: ``pods/log``."""
        return self.kind.plural + (f"/{self.subresource}" if self.subresource else "")
