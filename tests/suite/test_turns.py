"""The tables of claims that come and go."""

from __future__ import annotations

from suites.residue.turns import percentiles, tables
from tests.suite.cases.every_device import GOOD, lost
from tests.suite.made import DEVICES, NODE


def test_every_device_is_named_tried_or_not() -> None:
    """With how long its container took to start, or why it was not tried."""
    devices, _ = tables({"every-device": GOOD["every-device"]()})
    tried = [(NODE, one.name, one.uuid, True, 1.0, "") for one in DEVICES[:3]]
    held = (NODE, DEVICES[3].name, DEVICES[3].uuid, False, None, "held by others/claim")
    assert devices.rows == (*tried, held)
    assert devices.sentence.startswith("4 devices: 3 tried, 3 prepared and given to a container, 1")


def test_rates_and_latencies_are_told_by_how_many_came_at_a_time() -> None:
    """And that nothing was lost."""
    _, claims = tables({"every-device": GOOD["every-device"]()})
    assert claims.rows == (
        (8, 6, 3.0, 2.0, *(1.0, 1.0, 2.0, 2.0)),
        (1, 3, 3.0, 1.0, *(1.0, 1.0, 2.0, 2.0)),
    )
    assert claims.sentence == "9 claims came and went; none found its device not given back."


def test_a_lost_device_is_told() -> None:
    """It is a leak."""
    evidence = GOOD["every-device"]()
    lost(evidence)
    _, claims = tables({"every-device": evidence})
    assert claims.sentence == "10 claims came and went; 1 found its device not given back."


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of one value, that value."""
    assert percentiles([]) == (None, None)
    assert percentiles([2.0]) == (2.0, 2.0)
    assert percentiles([float(number) for number in range(1, 201)]) == (100.0, 198.0)
