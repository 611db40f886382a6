"""The parameters that claims and classes can have for this driver.

    apiVersion: gpu.reference.dra-conformance.example/v1
    kind: GpuConfig
    label: blue
    timeSlice: Long

Containers find the label in a variable, so that it can be seen which parameters reached which
device. The time slice is a setting of the GPU, as long as the claim is prepared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import DRIVER

API_VERSION = f"{DRIVER}/v1"
KIND = "GpuConfig"
LABEL, TIME_SLICE = "label", "timeSlice"
TIME_SLICES = ("Default", "Short", "Medium", "Long")
"""In the order of the numbers by which the vendor's tools know them."""
_FIELDS = {
    LABEL: (re.compile(r"[A-Za-z0-9-]{1,63}"), "up to 63 letters, digits and dashes"),
    TIME_SLICE: (re.compile("|".join(TIME_SLICES)), ", ".join(TIME_SLICES)),
}
"""Each with what its value may be, for the machine and for people."""
_SOURCES = ("FromClass", "FromClaim")
"""What the user says of a claim goes before what the admin says of a class."""


class ParametersError(Exception):
    """Parameters that are none of this driver's, or that contradict each other."""


def settings_of(request: str, configurations: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The settings for devices of a request, by field.

    Args:
        request: its name; with an alternative ``request/alternative``.
        configurations: the entries of the allocation's ``config`` that are for this driver.

    Raises:
        ParametersError: silently ignoring what is not understood would promise what is not done.
    """
    found: dict[str, dict[str, str]] = {source: {} for source in _SOURCES}
    for one in configurations:
        settings = _read(one["opaque"]["parameters"])
        named, of_source = one.get("requests") or [request], found[one["source"]]
        if request not in named and request.partition("/")[0] not in named:
            continue
        for field, value in settings.items():
            if of_source.setdefault(field, value) != value:
                both = f"{of_source[field]} and {value}"
                raise ParametersError(f"request {request} has two values of {field}: {both}")
    return {**found["FromClass"], **found["FromClaim"]}


def _read(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Read the fields, and refuse all else.

    Raises:
        ParametersError: there is something else.
    """
    fields = dict(parameters)
    version, kind = fields.pop("apiVersion", None), fields.pop("kind", None)
    if (version, kind) != (API_VERSION, KIND):
        raise ParametersError(f"no parameters {kind} of {version}: give {KIND} of {API_VERSION}")
    for field, value in fields.items():
        if field not in _FIELDS:
            raise ParametersError(f"{KIND} has no field {field!r}: give {' or '.join(_FIELDS)}")
        pattern, words = _FIELDS[field]
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            raise ParametersError(f"{field} {value!r}: give {words}")
    return fields
