"""YAML files that people write, read so that every complaint names file and line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

T = TypeVar("T")


class YamlFileError(Exception):
    """A file cannot be used; ``str()`` begins with what it is, its name and the line."""


class Field:
    """One value of a file, with the line that it stands in."""

    def __init__(self, label: str, node: yaml.Node, line: int | None = None) -> None:
        self._label = label
        self._node = node
        self._line = node.start_mark.line + 1 if line is None else line

    def wrong(self, why: str) -> NoReturn:
        """Refuse the value."""
        raise YamlFileError(f"{self._label}:{self._line}: {why}")

    def table(self, needed: Iterable[str] = (), optional: Iterable[str] = ()) -> dict[str, Field]:
        """The fields of a mapping with exactly these keys."""
        fields = self.mapping()
        known = [*needed, *optional]
        for name, field in fields.items():
            if name not in known:
                field.wrong(f"unknown key {name}; there are {', '.join(known)}")
        for name in needed:
            if name not in fields:
                self.wrong(f"{name} is missing")
        return fields

    def mapping(self) -> dict[str, Field]:
        """The fields of a mapping with any keys."""
        if not isinstance(self._node, yaml.MappingNode):
            self.wrong("expected keys and values")
        fields: dict[str, Field] = {}
        for key, value in self._node.value:
            # The line of the key: a value that is a table begins below it.
            field = Field(self._label, value, key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                field.wrong("a key that is no text")
            if key.value in fields:
                field.wrong(f"{key.value} stands here a second time")
            fields[str(key.value)] = field
        return fields

    def items(self) -> list[Field]:
        """The fields of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.wrong("expected a list")
        return [Field(self._label, node) for node in self._node.value]

    def text(self) -> str:
        """A text; a number or a version that YAML would take for a number is one, too."""
        if not isinstance(self._node, yaml.ScalarNode) or not self._node.value.strip():
            self.wrong("expected text")
        return str(self._node.value)

    def one_of(self, allowed: Iterable[str]) -> str:
        """A text that is one of some words."""
        words = list(allowed)
        if self.text() not in words:
            self.wrong(f"{self.text()!r} is wrong: expected one of {', '.join(words)}")
        return self.text()

    def count(self) -> int:
        """A whole number from 0."""
        value = self.value()
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.wrong(f"{value!r} is wrong: expected a whole number from 0")
        return value

    def date(self) -> dt.date:
        """A day, as 2027-01-31."""
        value = self.value()
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            self.wrong(f"{value!r} is wrong: expected a day such as 2027-01-31")
        return value

    def value(self) -> Any:
        """Whatever stands there, as YAML means it."""
        return yaml.SafeLoader("").construct_document(self._node)

    def object(self) -> Mapping[str, Any]:
        """A mapping whose content is somebody else's affair."""
        self.mapping()
        value = self.value()
        assert isinstance(value, dict)
        return value


def items_of(fields: Mapping[str, Field], name: str) -> list[Field]:
    """The fields of a list that a table may have; none where it has no such list."""
    return fields[name].items() if name in fields else []


def read(what: str, path: Path, parse: Callable[[Field], T]) -> T:
    """Read a file.

    Args:
        what: what the file is, for the complaint: ``profile``.
        path: where it is.
        parse: makes the answer from the whole document.

    Raises:
        YamlFileError: it cannot be read, is no YAML, or ``parse`` refuses something.
    """
    label = f"{what} {path.name}"
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise YamlFileError(f"{what} {path}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise YamlFileError(f"{label}{where}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise YamlFileError(f"{label}: {error}") from error
    if node is None:
        raise YamlFileError(f"{label}: the file is empty")
    return parse(Field(label, node))
