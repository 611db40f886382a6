"""What a driver tells containers of their devices in files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from harness.checks.check import check
from harness.cluster.inventory import qualified
from harness.scenario.evidence import Evidence
from harness.verdict.finding import UnmetError, UnsupportedError, one_line
from suites.allocation.test_counts import two_of_one_request

GROUP = "metadata.resource.k8s.io/"
Key = tuple[str, str, str]
"""Of a device: its driver, pool and name."""


def entries(text: str) -> list[dict[str, Any]]:
    """Read the devices of a file: those of its first document that is of the group.

    Raises:
        ValueError: it has none, or is no stream of JSON documents.
    """
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        if str(document.get("apiVersion")).startswith(GROUP):
            return [one for request in document["requests"] for one in request["devices"]]
        rest = rest[end:].strip()
    raise ValueError(f"no document of {GROUP}*")


def attributes(driver: str, entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name each attribute of an entry in full, with its value.

    Raises:
        ValueError: one is no value of a type.
    """
    for name, value in (entry.get("attributes") or {}).items():
        if not isinstance(value, dict):
            raise ValueError(f"its {one_line(name, 20)} has no type")
        yield qualified(driver, name), next(iter(value.values()), None)


def told_of(text: str) -> dict[Key, dict[str, Any]]:
    """Read what a file tells of its devices: the attributes of each.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is no file of devices.
    """
    told: dict[Key, dict[str, Any]] = {}
    for one in entries(text):
        driver, pool, name = one["driver"], one["pool"], one["name"]
        if not (isinstance(driver, str) and isinstance(pool, str) and isinstance(name, str)):
            raise ValueError("driver, pool and name of a device are no text")
        told[driver, pool, name] = dict(attributes(driver, one))
    return told


@check(id="NODE-041", level=3, source="NODE-30", scenario=two_of_one_request, after=("ALLOC-004",))
def test_files_tell_the_truth_of_devices(evidence: Evidence) -> None:
    """Files in which a driver tells a container of its devices MUST be readable there, tell of all
    of them and no others, and agree with their ResourceSlices.
    """
    wanted = {device.key: device for device in evidence.claim("gpus").devices}
    suffix = f"/{next(iter(wanted.values())).driver}-metadata.json"
    metadata = evidence.report("user").metadata
    if metadata is None:
        raise UnmetError("the program in the container does not read these files")
    files = {path: text for path, text in metadata.items() if path.endswith(suffix)}
    if not files:
        raise UnsupportedError("the driver tells containers nothing of their devices in files")
    told: dict[Key, dict[str, Any]] = {}
    wrong = []
    for text in files.values():
        try:
            told |= told_of(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = one_line(str(error), 50) if text else "it is empty, or no user may read it"
            wrong.append(f"a file on devices of a container says nothing: {why}")
    for key in [] if wrong else sorted(wanted.keys() ^ told.keys()):
        of = "nothing of {}, which it has" if key in wanted else "of {}, which it has not"
        wrong.append(f"files tell a container {of.format(one_line(key[2], 40))}")
    for key in [] if wrong else wanted:
        published = dict(attributes(key[0], wanted[key].entry))
        for name, value in told[key].items():
            if published.get(name, value) != value:
                own = name.removeprefix(f"{key[0]}/")
                of = f"{one_line(own, 30)} of {one_line(key[2], 20)}"
                wrong.append(f"a file says that {of} is {one_line(str(value), 30)}")
    if wrong:
        observed = "\n".join([*wrong, *files])
        evidence.fail(wrong[0], expected="files that say what slices do", observed=observed)
