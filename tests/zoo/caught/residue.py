"""What is left of claims that came and went."""

CAUGHT = (
    ("tells-the-time", "STRESS-010", "gpu-3 of pool node-1 is published differently"),
    ("keeps-cdi-files", "LIFE-009", "the driver does not remove them when it unprepares"),
    ("keeps-records", "LIFE-020", " still has claims on record that are gone"),
    ("leaves-a-file-each-time", "LIFE-021", ", such as attempt-"),
    ("half-a-cdi-file", "NODE-027", "cannot be used: it is neither JSON nor YAML"),
    ("devices-of-one-name", "NODE-040", "=all is defined in 4 files"),
    (
        "counts-up-only",
        "MET-002",
        "4 devices are counted as prepared with 4 claims held, and 4 when",
    ),
    ("ends-now-and-then", "DISC-017", "the driver ended "),
    ("fails-now-and-then", "MET-003", "claims were prepared only when the kubelet asked again"),
    ("one-never-prepares", "ALLOC-017", "2 of 8 devices cannot be prepared: gpu-3 of node-1"),
    ("last-gpu-for-its-neighbour", "ISO-015", "the container has gpu-2; allocated: gpu-3"),
    ("last-gpu-for-its-neighbour", "ALLOC-007", "the container has gpu-2; allocated: gpu-3"),
    ("gives-a-device-once", "STRESS-002", "gpu-0 of node-1 cannot be claimed again after "),
)
