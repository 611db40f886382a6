"""DeviceClasses beside what is published: what their selectors match, without a claim."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from harness.checks.check import check
from harness.cluster.cel import CelError, UnknownError, matches
from harness.cluster.profile import DEFAULT
from harness.scenario.published import Entry, Published, Wrong
from harness.verdict.finding import Blame, UnsupportedError, one_line


@dataclass
class Selected:
    """What the selectors of a class say of every device of the cluster."""

    matched: list[Entry] = field(default_factory=list)
    failed: list[tuple[Entry, str]] = field(default_factory=list)
    """Devices on which a selector has an error, and the error."""


@lru_cache
def _selected(published: Published, name: str) -> Selected:
    device_class = published.classes.get()[name]
    found = Selected()
    selectors = device_class["spec"].get("selectors") or []
    for entry in published.all_devices:
        try:
            if matches(selectors, entry.device, entry.driver):
                found.matched.append(entry)
        except CelError as error:
            found.failed.append((entry, str(error)))
        except UnknownError as error:
            reason = f"a selector of DeviceClass {name} has what this suite does not read: {error}"
            raise UnsupportedError(reason) from error
    return found


def _own(published: Published) -> tuple[str, Selected]:
    """The driver's class, and what it selects."""
    name, known = published.profile.device_class, published.classes.get()
    if name not in known:
        if published.profile.name == DEFAULT and name == published.driver:
            reason = "no DeviceClass speaks of the driver, and its profile names none"
            raise UnsupportedError(reason)
        published.fail(
            f"there is no DeviceClass {name}, so nobody can ask for the driver's devices",
            expected="the DeviceClass that the driver's installation brings",
            observed=f"DeviceClasses: {', '.join(sorted(known)) or 'none'}",
        )
    return name, _selected(published, name)


@check(id="DISC-010", level=0, source="DISC-10")
def test_the_class_of_the_driver_matches_its_devices(published: Published) -> None:
    """The DeviceClass that the driver's profile names MUST exist, and the selectors of the driver's
    class MUST match at least one of its devices.
    """
    name, found = _own(published)
    if not found.failed and not any(e.driver == published.driver for e in found.matched):
        published.fail(
            f"DeviceClass {name} matches none of the driver's devices",
            expected=f"a device of {published.driver} that its selectors match",
            observed=f"{len(published.devices)} devices; {published.classes.get()[name]['spec']}",
        )


@check(id="DISC-015", level=0, source="DISC-10")
def test_selectors_of_classes_have_no_errors(published: Published) -> None:
    """The selectors of a DeviceClass MUST NOT have an error on any device that is published: for a
    claim of that class the scheduler then allocates nothing on the node.
    """
    wrong, unread = [], None
    for name in sorted(published.classes.get()):
        try:
            failed = _selected(published, name).failed
        except UnsupportedError as error:
            unread = error
            continue
        if failed:
            entry, error_text = failed[0]
            head = f"DeviceClass {name} has an error on {entry.where}: {one_line(error_text, 40)}"
            drivers = ", ".join(sorted({entry.driver for entry, _ in failed}))
            text = f"{name}: on {len(failed)} devices of {drivers}: {error_text}"
            wrong.append(Wrong(entry.node, head, text))
    published.none_of(wrong, "true or false for each device", Blame.CLUSTER)
    if unread is not None:
        raise unread
    if not published.classes.get():
        raise UnsupportedError("there is no DeviceClass")


@check(id="DISC-016", level=0, source="DISC-10", after=("DISC-010", "DISC-015"))
def test_the_class_of_the_driver_matches_no_others_devices(published: Published) -> None:
    """The DeviceClass of the driver MUST NOT match devices of another driver: who asks for one of
    its devices may be given something else.
    """
    name, found = _own(published)
    published.none_of(
        (
            Wrong(
                entry.node,
                f"DeviceClass {name} also matches a device of {entry.driver}",
                f"{entry.driver}: {entry.where}",
            )
            for entry in found.matched
            if entry.driver != published.driver
        ),
        f"devices of {published.driver} only",
        Blame.CLUSTER,
    )
