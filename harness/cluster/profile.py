"""What is known about one driver: its class, its attributes, how its devices show themselves.

Nothing but the name has to be known: what a profile does not say, nothing is judged by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.cluster.yaml_file import Field, YamlFileError, items_of, read

SCHEMA = "dra-conformance/profile/v1"
VISIBLE_BY = ("cuda", "devnode", "env", "unknown")
UNKNOWN = "unknown"
DEFAULT = "default"
"""The profile of a driver that no other one knows."""
NO_POD = "dra-conformance.io/no-pod-of-any-driver"
"""A selector that no pod fits: where the driver's pods are is not known."""
PREPARED, REFUSED, OPTIONAL = EXPECT = ("prepared", "refused", "optional")
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "cdi": ("/var/run/cdi", "/etc/cdi"),
    "plugin": ("/var/lib/kubelet/plugins/DRIVER",),
    "registry": ("/var/lib/kubelet/plugins_registry",),
}
"""The folders of a node that a driver writes to, where its profile does not say otherwise; DRIVER
stands for its name."""
TYPES = ("string", "int", "bool", "version", "strings", "ints", "bools", "versions", "capacity")
"""What a profile may promise: a type of attributes as slices spell it, or a capacity."""
ATTRIBUTES = ("uuid", "product", "pci", "compute-capability", "memory", "version", "cuda-version")
"""What a profile may know the names of; memory is a capacity, the others are attributes.

The version is that of the GPUs' own driver (of the kernel), not of the DRA driver; the CUDA version
is the newest that it supports.
"""


class ProfileError(Exception):
    """A profile cannot be used; ``str()`` names file, line and cause."""


@dataclass(frozen=True)
class Daemon:
    """What a driver starts for a claim's containers, such as the control daemon of MPS."""

    pods: str
    """A pattern with ``*`` for the names of its pods, in the namespace of the driver's; CLAIM
    stands for the claim's UID."""
    asks: tuple[str, ...]
    """A command that needs it."""
    without: str
    """A pattern of a line that the command prints where no daemon serves the container."""


@dataclass(frozen=True)
class Configuration:
    """Opaque parameters that a claim can have for the driver."""

    name: str
    parameters: Mapping[str, Any]
    expect: str = PREPARED
    """What the driver has to do with a claim that has them: `PREPARED`, `REFUSED`, or `OPTIONAL`,
    which is one of both, by how it is installed."""
    shows: tuple[str, ...] = ()
    """Patterns of variables, ``NAME=VALUE`` with ``*``: containers then have one of them."""
    asks: tuple[str, ...] = ()
    """A command: it prints lines as in ``shows`` in the claim's containers, and not without it."""
    names: str = ""
    """What the driver says when it refuses has this in it; empty: the ``kind``."""
    daemon: Daemon | None = None
    """What comes with the claim and goes with it, beside what ``asks`` shows."""


@dataclass(frozen=True)
class Profile:
    """A driver's profile; what is not known is empty."""

    name: str
    title: str
    drivers: tuple[str, ...]
    device_class: str
    """Empty: the class that is called as the driver, or the only one that speaks of it."""
    select_attribute: str
    """A device is one of those to test if this attribute …"""
    select_value: str
    """… has this value; both empty: every device of the driver is."""
    attributes: Mapping[str, str]
    """What the driver calls each of `ATTRIBUTES`, as far as that is known."""
    partition_value: str
    """What ``select_attribute`` is for a part of a GPU (MIG)."""
    visible_by: str
    """How a container has a device: one of `VISIBLE_BY`."""
    tolerations: tuple[Mapping[str, Any], ...]
    plugin_selector: str
    """Labels of the driver's pods on the nodes, for its log."""
    plugin_container: str
    channel_class: str = ""
    """The class of IMEX channels, of whatever driver; empty: none is claimed."""
    metrics: str = ""
    """Port and path of its pods' metrics: ``8080/metrics``; empty: not known."""
    prepared: str = ""
    """The metric that counts prepared devices; empty: not known."""
    configurations: tuple[Configuration, ...] = ()
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: FOLDERS)
    """The folders of a node that the driver writes to, by what they are for (`FOLDERS`)."""
    promises: Mapping[str, str] = field(default_factory=dict)
    """What the driver promises to publish of each whole GPU: names, each with one of `TYPES`."""

    def where_told(self, *, device_class: str, visible_by: str, channel_class: str = "") -> Profile:
        """Answer the profile with what the user says instead; what is empty stays as it is."""
        return replace(
            self,
            device_class=device_class or self.device_class,
            channel_class=channel_class or self.channel_class,
            visible_by=visible_by or self.visible_by,
        )


