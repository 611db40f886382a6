"""What happens to claims and their devices over time."""

CAUGHT = (
    ("another-gpu-at-restart", "LIFE-002", "after its restart the container has /dev/nvidia"),
    ("another-gpu-at-restart", "SHARE-002", "the init container has /dev/nvidia"),
    ("one-container-of-a-pod", "SHARE-001", "the first's container cannot start: StartError"),
    (
        "no-restart-beside-another",
        "SHARE-003",
        "the sidecar's container cannot start again: RunContainerError",
    ),
    (
        "two-starts-a-container",
        "LIFE-013",
        "the crashing's container cannot start again: RunContainerError",
    ),
    (
        *("first-claim-only", "NODE-006"),
        "the user's container to start did not come within ",
    ),
    (
        *("refuses-long-names", "LIFE-001"),
        "the user's container to start did not come within",
    ),
    ("frees-devices-with-the-claim", "LIFE-003", "container to start did not come within"),
    ("drops-deleted-claims", "LIFE-007", "the user's container cannot start again"),
    ("refuses-two-at-once", "LIFE-011", "the end of the namespace did not come within"),
    ("keeps-devices-of-deleted-claims", "LIFE-014", "container to start did not come within"),
    ("prepares-too-late", "NODE-020", "the next's container to start did not come within"),
    ("unprepare-needs-a-prepare", "NEG-012", "the end of 1 pod did not come within"),
    (
        *("unprepares-what-is-allocated", "NODE-009"),
        "the claim of a pod that was deleted by force still has its CDI file",
    ),
    (
        *("unprepare-needs-the-claim", "NODE-017"),
        "a claim whose object is gone still has its CDI file",
    ),
    (
        *("device-in-two-claims", "NODE-016"),
        "a device is prepared for a claim before it is unprepared for the one before",
    ),
    ("takes-claims-by-name", "NODE-010", "the second's container cannot start: "),
)
