"""Pages for people, written from checks and requirements by templates beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


def written(template: str, **values: Any) -> str:
    """Write a page."""
    return _TEMPLATES.get_template(template).render(values)
