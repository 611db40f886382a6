"""Manifests from Jinja templates, made so that a value can never become structure.

Every scalar is written as JSON (which is YAML), whatever the template says; a name that is not
given is an error; unknown template variables cannot survive.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from harness.kinds import Object, kind_of, name_of


class RenderError(Exception):
    """A template and its values do not make valid objects; ``str()`` names template and cause."""


class Manifests:
    """A folder of ``*.yaml.j2`` templates."""

    def __init__(self, folder: Path) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            finalize=_as_json,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )

    def render(self, template: str, values: Mapping[str, Any]) -> list[Object]:
        """The objects of a template.

        Raises:
            RenderError: a value is missing, or what comes out is no object that the suite knows.
        """
        try:
            text = self._environment.get_template(template).render(values)
            documents = [document for document in yaml.safe_load_all(text) if document is not None]
        except (jinja2.TemplateError, yaml.YAMLError, TypeError) as error:
            raise RenderError(f"{template}: {error}") from error
        for document in documents:
            try:
                kind_of(document)
                name_of(document)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise RenderError(f"{template}: not an object of the API: {error}") from error
        return documents

    def one(self, template: str, values: Mapping[str, Any]) -> Object:
        """The only object of a template."""
        objects = self.render(template, values)
        if len(objects) != 1:
            raise RenderError(f"{template}: {len(objects)} objects, expected one")
        return objects[0]


def _as_json(value: Any) -> str:
    if isinstance(value, jinja2.Undefined):
        # Reading an undefined value raises; the name of it is in the message.
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def merge_patch(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396) applied to a copy: null removes, lists are replaced whole."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(copy.deepcopy(target)) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
