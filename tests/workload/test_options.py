"""The command line: values, where they come from, and what is said about wrong ones."""

from __future__ import annotations

import json

import pytest

from workload import options
from workload.options import OWN, Size
from workload.result import Offer, Verdict, WorkloadError

GPU = "GPU-7d053b7d-74c4-548e-977b-64eccfca5bb8"
OFFER = {
    "nonce": "n",
    "handle": "ab" * 64,
    "bytes": 8 << 20,
    "seed": 1,
    "checksum": "00" * 8,
    "exporter": GPU,
    "own_pid": 1,
}
GIVEN = json.dumps(OFFER)
CONSUME = ["consume", "--nonce", "n", "--offer", GIVEN]


def test_environment_stands_in_for_the_command_line() -> None:
    """Every option has a variable; the command line wins."""
    environment = {"DRA_NONCE": "a", "DRA_GPUS": GPU, "DRA_PATIENCE": "7", "DRA_LOG": "1"}
    taken = options.parse(["produce", "--nonce", "b"], environment)
    assert (taken.nonce, taken.gpus, taken.patience) == ("b", (GPU,), 7.0)
    assert (taken.folder, taken.bytes) == (None, 64 << 20)


def test_own_pid_stands_before_or_after_the_command() -> None:
    """It belongs to all commands."""
    for words in (["--own-pid", "7", "inventory"], ["inventory", "--own-pid", "7"]):
        assert options.parse(words, {}).own_pid == 7


def test_offer_is_read() -> None:
    """As the producer's log has it."""
    taken = options.parse(["consume", "--nonce", "n", "--offer", json.dumps(OFFER)], {})
    assert taken.offer == Offer(**OFFER)  # type: ignore[arg-type]


def test_sizes_and_pids_of_two_kinds() -> None:
    """A number or a share; a number or the consumer's own."""
    compute = ["compute", "--nonce", "n"]
    assert options.parse(compute, {}).size == Size(64 << 20)
    assert options.parse([*compute, "--bytes", "2097152"], {}).size == Size(2 << 20)
    assert options.parse([*compute, "--bytes", "12.5%"], {}).size == Size(percent=12.5)
    assert options.parse(CONSUME, {}).rewrite_pid is None
    assert options.parse([*CONSUME, "--rewrite-pid", "99"], {}).rewrite_pid == 99
    assert options.parse([*CONSUME, "--rewrite-pid", "own"], {}).rewrite_pid == OWN


def test_probe_takes_the_nonce_of_the_offer() -> None:
    """Unless one is given."""
    assert options.parse(["probe", "--offer", GIVEN], {}).nonce == "n"
    assert options.parse(["probe", "--offer", GIVEN, "--nonce", "m"], {}).nonce == "m"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["conjure"], "conjure"),
        (["produce", "--log"], "--nonce (or DRA_NONCE) is missing"),
        (["produce", "--log", "--nonce", "a b"], "--nonce: 'a b' is no nonce"),
        (["produce", "--nonce", "n"], "either --folder DIR"),
        (["produce", "--nonce", "n", "--log", "--folder", "/"], "either --folder DIR"),
        (["produce", "--nonce", "n", "--log", "--bytes", "100"], "multiple of 2097152"),
        (["produce", "--nonce", "n", "--log", "--bytes", "2097152"], "at least 4194304"),
        (["produce", "--nonce", "n", "--log", "--gpus", "0"], "'0' is not a GPU's UUID"),
        (["produce", "--nonce", "n", "--log", "--gpus", f"{GPU},{GPU}"], "names a GPU twice"),
        (["produce", "--nonce", "n", "--log", "--patience", "-1"], "--patience: '-1'"),
        (["produce", "--nonce", "n", "--folder", "/nowhere"], "'/nowhere' is not a directory"),
        (["consume", "--nonce", "n"], "either --folder DIR"),
        (["consume", "--nonce", "n", "--offer", "{"], "--offer: it is not JSON"),
        (["consume", "--nonce", "n", "--offer", "[]"], "--offer: it is not a JSON object"),
        (["compute"], "--nonce (or DRA_NONCE) is missing"),
        (["compute", "--nonce", "n", "--bytes", "0%"], "'0%' is no share"),
        (["compute", "--nonce", "n", "--bytes", "101%"], "at most 100%"),
        (["compute", "--nonce", "n", "--bytes", "1"], "multiple of 2097152"),
        (["compute", "--nonce", "n", "--foreign", "a b"], "--foreign: 'a b' is no nonce"),
        (["produce", "--nonce", "n", "--folder", "/tmp", "--extras"], "--extras: an offer"),
        (["produce", "--nonce", "n", "--folder", "/tmp", "--end", "exit"], "give --log"),
        (["produce", "--nonce", "n", "--log", "--end", "never"], "exit, kill, kill-when-rung"),
        (["produce", "--nonce", "n", "--log", "--consumers", "17"], "give 1 to 16"),
        ([*CONSUME, "--until-gone"], "--until-gone: only in a folder"),
        ([*CONSUME, "--index", "16"], "give 0 to 15"),
        ([*CONSUME, "--rewrite-pid", "their"], "nor 'own'"),
        (["probe"], "--offer (or DRA_OFFER) is missing"),
        (["probe", "--offer", GIVEN, "--attempt", "open,magic"], "'magic' is no attempt"),
        (["probe", "--offer", GIVEN, "--attempt", "freed"], "the offer has no extras"),
        (["borrow", "--nonce", "n", "--folder", "/tmp", "--rounds", "0"], "give 1 to 1000"),
        (["inventory", "--own-pid", "0"], "--own-pid: '0' is not a PID"),
        (["inventory", "--bytes", "1"], "--bytes"),
    ],
)
def test_wrong_options_are_named(words: list[str], said: str) -> None:
    """Each error names the option, the value, and what would be right."""
    with pytest.raises(WorkloadError) as raised:
        options.parse(words, {})
    assert raised.value.verdict is Verdict.USAGE
    assert said in raised.value.problem.text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("handle", "ab" * 63, "128 hexadecimal digits"),
        ("handle", "xy" * 64, "128 hexadecimal digits"),
        ("seed", True, "'seed' is True, not a int"),
        ("bytes", 3 << 20, "not a multiple of 2 MiB"),
        ("exporter", None, "'exporter' is None"),
        ("extras", {}, "'extras.freed' is None"),
        ("extras", 7, "'extras' is 7"),
    ],
)
def test_wrong_offers_are_explained(field: str, value: object, said: str) -> None:
    """What is wrong in an offer is said; a variable is named as the source."""
    given = json.dumps({**OFFER, field: value})
    with pytest.raises(WorkloadError) as raised:
        options.parse(["consume", "--nonce", "n"], {"DRA_OFFER": given})
    assert raised.value.problem.text.startswith("DRA_OFFER: ")
    assert said in raised.value.problem.text
