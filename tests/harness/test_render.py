"""Manifests: a value never becomes structure."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fixtures.conformance import MANIFESTS
from harness.render import Manifests, RenderError, merge_patch

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ name }}}\ndata: {{ data }}\n"


def manifests(folder: Path, text: str = CONFIG) -> Manifests:
    """One template, ``it.yaml.j2``."""
    (folder / "it.yaml.j2").write_text(text)
    return Manifests(folder)


def test_values_are_written_as_data(tmp_path: Path) -> None:
    """Newlines, quotes, and words that YAML takes for something else."""
    name = 'c\nlabels: {"a": true}'
    values = {"name": name, "data": {"yes": "no", "n": "1"}}
    obj = manifests(tmp_path).one("it.yaml.j2", values)
    assert obj["metadata"] == {"name": name}
    assert obj["data"] == {"yes": "no", "n": "1"}


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    """Nothing is rendered with holes."""
    with pytest.raises(RenderError, match=r"it\.yaml\.j2: 'data' is undefined"):
        manifests(tmp_path).render("it.yaml.j2", {"name": "c"})


@pytest.mark.parametrize("text", ["kind: Secret\napiVersion: v1\n", "just text", "a: [", "{{ a"])
def test_what_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    """And the template is named."""
    with pytest.raises(RenderError, match=r"it\.yaml\.j2: "):
        manifests(tmp_path, text).render("it.yaml.j2", {})


@pytest.mark.parametrize("path", sorted(MANIFESTS.rglob("*.j2")), ids=lambda path: path.name)
def test_no_manifest_names_an_image_or_has_a_bare_value(path: Path) -> None:
    """Images come from one option; pods carry limits and no token."""
    text = path.read_text()
    assert "image: {{ image }}" in text or "image:" not in text
    if "kind: Pod" in text:
        for line in (
            "automountServiceAccountToken: false",
            "restartPolicy: Never",
            "terminationGracePeriodSeconds: 1",
            "limits: {memory:",
        ):
            assert line in text


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_the_rfc(target: object, patch: object, merged: object) -> None:
    """Examples of RFC 7396, appendix A."""
    before = yaml.safe_dump(target)
    assert merge_patch(target, patch) == merged
    assert yaml.safe_dump(target) == before
