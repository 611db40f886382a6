"""What installs the reference driver fits it, and asks for no right that it does not use."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from building.binaries import HERE as PINS
from building.binaries import KUBERNETES, RELEASES
from embedded.drivers import DRIVERS
from embedded.drivers.reference import CHANNELS, REFERENCE
from embedded.drivers.reference.image import IMAGE_NAME
from embedded.drivers.reference.kubelet_plugin import DRIVER


def objects(minor: str = "1.37") -> dict[str, Any]:
    """The driver's objects by kind; there is one of each."""
    found = REFERENCE.objects({}, RELEASES[minor])
    by_kind = {item["kind"]: item for item in found}
    assert len(by_kind) == len(found)
    return by_kind


def test_is_one_of_the_drivers_to_choose_from() -> None:
    """Beside the two real ones, and once more for channels."""
    assert {driver.name for driver in DRIVERS.values()} == {
        "gpu.nvidia.com",
        "gpu.example.com",
        DRIVER,
        CHANNELS.name,
    }


@pytest.mark.parametrize(
    ("name", "module"),
    [("nvidia", "dra-driver-nvidia-gpu"), ("example", "dra-example-driver")],
)
def test_a_version_is_a_folder_of_pins(name: str, module: str) -> None:
    """Its pins are those of that version; a name alone is one of the versions."""
    versions = {
        key.partition("@")[2]: DRIVERS[key] for key in DRIVERS if key.startswith(f"{name}@")
    }
    folders = {path.name.removeprefix(f"{name}-") for path in PINS.glob(f"{name}-*")}
    assert set(versions) == folders
    assert DRIVERS[name] in versions.values()
    for version, driver in versions.items():
        assert driver.description.endswith(f" v{version}")
        pins = (PINS / f"{name}-{version}" / "go.mod").read_text()
        assert f"\tsigs.k8s.io/{module} v{version} " in pins


def test_versions_are_built_beside_each_other() -> None:
    """No two parts of a bundle with all of them have one name."""
    built = {part for driver in DRIVERS.values() for part in driver.images}
    built |= {part for driver in DRIVERS.values() for part in driver.manifests(KUBERNETES)}
    assert len({part.name for part in built}) == len({part.key for part in built})


def test_the_name_is_a_dns_subdomain() -> None:
    """Of at most 63 characters, in lower case (KEP-4381)."""
    label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
    assert re.fullmatch(rf"{label}(\.{label})*", DRIVER)
    assert len(DRIVER) <= 63


def test_the_manifests_use_the_drivers_name_and_image() -> None:
    """They are written out, to be applied by hand, too."""
    found = objects()
    names = set(re.findall(r"gpu\.reference\.[a-z.-]*[a-z]", yaml.safe_dump(found)))
    assert names == {DRIVER}
    assert found["DeviceClass"]["metadata"]["name"] == DRIVER
    (container,) = found["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE_NAME


@pytest.mark.parametrize("minor", RELEASES)
def test_the_device_class_is_of_a_version_that_is_served(minor: str) -> None:
    """Which is v1 from Kubernetes 1.34 on."""
    expected = "resource.k8s.io/v1beta2" if minor == "1.33" else "resource.k8s.io/v1"
    assert objects(minor)["DeviceClass"]["apiVersion"] == expected


def test_channels_are_installed_by_the_same_manifests() -> None:
    """Under other names, with what GPUs need left out: it runs beside drivers of real ones."""
    found = CHANNELS.objects({}, KUBERNETES)
    text = yaml.safe_dump(found, width=1000)
    assert DRIVER not in text
    assert "simulated-gpus" not in text
    assert f'device.attributes["{CHANNELS.name}"].type == "channel"' in text
    assert [item["kind"] for item in found] == list(objects())
    (container,) = found[-1]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE_NAME
    assert container["args"] == [f"--channels={CHANNELS.devices}"]


def test_rights_are_named_one_by_one() -> None:
    """No wildcard in the role, no capability in the container, which is not privileged."""
    found = objects()
    assert "*" not in yaml.safe_dump(found["ClusterRole"]["rules"])
    (container,) = found["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"].get("privileged")
