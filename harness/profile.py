"""What is known about one driver: its class, its attributes, how its devices show themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SCHEMA = "dra-conformance/profile/v1"
VISIBLE_BY = ("cuda", "devnode", "env")


class ProfileError(Exception):
    """A profile cannot be used; ``str()`` names file and cause."""


@dataclass(frozen=True)
class Profile:
    """A driver's profile."""

    name: str
    title: str
    drivers: tuple[str, ...]
    device_class: str
    select_attribute: str
    """A device is one of those to test if this attribute …"""
    select_value: str
    """… has this value."""
    uuid_attribute: str
    product_attribute: str
    pci_attribute: str
    capability_attribute: str
    memory_capacity: str
    visible_by: str
    tolerations: tuple[Mapping[str, Any], ...]
    plugin_selector: str
    """Labels of the driver's pods on the nodes, for its log."""
    plugin_container: str


def load(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: it cannot be read, lacks something, or has something unknown.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    try:
        if document.pop("schema") != SCHEMA:
            raise ProfileError(f"profile {path}: schema is not {SCHEMA}")
        select = _only(document.pop("select"), "attribute", "value")
        attributes = _only(
            document.pop("attributes"), "uuid", "product", "pci", "compute-capability", "memory"
        )
        plugin = _only(document.pop("plugin"), "selector", "container")
        profile = Profile(
            name=str(document.pop("name")),
            title=str(document.pop("title")),
            drivers=tuple(str(driver) for driver in document.pop("drivers")),
            device_class=str(document.pop("class")),
            select_attribute=select["attribute"],
            select_value=select["value"],
            uuid_attribute=attributes["uuid"],
            product_attribute=attributes["product"],
            pci_attribute=attributes["pci"],
            capability_attribute=attributes["compute-capability"],
            memory_capacity=attributes["memory"],
            visible_by=str(document.pop("visible-by")),
            tolerations=tuple(dict(item) for item in document.pop("tolerations")),
            plugin_selector=plugin["selector"],
            plugin_container=plugin["container"],
        )
    except KeyError as error:
        raise ProfileError(f"profile {path}: {error.args[0]} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    if document:
        raise ProfileError(f"profile {path}: unknown key {min(document)}")
    if profile.visible_by not in VISIBLE_BY:
        raise ProfileError(
            f"profile {path}: visible-by {profile.visible_by!r}; expected one of"
            f" {', '.join(VISIBLE_BY)}"
        )
    return profile


def _only(mapping: Mapping[str, Any], *keys: str) -> dict[str, str]:
    unknown = set(mapping) - set(keys)
    if unknown:
        raise ValueError(f"unknown key {min(unknown)}")
    return {key: str(mapping.get(key, "")) for key in keys}


def load_all(folder: Path) -> list[Profile]:
    """Every profile of a folder, by file name."""
    return [load(path) for path in sorted(folder.glob("*.yaml"))]


def choose(wanted: str, folder: Path, drivers: Iterable[str]) -> Profile:
    """The profile that the user named, or the one that knows one of these drivers.

    Raises:
        ProfileError: there is none, or several would do.
    """
    if wanted:
        path = Path(wanted)
        if path.suffix in (".yaml", ".yml"):
            return load(path)
        named = folder / f"{wanted}.yaml"
        if not named.exists():
            known = ", ".join(sorted(found.stem for found in folder.glob("*.yaml")))
            raise ProfileError(f"no profile {wanted!r}; there are {known}, or give a .yaml file")
        return load(named)
    published = sorted(set(drivers))
    fitting = [p for p in load_all(folder) if set(p.drivers) & set(published)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ProfileError(
            f"no profile knows any of the drivers {', '.join(published) or '(none)'}; describe"
            " yours in a file like profiles/nvidia.yaml and give it as --dra-profile FILE"
        )
    raise ProfileError(
        f"several drivers publish GPUs: {', '.join(published)}; choose one with --dra-driver"
    )
