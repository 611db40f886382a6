"""What a large cluster would have, for the benchmark of a run that only reads."""

from __future__ import annotations

from benchmarks import many_slices


def test_claims_hold_devices_that_are_published() -> None:
    """Each node has a slice and a pod of the driver."""
    made = dict(many_slices.objects(nodes=3, devices=2, claims=4))
    kinds = [obj["kind"] for obj in made.values()]
    numbers = {kind: kinds.count(kind) for kind in kinds}
    assert numbers == {
        "DeviceClass": 1,
        "Node": 3,
        "ResourceSlice": 3,
        "Pod": 3,
        "ResourceClaim": 4,
    }
    published = {
        (obj["spec"]["pool"]["name"], device["name"])
        for obj in made.values()
        if obj["kind"] == "ResourceSlice"
        for device in obj["spec"]["devices"]
    }
    held = [
        (result["pool"], result["device"])
        for obj in made.values()
        if obj["kind"] == "ResourceClaim"
        for result in obj["status"]["allocation"]["devices"]["results"]
    ]
    assert set(held) <= published
    assert len(set(held)) == len(held)
