"""The parameters that claims and classes can have for this driver: a label for their devices.

    apiVersion: gpu.reference.dra-conformance.example/v1
    kind: GpuConfig
    label: blue

Containers find it in a variable, so that it can be seen which parameters reached which device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import DRIVER

API_VERSION = f"{DRIVER}/v1"
KIND = "GpuConfig"
_LABEL = re.compile(r"[A-Za-z0-9-]{1,63}")
_SOURCES = ("FromClass", "FromClaim")
"""What the user says of a claim goes before what the admin says of a class."""


class ParametersError(Exception):
    """Parameters that are none of this driver's, or that contradict each other."""


def label_of(request: str, configurations: Iterable[Mapping[str, Any]]) -> str:
    """The label for devices of a request; empty where there is none.

    Args:
        request: its name; with an alternative ``request/alternative``.
        configurations: the entries of the allocation's ``config`` that are for this driver.

    Raises:
        ParametersError: silently ignoring what is not understood would promise what is not done.
    """
    found: dict[str, set[str]] = {source: set() for source in _SOURCES}
    for one in configurations:
        label = _label(one["opaque"]["parameters"])
        named = one.get("requests") or [request]
        if label and (request in named or request.partition("/")[0] in named):
            found[one["source"]].add(label)
    for source in _SOURCES:
        if len(found[source]) > 1:
            labels = " and ".join(sorted(found[source]))
            raise ParametersError(f"request {request} has two labels: {labels}")
    return next(iter(found["FromClaim"] or found["FromClass"]), "")


def _label(parameters: Mapping[str, Any]) -> str:
    """Read the label, and refuse all else.

    Raises:
        ParametersError: there is something else.
    """
    fields = dict(parameters)
    version, kind = fields.pop("apiVersion", None), fields.pop("kind", None)
    if (version, kind) != (API_VERSION, KIND):
        raise ParametersError(f"no parameters {kind} of {version}: give {KIND} of {API_VERSION}")
    label = fields.pop("label", "")
    if fields:
        raise ParametersError(f"{KIND} has no field {min(fields)!r}: give label")
    if label and not (isinstance(label, str) and _LABEL.fullmatch(label)):
        raise ParametersError(f"label {label!r}: give up to 63 letters, digits and dashes")
    return str(label)
