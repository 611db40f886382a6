"""Selectors of devices: as much of the Common Expression Language as they are written in.

The scheduler evaluates a selector on each device; one that raises an error ends the allocation on
that node. So this says for a device: it matches, it does not, or the error. What it does not know
it says, too, and never guesses. (cel-spec; ``k8s.io/dynamic-resource-allocation/cel`` for the types
of attributes.)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from harness.cluster.inventory import quantity
from harness.cluster.kinds import Object

Scope = Mapping[str, Any]
Code = Callable[[Scope], Any]
"""A compiled expression: from the values of variables to its own."""

TOKEN = re.compile(
    r"""\s*(?:(?P<text>r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*')|(?P<number>\d+\.\d+|\d+u?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<mark>&&|\|\||[=!<>]=|\.\?|\[\?|[-+*/%<>!?:.,()\[\]]))"""
)
ESCAPE = re.compile(r"\\(.)")
SEMVER = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


class CelError(Exception):
    """What the scheduler would say: the expression has no value for this device."""


class UnknownError(Exception):
    """The expression has something that is not known here; ``str()`` says what."""


@dataclass(frozen=True)
class Optional:
    """A value that may be missing."""

    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Version:
    """A semantic version."""

    text: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is compared by: a pre-release comes before its release."""
        found = SEMVER.fullmatch(self.text)
        if found is None:
            raise CelError(f"no semantic version: {self.text}")
        *numbers, pre = found.groups()
        parts = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in (pre or "").split(".")
        )
        return (*(int(number or 0) for number in numbers), not pre, parts)


@dataclass(frozen=True)
class Domain:
    """The attributes or capacities of a device that are in one domain."""

    entries: Mapping[str, Mapping[str, Any]]
    domain: str
    own: bool
    """Whether names without a domain are in it."""

    def find(self, name: str) -> Optional:
        """The value of a name, if there is one."""
        entry = self.entries.get(f"{self.domain}/{name}")
        if entry is None and self.own:
            entry = self.entries.get(name)
        return Optional() if entry is None else Optional((_value(entry),))


@dataclass(frozen=True)
class Domains:
    """The attributes or capacities of a device, by domain; one without any is empty."""

    entries: Mapping[str, Mapping[str, Any]]
    driver: str

    def find(self, domain: str) -> Optional:
        """What is in a domain."""
        return Optional((Domain(self.entries, domain, domain == self.driver),))


def _value(entry: Mapping[str, Any]) -> Any:
    if "value" in entry:
        return _quantity(entry["value"])
    kind, value = next(iter(entry.items()))
    if kind == "version":
        return Version(value)
    return [Version(one) for one in value] if kind == "versions" else value


def _quantity(text: str) -> Decimal:
    try:
        return quantity(text)
    except ValueError as error:
        raise CelError(f"no quantity: {text}") from error


def device_of(device: Object, driver: str) -> Mapping[str, Any]:
    """A published device as expressions see it."""
    return {
        "driver": driver,
        "allowMultipleAllocations": bool(device.get("allowMultipleAllocations")),
        "attributes": Domains(device.get("attributes") or {}, driver),
        "capacity": Domains(device.get("capacity") or {}, driver),
    }


@cache
def compiled(expression: str) -> Code:
    """Compile an expression.

    Raises:
        UnknownError: it has something that is not known here.
    """
    return _Parser(expression).whole()


def matches(selectors: Sequence[Object], device: Object, driver: str) -> bool:
    """Whether a device satisfies each of some selectors of a class or request.

    Raises:
        CelError: an expression has no value for it.
        UnknownError: an expression has something that is not known here.
    """
    scope = {"device": device_of(device, driver)}
    return all(
        _boolean(compiled(one["cel"]["expression"])(scope)) for one in selectors if one.get("cel")
    )


# Values


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError("no such overload: a condition is not a boolean")
    return value


def _find(of: Any, key: Any) -> Optional:
    if isinstance(of, Domain | Domains):
        return of.find(str(key))
    if isinstance(of, Mapping):
        return Optional((of[key],)) if key in of else Optional()
    if isinstance(of, list) and isinstance(key, int):
        return Optional((of[key],)) if 0 <= key < len(of) else Optional()
    raise CelError("no such overload: this has no fields")


def _get(of: Any, key: Any) -> Any:
    if isinstance(of, Optional):
        return _find(of.values[0], key) if of.values else of
    found = _find(of, key)
    if not found.values:
        raise CelError(f"no such key: {key}")
    return found.values[0]


def _in(one: Any, among: Any) -> bool:
    if isinstance(among, list):
        return any(_equal(one, other) for other in among)
    return bool(_find(among, one).values)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Version) and isinstance(other, Version):
        return one.key == other.key
    # Of two types: never equal. Whole and broken numbers are of one here.
    kinds = [
        bool if isinstance(v, bool) else int if isinstance(v, int | float) else type(v)
        for v in (one, other)
    ]
    return kinds[0] is kinds[1] and bool(one == other)


def _compare(one: Any, other: Any) -> int:
    if isinstance(one, Version) and isinstance(other, Version):
        one, other = one.key, other.key
    elif isinstance(one, bool | Domain) or type(one) is not type(other):
        raise CelError("no such overload: these cannot be compared")
    return int(one > other) - int(one < other)


def _arithmetic(how: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(one: Any, other: Any) -> Any:
        if isinstance(one, bool | Decimal | Version) or type(one) is not type(other):
            raise CelError("no such overload: this cannot be reckoned with")
        try:
            return how(one, other)
        except (TypeError, ZeroDivisionError) as error:
            raise CelError(str(error)) from error

    return apply


BINARY: tuple[Mapping[str, Callable[[Any, Any], Any]], ...] = (
    {
        "==": _equal,
        "!=": lambda one, other: not _equal(one, other),
        "<": lambda one, other: _compare(one, other) < 0,
        "<=": lambda one, other: _compare(one, other) <= 0,
        ">": lambda one, other: _compare(one, other) > 0,
        ">=": lambda one, other: _compare(one, other) >= 0,
        "in": _in,
    },
    {"+": _arithmetic(operator.add), "-": _arithmetic(operator.sub)},
    {
        "*": _arithmetic(operator.mul),
        "/": _arithmetic(lambda one, other: one // other if isinstance(one, int) else one / other),
        "%": _arithmetic(operator.mod),
    },
)
"""Operators with two sides, the weakest first."""

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "quantity": _quantity,
    "semver": lambda text, *_: Version(text),
    "isSemver": lambda text, *_: SEMVER.fullmatch(text) is not None,
    "size": len,
    "string": lambda value: value.text if isinstance(value, Version) else str(value),
    "int": int,
}
METHODS: Mapping[str, tuple[type, Callable[..., Any]]] = {
    "startsWith": (str, str.startswith),
    "endsWith": (str, str.endswith),
    "contains": (str, lambda text, part: part in text),
    "matches": (str, lambda text, pattern: re.search(pattern, text) is not None),
    "lowerAscii": (str, str.lower),
    "upperAscii": (str, str.upper),
    "size": (object, len),
    "compareTo": (object, _compare),
    "isGreaterThan": (object, lambda one, other: _compare(one, other) > 0),
    "isLessThan": (object, lambda one, other: _compare(one, other) < 0),
    "isInteger": (Decimal, lambda number: number % 1 == 0),
    "asInteger": (Decimal, int),
    "sign": (Decimal, lambda number: int(number > 0) - int(number < 0)),
    "add": (Decimal, operator.add),
    "sub": (Decimal, operator.sub),
    "major": (Version, lambda version: version.key[0]),
    "minor": (Version, lambda version: version.key[1]),
    "patch": (Version, lambda version: version.key[2]),
    "hasValue": (Optional, lambda optional: bool(optional.values)),
    "orValue": (Optional, lambda optional, other: (*optional.values, other)[0]),
    "value": (Optional, lambda optional: optional.values[0]),
    "includes": (
        object,
        lambda one, other: _in(other, one) if isinstance(one, list) else _equal(one, other),
    ),
}
OVER_LISTS: Mapping[str, Callable[[list[Any], list[Any]], Any]] = {
    "all": lambda found, _: all(found),
    "exists": lambda found, _: any(found),
    "exists_one": lambda found, _: found.count(True) == 1,
    "filter": lambda found, of: [one for one, kept in zip(of, found, strict=True) if kept],
    "map": lambda found, _: found,
}


# Compiling


class _Parser:
    """Compiles one expression, from left to right."""

    def __init__(self, expression: str) -> None:
        self._tokens = list(_tokens(expression))
        self._at = 0

    def whole(self) -> Code:
        code = self._condition()
        if self._at < len(self._tokens):
            raise UnknownError(self._tokens[self._at][1])
        return code

    def _next(self, *marks: str) -> str:
        """Take the next token if it is one of some marks; else nothing."""
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if text in marks and kind != "text":
                self._at += 1
                return text
        return ""

    def _need(self, mark: str) -> None:
        if not self._next(mark):
            raise UnknownError(f"something else than {mark}")

    def _condition(self) -> Code:
        code = self._either()
        if not self._next("?"):
            return code
        yes = self._condition()
        self._need(":")
        no = self._condition()
        return lambda scope: yes(scope) if _boolean(code(scope)) else no(scope)

    def _either(self) -> Code:
        code = self._both()
        while self._next("||"):
            code = _decided(True, code, self._both())
        return code

    def _both(self) -> Code:
        code = self._binary(0)
        while self._next("&&"):
            code = _decided(False, code, self._binary(0))
        return code

    def _binary(self, level: int) -> Code:
        if level == len(BINARY):
            return self._unary()
        code = self._binary(level + 1)
        while mark := self._next(*BINARY[level]):
            code = _applied(BINARY[level][mark], code, self._binary(level + 1))
        return code

    def _unary(self) -> Code:
        if self._next("!"):
            code = self._unary()
            return lambda scope: not _boolean(code(scope))
        if self._next("-"):
            code = self._unary()
            return lambda scope: -code(scope)
        return self._member()

    def _member(self) -> Code:
        code = self._primary()
        while mark := self._next(".", ".?", "[", "[?"):
            if mark in ("[", "[?"):
                key = self._condition()
                self._need("]")
                code = _applied(_get if mark == "[" else _find_optional, code, key)
                continue
            name = self._name()
            if mark == "." and self._next("("):
                code = self._method(code, name)
            else:
                key = _constant(name)
                code = _applied(_get if mark == "." else _find_optional, code, key)
        return code

    def _method(self, of: Code, name: str) -> Code:
        if name in OVER_LISTS:
            variable = self._name()
            self._need(",")
            body = self._condition()
            self._need(")")
            return lambda scope: OVER_LISTS[name](
                [body({**scope, variable: one}) for one in of(scope)], of(scope)
            )
        arguments = self._arguments()
        if name not in METHODS:
            raise UnknownError(f"{name}()")
        kind, method = METHODS[name]

        def call(scope: Scope) -> Any:
            this = of(scope)
            if not isinstance(this, kind):
                raise CelError(f"no such overload: {name}()")
            return _called(method, this, *(one(scope) for one in arguments))

        return call

    def _arguments(self) -> list[Code]:
        found: list[Code] = []
        while not self._next(")"):
            found.append(self._condition())
            if not self._next(","):
                self._need(")")
                break
        return found

    def _name(self) -> str:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "the end")
        if kind != "name":
            raise UnknownError(text)
        self._at += 1
        return text

    def _primary(self) -> Code:
        if self._next("("):
            code = self._condition()
            self._need(")")
            return code
        if self._next("["):
            return self._list()
        if self._at >= len(self._tokens):
            raise UnknownError("the end")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return _constant(_text(text))
        if kind == "number":
            return _constant(float(text) if "." in text else int(text.rstrip("u")))
        if kind != "name":
            raise UnknownError(text)
        if text in ("true", "false"):
            return _constant(text == "true")
        return self._named(text)

    def _named(self, name: str) -> Code:
        if name == "cel" and self._next("."):
            return self._bound()
        if not self._next("("):
            return lambda scope: _get(scope, name)
        if name == "has":
            code = self._condition()
            self._need(")")
            return lambda scope: _is_there(code, scope)
        if name not in FUNCTIONS:
            raise UnknownError(f"{name}()")
        arguments = self._arguments()
        return lambda scope: _called(FUNCTIONS[name], *(one(scope) for one in arguments))

    def _bound(self) -> Code:
        """``cel.bind(NAME, VALUE, EXPRESSION)``."""
        if self._name() != "bind":
            raise UnknownError("cel")
        self._need("(")
        variable = self._name()
        self._need(",")
        value = self._condition()
        self._need(",")
        body = self._condition()
        self._need(")")
        return lambda scope: body({**scope, variable: value(scope)})

    def _list(self) -> Code:
        found: list[Code] = []
        while not self._next("]"):
            found.append(self._condition())
            if not self._next(","):
                self._need("]")
                break
        return lambda scope: [one(scope) for one in found]


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at, text = 0, expression.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise UnknownError(text[at:].strip()[:20])
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _text(quoted: str) -> str:
    if quoted.startswith("r"):
        return quoted[2:-1]
    return ESCAPE.sub(lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), quoted[1:-1])


def _constant(value: Any) -> Code:
    return lambda _scope: value


def _applied(how: Callable[[Any, Any], Any], one: Code, other: Code) -> Code:
    return lambda scope: how(one(scope), other(scope))


def _find_optional(of: Any, key: Any) -> Optional:
    if isinstance(of, Optional):
        return _find(of.values[0], key) if of.values else of
    return _find(of, key)


def _is_there(code: Code, scope: Scope) -> bool:
    try:
        code(scope)
    except CelError as error:
        if str(error).startswith("no such key"):
            return False
        raise
    return True


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError, IndexError, re.error) as error:
        raise CelError(f"no such overload: {error}") from error


def _decided(by: bool, one: Code, other: Code) -> Code:
    """And, or: either side alone may decide, whatever error the other one has."""

    def judge(scope: Scope) -> bool:
        try:
            if _boolean(one(scope)) is by:
                return by
        except CelError:
            if _boolean(other(scope)) is by:
                return by
            raise
        return _boolean(other(scope))

    return judge
