"""How slices spell names and versions: what Kubernetes 1.38, or a selector, does not take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from harness.checks.check import check
from harness.scenario.published import Entry, Published, Wrong

LARGEST = 2**63 - 1
NUMBERS = re.compile(r"\d+")


def _names(published: Published) -> Iterator[tuple[Entry, str]]:
    """Every attribute and capacity of every device."""
    for entry in published.devices:
        for name in (*entry.attributes, *entry.capacity):
            yield entry, name


def _wrong(found: Iterable[tuple[Entry, str]], what: str) -> Iterator[Wrong]:
    for entry, name in found:
        yield Wrong(entry.node, f"{name} of {entry.where} {what}", f"{entry.where}: {name}")


@cache  # of very many, few are different
def _too_large(version: str) -> bool:
    numbers = NUMBERS.findall(version.partition("+")[0].partition("-")[0])
    return any(int(number) > LARGEST for number in numbers)


@check(id="SLICE-027", level=0, source="SLICE-27")
def test_versions_are_no_larger_than_cel_can_read(published: Published) -> None:
    """Each number of an attribute of type version MUST fit into 64 bits with a sign: Kubernetes
    1.38 refuses a slice with a larger one, and before, selectors fail on the device.
    """
    wrong = []
    for entry in published.devices:
        for name, value in entry.attributes.items():
            for version in (*filter(None, [value.get("version")]), *(value.get("versions") or ())):
                if _too_large(version):
                    head = f"{name} of {entry.where} is too large: {version}"
                    wrong.append(Wrong(entry.node, head, head))
    published.none_of(wrong, f"numbers up to {LARGEST}")


@check(id="SLICE-028", level=0, source="SLICE-28")
def test_names_do_not_repeat_the_drivers(published: Published) -> None:
    """The driver's own attributes and capacities SHOULD have no domain: that is the driver's
    anyway, and the helper library of Kubernetes 1.38 refuses it.
    """
    own = f"{published.driver}/"
    found = (pair for pair in _names(published) if pair[1].startswith(own))
    published.none_of(_wrong(found, "repeats the driver's name"), f"names without {own}")


@check(id="SLICE-029", level=0, source="SLICE-29")
def test_names_have_one_slash_at_most(published: Published) -> None:
    """The name of an attribute or capacity MUST be an identifier, or a domain, one slash and an
    identifier: Kubernetes 1.38 refuses a slice with another, and selectors cannot name it.
    """
    found = (pair for pair in _names(published) if pair[1].count("/") > 1)
    published.none_of(_wrong(found, "has more than one slash"), "DOMAIN/NAME, or NAME")


@check(id="SLICE-030", level=0, source="SLICE-30")
def test_taints_have_a_domain(published: Published) -> None:
    """The key of a taint that the driver puts on a device SHOULD have a domain, so that a claim
    that tolerates it tolerates no other driver's.
    """
    published.none_of(
        (
            Wrong(
                entry.node,
                f"the taint {taint['key']} of {entry.where} has no domain",
                f"{entry.where}: {taint}",
            )
            for entry in published.devices
            for taint in entry.device.get("taints") or []
            if "/" not in taint["key"]
        ),
        f"a key such as {published.driver}/unhealthy",
    )
