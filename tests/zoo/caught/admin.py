"""What a run finds that takes no device from anybody."""

OPTIONS = ("--dra-admin",)
CAUGHT = (
    ("nothing-by-admin-access", "ALLOC-004", "the container has no device; allocated: gpu-"),
    ("one-too-many", "ALLOC-004", "; allocated: gpu-"),
    ("first-claim-only", "NODE-006", "the user's container to start did not come within "),
    ("earlier-version", "CUDA-002", "differs: slice 570.0, NVML "),
    ("names-another-gpu", "ISO-012", "the container's variables name gpu-"),
)
