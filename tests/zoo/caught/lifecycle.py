"""What happens to claims and their devices over time."""

CAUGHT = (
    ("another-gpu-at-restart", "LIFE-002", "after its restart the container has /dev/nvidia"),
    ("another-gpu-at-restart", "SHARE-002", "the init container has /dev/nvidia"),
    ("one-container-of-a-pod", "SHARE-001", "the first's container cannot start: "),
    ("no-restart-beside-another", "SHARE-003", "the sidecar's container cannot start again: "),
    ("two-starts-a-container", "LIFE-013", "the crashing's container cannot start again: "),
    (
        *("first-claim-only", "NODE-006"),
        "the user's container to start did not come within ",
    ),
)
