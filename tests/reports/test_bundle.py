"""A run's files in one: whole, without secrets, the same every time."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.verdict.outcome import Exit
from reports import bundle, folder
from reports.__main__ import main
from tests.reports import samples


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with evidence of a failure."""
    place = tmp_path / "20261130-100000-abcd"
    folder.write(samples.record(), samples.facts(place))
    log = place / "evidence" / "LIFE-002" / "logs" / "driver.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"started\nDB_PASSWORD=hunter2\n\xff\n")
    (place / "linked").symlink_to("/etc/hostname")
    return place


def test_everything_is_in_it_with_its_hash_and_no_secret(run: Path, tmp_path: Path) -> None:
    """Below one folder, which is called as the run."""
    made = bundle.write(run)
    assert made == run / "bundle.tar.gz"
    with tarfile.open(made) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    place = tmp_path / "there" / run.name
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert files == {
        *("results.json", "environment.json", "report.html", "junit.xml", "SHA256SUMS"),
        "evidence/LIFE-002/logs/driver.log",
    }
    subprocess.run(["sha256sum", "--check", "--strict", bundle.SUMS], cwd=place, check=True)
    said = (place / "evidence/LIFE-002/logs/driver.log").read_text()
    assert said.splitlines()[:2] == ["started", "DB_PASSWORD=(redacted)"]
    assert (place / "results.json").read_text() == (run / "results.json").read_text()


def test_the_same_files_make_the_same_bundle(run: Path) -> None:
    """A bundle that is there is not packed into the next one."""
    first = hashlib.sha256(bundle.write(run).read_bytes()).hexdigest()
    assert hashlib.sha256(bundle.write(run).read_bytes()).hexdigest() == first


def test_any_run_can_be_packed_later(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its folder; what is no run is refused."""
    assert main(["bundle", str(run)]) == Exit.OK
    assert capsys.readouterr().out.strip() == str(run / "bundle.tar.gz")
    assert main(["bundle", str(tmp_path)]) == Exit.USAGE
    assert main(["bundle", str(run / "results.json")]) == Exit.USAGE
