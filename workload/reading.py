"""Documents of JSON read into dataclasses, whose fields say what there must be."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_types = cache(get_type_hints)
"""The types of a dataclass's fields; to find them out takes longer than to read an object."""


class ReportError(ValueError):
    """Something is not what the workload writes; ``str()`` says what is missing or wrong."""


def read(kind: type[T], given: object, where: str = "") -> T:
    """Read a dataclass from a JSON object.

    What has no field is passed over: a newer workload wrote it. What is missing or null has the
    field's default: an older one did not know it.

    Args:
        kind: the dataclass, with fields of the types that JSON has, enumerations, dataclasses, and
            tuples and mappings of those.
        given: the object.
        where: the object's place in the document, for what is said of it.

    Raises:
        ReportError: a field without a default is missing, or a value is of another type.
    """
    members = _checked(dict, given, where or kind.__name__.lower())
    types, values = _types(kind), {}  # type: ignore[arg-type]  # a class is hashable
    for field in fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        value = members.get(field.name)
        optional = (field.default, field.default_factory) != (MISSING, MISSING)
        if value is not None or not optional:
            place = f"{where}.{field.name}" if where else field.name
            values[field.name] = _value(types[field.name], value, place)
    return kind(**values)


def _value(kind: Any, given: object, where: str) -> Any:
    inner = get_args(kind)
    if get_origin(kind) is UnionType:
        (one,) = (member for member in inner if member is not NoneType)
        return None if given is None else _value(one, given, where)
    if get_origin(kind) is tuple:
        items = _checked(list, given, where)
        return tuple(_value(inner[0], item, f"{where}[{n}]") for n, item in enumerate(items))
    if inner:
        members = _checked(dict, given, where)
        return {key: _value(inner[1], item, f"{where}.{key}") for key, item in members.items()}
    if is_dataclass(kind):
        return read(cast(type[object], kind), given, where)
    if issubclass(kind, Enum):
        if given not in [member.value for member in kind]:
            raise ReportError(f"{where!r} is {given!r}, no {kind.__name__.lower()}")
        return kind(given)
    return _checked(kind, given, where)


def _checked(kind: type[T], given: object, where: str) -> T:
    right = isinstance(given, (int, float) if kind is float else kind)
    # JSON's true is no number, although Python's is.
    if not right or (isinstance(given, bool) and kind is not bool):
        name = {"dict": "JSON object", "list": "JSON array"}.get(kind.__name__, kind.__name__)
        raise ReportError(f"{where!r} is {given!r}, not a {name}")
    return given  # type: ignore[return-value]
