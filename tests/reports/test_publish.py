"""Published runs tell of drivers and hardware, and of no machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.verdict.outcome import Outcome
from reports import folder, publish, results
from reports.publish import BEGIN, END, RESULTS, Identity, PublishError
from tests.reports import samples

NAME = "2026-11-25-h100-nvidia-0.4.1"
HOST, SERVER = "gpu-box-7.corp.example", "https://api.prod.corp.example:6443"

HOME = "/".join(("", "root"))
"""Of the user that clusters are run as."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose results name everything that must go."""
    place = tmp_path / "build-4711" / "reports" / "out" / "r"
    record = samples.record()
    record.environment["nodes"] = [{"name": "gpu-worker-a17"}, {"name": "node-2"}]
    told = (
        f"{SERVER}/api: dial tcp 10.1.2.3:6443 or [fe80::1%eth0] from {HOST}, gpu-box-7;"
        f" {place}/events.jsonl, {tmp_path}/build-4711/suites/a.py, {HOME}/.kube/config,"
        " /home/jo/x.yaml, /nas/team/x.so; gpu-worker-a17 has /dev/nvidia0 at 00000000:41:00.0,"
        " driver 580.159.04, at 12:30:45, v0.4.1"
    )
    record.add(samples.result("ISO-006_f", Outcome.SKIP, headline=told))
    failed = samples.result("ISO-008_h", Outcome.FAIL, finding=samples.FINDING, headline="no")
    record.results.insert(0, replace(failed, reproduction="reproduce/ISO-008"))
    facts = replace(
        samples.facts(place),
        host=HOST,
        server=SERVER,
        cluster=f"cluster {SERVER} ({HOME}/.kube/config, context admin@prod); the cluster's GPUs",
    )
    folder.write(record, facts)
    return place


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """A folder of published runs."""
    place = tmp_path / "published"
    place.mkdir()
    (place / "README.md").write_text(f"# Runs\n\n{BEGIN}\n\n{END}\n\nMore.\n")
    return place


def test_what_tells_of_the_machine_goes_and_the_rest_stays(run: Path, into: Path) -> None:
    """In every file."""
    place = publish.publish(run, NAME, into)
    files = {path.name: path.read_text() for path in place.iterdir()}
    assert sorted(files) == ["environment.json", "junit.xml", "report.html", "results.json"]
    for name, text in files.items():
        for word in (
            *("corp.example", "gpu-box-7", "10.1.2.3", "fe80", "/root", "/home/jo", "/nas"),
            *("build-4711", "gpu-worker", "admin@prod", str(into.parent), "reproduce/"),
        ):
            assert word not in text, name
    record, _ = results.read(place)
    assert record.results[-1].headline == (
        "https://(server)/api: dial tcp (address):6443 or [(address)%eth0] from (host), (host);"
        " events.jsonl, suites/a.py, ~/.kube/config, ~/x.yaml, (path)/x.so; node-1 has"
        " /dev/nvidia0 at 00000000:41:00.0, driver 580.159.04, at 12:30:45, v0.4.1"
    )
    page = (into / "README.md").read_text()
    assert f"[{NAME}]({NAME}/report.html)" in page
    assert page.endswith("More.\n")


def test_the_folder_that_an_option_named_goes() -> None:
    """It is not the beginning of a longer name."""
    identity = Identity({}, ("/tmp/out",))
    text = identity.scrubbed("--dra-output /tmp/out (command line), /tmp/out/a.json, /tmp/outer")
    assert text == "--dra-output (path) (command line), a.json, /tmp/outer"


def test_what_would_be_left_is_found(run: Path) -> None:
    """The check is not the scrubbing's own word."""
    identity = Identity.of(json.loads((run / "results.json").read_text()))
    assert identity.left_in(f"fine\nat {HOST}") == [f"line 2: {HOST}"]
    assert identity.left_in(f"in {HOME}/x from 10.0.0.1") == [f"line 1: {HOME}", "line 1: 10.0.0.1"]


def test_nothing_is_published_that_would_still_tell(
    run: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the folder does not come to be."""
    monkeypatch.setattr(Identity, "scrubbed", lambda _, text: text)
    with pytest.raises(PublishError, match="would still identify the machine: line"):
        publish.publish(run, NAME, into)
    assert [path.name for path in into.iterdir()] == ["README.md"]


@pytest.mark.parametrize("name", ["x", "2026-11-25", "2026-11-25-H100", "../2026-11-25-x", "a/b"])
def test_names_say_date_hardware_and_driver(name: str, run: Path, into: Path) -> None:
    """Nothing else is taken."""
    with pytest.raises(PublishError, match="expected DATE-HARDWARE-DRIVER"):
        publish.publish(run, name, into)


def test_a_published_run_is_never_overwritten(run: Path, into: Path) -> None:
    """The name is taken."""
    publish.publish(run, NAME, into)
    with pytest.raises(PublishError, match="there is a run of this name"):
        publish.publish(run, NAME, into)


def test_the_page_in_docs_is_up_to_date() -> None:
    """And what lies beside it can be read, and names no home and no address."""
    page = (RESULTS / "README.md").read_text()
    assert publish.with_index(page, RESULTS) == page
    for path in RESULTS.glob("*/*"):
        assert Identity({}, ()).left_in(path.read_text()) == []