@cache
def load(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: it cannot be read, lacks something, or has something unknown.
    """
    try:
        return read("profile", path, _profile)
    except YamlFileError as error:
        raise ProfileError(str(error)) from error


def _profile(document: Field) -> Profile:
    fields = document.table(
        ("schema", "name", "title"),
        (
            *(
                "drivers",
                "class",
                "channel-class",
                "select",
                "attributes",
                "visible-by",
                "tolerations",
                "plugin",
            ),
            *("configurations", "folders", "promises"),
        ),
    )
    if fields["schema"].text() != SCHEMA:
        fields["schema"].wrong(f"schema is not {SCHEMA}")
    select = _texts(fields, "select", ("attribute", "value"), ("partition",))
    plugin = _texts(fields, "plugin", ("selector", "container"), ("metrics", "prepared"))
    visible_by = fields["visible-by"].one_of(VISIBLE_BY) if "visible-by" in fields else UNKNOWN
    folders: dict[str, tuple[str, ...]] = {}
    if "folders" in fields:
        given = fields["folders"].table((), FOLDERS)
        folders = {name: tuple(map(Field.text, items_of(given, name))) for name in given}
    promises: dict[str, str] = {}
    if "promises" in fields:
        given = fields["promises"].mapping()
        promises = {name: one.one_of(TYPES) for name, one in given.items()}
    return Profile(
        name=fields["name"].text(),
        title=fields["title"].text(),
        drivers=tuple(map(Field.text, items_of(fields, "drivers"))),
        device_class=fields["class"].text() if "class" in fields else "",
        channel_class=fields["channel-class"].text() if "channel-class" in fields else "",
        select_attribute=select.get("attribute", ""),
        select_value=select.get("value", ""),
        attributes=_texts(fields, "attributes", (), ATTRIBUTES),
        partition_value=select.get("partition", ""),
        visible_by=visible_by,
        tolerations=tuple(map(Field.object, items_of(fields, "tolerations"))),
        plugin_selector=plugin.get("selector", NO_POD),
        plugin_container=plugin.get("container", ""),
        metrics=plugin.get("metrics", ""),
        prepared=plugin.get("prepared", ""),
        configurations=tuple(map(_configuration, items_of(fields, "configurations"))),
        folders={**FOLDERS, **folders},
        promises=promises,
    )


def _texts(
    fields: Mapping[str, Field],
    name: str,
    needed: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> dict[str, str]:
    if name not in fields:
        return {}
    return {key: field.text() for key, field in fields[name].table(needed, optional).items()}


def _configuration(item: Field) -> Configuration:
    fields = item.table(("name", "expect", "parameters"), ("shows", "asks", "names", "daemon"))
    parameters = fields["parameters"].object()
    for key in ("apiVersion", "kind"):
        if key not in parameters:
            fields["parameters"].wrong(f"{key} is missing: the driver knows parameters by it")
    return Configuration(
        name=fields["name"].text(),
        parameters=parameters,
        expect=fields["expect"].one_of(EXPECT),
        shows=tuple(map(Field.text, items_of(fields, "shows"))),
        asks=tuple(map(Field.text, items_of(fields, "asks"))),
        names=fields["names"].text() if "names" in fields else "",
        daemon=_daemon(fields["daemon"]) if "daemon" in fields else None,
    )


def _daemon(item: Field) -> Daemon:
    fields = item.table(("pods", "asks", "without"))
    asks = tuple(map(Field.text, items_of(fields, "asks")))
    return Daemon(fields["pods"].text(), asks, fields["without"].text())


def load_all(folder: Path) -> list[Profile]:
    """Every profile of a folder, by file name."""
    return list(map(load, sorted(folder.glob("*.yaml"))))


def named(wanted: str, folder: Path) -> Profile:
    """The profile that the user named, by name or as a file.

    Raises:
        ProfileError: there is none.
    """
    path = Path(wanted)
    if path.suffix in (".yaml", ".yml"):
        return load(path)
    path = folder / f"{wanted}.yaml"
    if not path.exists():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.yaml")))
        raise ProfileError(f"no profile {wanted!r}; there are {known}, or give a .yaml file")
    return load(path)


def choose(wanted: str, folder: Path, drivers: Iterable[str]) -> tuple[Profile, str]:
    """The driver under test, of those that publish devices, and its profile.

    Args:
        wanted: what the user named; empty: the profile that knows one of the drivers, or
            `DEFAULT` for one that none knows.
        folder: where the profiles are.
        drivers: who publishes devices; the one that the user named, if so.

    Raises:
        ProfileError: there is no such profile, or several drivers may be meant.
    """
    published = sorted(set(drivers))
    if wanted:
        profile = named(wanted, folder)
        known = [driver for driver in published if driver in profile.drivers]
    else:
        profiles = load_all(folder)
        known = [d for d in published if any(d in profile.drivers for profile in profiles)]
        fitting = [profile for profile in profiles if set(profile.drivers) & set(known)]
        profile = fitting[0] if len(known) == 1 else named(DEFAULT, folder)
    # A driver that no profile knows is meant when it is the only one: it may be nobody's GPU
    # driver, but that is for the user to see in the run's first line.
    meant = known or published
    if len(meant) != 1:
        raise ProfileError(
            f"several drivers publish devices: {', '.join(published)}; choose one with"
            f" --dra-driver {meant[0] if meant else 'NAME'}"
        )
    return profile, meant[0]
