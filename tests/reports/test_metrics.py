"""Metrics of a run, as Prometheus reads them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from building.tree import ROOT
from harness.verdict.outcome import Outcome, Record
from reports import metrics
from tests.reports import samples
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_shared_claim import run

MONITORING = ROOT / "deploy" / "monitoring"
SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)\{(?P<labels>[a-z]+="(?:[^"\\\n]|\\["\\n])*"'
    r'(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*)\} (?P<value>-?[0-9.]+(?:e[+-][0-9]+)?)'
)
"""The grammar of the text exposition format, as far as gauges with labels take it."""


def read(text: str) -> dict[str, dict[str, float]]:
    """The samples by name and labels; each line has to be one, or what is known of a name."""
    found: dict[str, dict[str, float]] = {}
    types: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP [a-z_]+ \S.*|TYPE [a-z_]+ gauge)", line)
            types += re.findall("TYPE ([a-z_]+)", line)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample["name"] == types[-1]
        of_name = found.setdefault(sample["name"], {})
        assert sample["labels"] not in of_name
        of_name[sample["labels"]] = float(sample["value"])
    assert len(types) == len({*types})
    assert found.keys() <= {*types}
    return found


def test_verdict_counts_and_duration_are_there(tmp_path: Path) -> None:
    """Of every verdict and outcome, those that are not, too: a series does not end."""
    record = Record()
    record.add(samples.result("ISO-003", Outcome.FAIL), samples.result("ISO-001", Outcome.PASS))
    found = read(metrics.render(record, samples.facts(tmp_path)))
    driver = 'driver="gpu.nvidia.com"'
    assert found["dra_conformance_verdict"] == {
        f'{driver},verdict="{name}"': float(name == "nonconformant")
        for name in ("conformant", "partial", "nonconformant", "inconclusive")
    }
    assert found["dra_conformance_cases"] == {
        f'{driver},area="sharing",outcome="{name}"': float(name in ("pass", "fail"))
        for name in ("pass", "fail", "error", "skip")
    }
    assert found["dra_conformance_duration_seconds"] == {driver: 12.5}
    assert found["dra_conformance_end_timestamp_seconds"] == {driver: 1795460012.5}
    assert found["dra_conformance_exit_code"] == {driver: 1}


def test_a_hostile_name_stays_a_name(tmp_path: Path) -> None:
    """It ends neither its label nor its line."""
    facts = replace(samples.facts(tmp_path), driver='a"} 1\nb \\ \u202e')
    found = read(metrics.render(Record(), facts))
    (labels,) = found["dra_conformance_exit_code"]
    assert labels == r'driver="a\"} 1\\nb \\ \\u202e"'


class Gateway(HTTPServer):
    """A Pushgateway that keeps what it is sent."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Takes one request."""

    server: Gateway

    def do_PUT(self) -> None:
        """Keep it."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.sent.append((self.path, self.headers["Content-Type"], text))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"text format parsing error")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """One that listens."""
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_gateway_is_sent_the_same_text(gateway: Gateway) -> None:
    """In one group, so that a run takes the place of the one before."""
    metrics.push("a 1\n", gateway.url)
    assert gateway.sent == [("/metrics/job/dra-conformance", "text/plain; version=0.0.4", "a 1\n")]


def test_a_refusal_is_told_in_the_gateways_words(gateway: Gateway) -> None:
    """Without the whole address."""
    gateway.status = 400
    with pytest.raises(metrics.PushError, match=r"127\.0\.0\.1.*400.*text format parsing error"):
        metrics.push("a\n", gateway.url)


def test_no_gateway_is_told() -> None:
    """As the system says it."""
    with pytest.raises(metrics.PushError, match="refused"):
        metrics.push("a 1\n", "http://127.0.0.1:1")


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(tmp_path: Path) -> None:
    """A name that is misspelled would never fire."""
    written = read(metrics.render(Record(), samples.facts(tmp_path))) | {
        "dra_conformance_cases": {}  # of a run without results there are none
    }
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    asked = [rule["expr"] for rule in group["rules"]]
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in asked:
        names = re.findall("dra_conformance_[a-z_]+", expression)
        assert names
        assert {*names} <= written.keys()


def test_a_run_tells_them_and_a_gateway_that_is_away_changes_no_verdict(tmp_path: Path) -> None:
    """The file is there when the run has ended."""
    file = tmp_path / "dra.prom"
    away = ("--dra-pushgateway", "http://127.0.0.1:1")
    ended = run(FakeCluster(), tmp_path, "--dra-check", "ALLOC-003", f"--dra-metrics={file}", *away)
    assert ended.code == 0, ended.output
    assert "the metrics could not be told: 127.0.0.1:1: " in ended.output
    assert "dra_conformance_exit_code" in read(file.read_text())
