"""What a run would do, told without doing it (``--dra-plan``)."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from harness.check import Check, Impact
from harness.finding import counted
from harness.options import Options, flag
from harness.permissions import manifest, rules
from harness.profile import UNKNOWN
from harness.run import PRIVILEGED, RESTRICTED

WIDTH = 100
INDENT = " " * 11


@dataclass(frozen=True)
class Planned:
    """One check in one form."""

    check: Check
    form: str | None
    skipped: str
    """Why it would be skipped; empty when it would be made."""

    @property
    def name(self) -> str:
        """As reports spell it."""
        return self.check.id + (f"[{self.form}]" if self.form else "")


@dataclass(frozen=True)
class Plan:
    """What a run of these checks with these options would do."""

    options: Options
    place: str
    driver: str
    checks: tuple[Planned, ...]
    narrowed: str = ""
    """Why some checks of the catalogue are not among them."""

    def made(self) -> list[Planned]:
        """The checks that would be made."""
        return [planned for planned in self.checks if not planned.skipped]

    def creates(self) -> bool:
        """Whether anything would be created."""
        return any(planned.check.devices for planned in self.made())

    def rbac(self) -> str:
        """The manifest of the rights that the run takes."""
        namespace = self.options.namespace
        return manifest(rules(creates=self.creates(), namespace=namespace), namespace)

    def lines(self) -> Iterator[str]:
        """All of it, for the terminal; the manifest is the end of it."""
        made = self.made()
        skipped = [planned for planned in self.checks if planned.skipped]
        yield f"PLAN     {len(made)} checks to make, {len(skipped)} to skip; nothing was touched"
        yield f"PLACE    {self.place}"
        yield f"DRIVER   {self.driver}"
        if self.narrowed:
            yield f"PART     {self.narrowed}"
        for check in {planned.check.id: planned.check for planned in made}.values():
            forms = [planned.form for planned in made if planned.check.id == check.id]
            yield f" CHECK   {_named(check, forms)}: level {check.level}, {_impact(check, forms)}"
            yield from _wrapped(check.sentence)
        for reason in dict.fromkeys(planned.skipped for planned in skipped):
            names = [planned.name for planned in skipped if planned.skipped == reason]
            yield f" SKIP    {reason}:"
            yield from _wrapped(", ".join(names))
        yield from self._created(made)
        yield "RIGHTS   exactly these, as a manifest for kubectl apply -f:"
        yield "---"
        yield from self.rbac().splitlines()

    def _created(self, made: Sequence[Planned]) -> Iterator[str]:
        if not self.creates():
            yield "CREATE   nothing: these checks only read"
            return
        privileged = any(p.check.impact_of(p.form) is Impact.PRIVILEGED for p in made)
        if self.options.namespace:
            yield f"CREATE   in namespace {self.options.namespace}, which exists and stays:"
        else:
            standards = [RESTRICTED, *([PRIVILEGED] if privileged else [])]
            yield "CREATE   namespaces, deleted at the end:"
            for standard in standards:
                yield (
                    f"         dra-conformance-RUN-{standard} (enforces the Pod Security Standard"
                    f" {standard})"
                )
            yield "         and in them:"
        most = max(planned.check.devices for planned in made)
        yield f"         claims for at most {most} devices of one node, never more than are free"
        yield "         pods with these claims, and config maps that tell them what was allocated"
        yield "         for preflight: a pod that never starts, and one a node that pulls the image"
        if privileged:
            yield "         among the pods: privileged ones, with host namespaces and a folder in"
            yield "         /tmp of the node"
        yield f"IMAGE    {self.options.image or 'none named: give --dra-image'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _named(check: Check, forms: Sequence[str | None]) -> str:
    names = [form for form in forms if form is not None]
    return f"{check.id}_{check.name}" + (f"[{', '.join(names)}]" if names else "")


def _impact(check: Check, forms: Sequence[str | None]) -> str:
    impacts = dict.fromkeys(check.impact_of(form).value for form in forms)
    takes = f", {counted(check.devices, 'device')} of one node" if check.devices else ""
    return f"impact {', '.join(impacts)}{takes}"


def why_not(
    check: Check, form: str | None, *, allowed: Collection[Impact], visible_by: str | None
) -> str:
    """Why a check cannot be made in a form; empty when it can, as far as that is known.

    Args:
        check: the check.
        form: its form.
        allowed: the impacts that checks may have.
        visible_by: how the driver's devices show themselves; None where that is not known yet.
    """
    impact = check.impact_of(form)
    if impact not in allowed:
        return f"not allowed: impact {impact.value}; {flag('allow')} {impact.value} allows it"
    if visible_by is None:
        return ""
    missing = [need for need in check.needs if need != visible_by]
    if not missing:
        return ""
    known = f"these are by {visible_by}"
    if visible_by == UNKNOWN:
        known = f"how these are is not known without a profile ({flag('profile')}=FILE)"
    return f"unsupported: needs devices visible by {missing[0]}; {known}"
