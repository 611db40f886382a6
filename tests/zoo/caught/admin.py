"""What a run finds that takes no device from anybody."""

OPTIONS = ("--dra-admin",)
CAUGHT = (
    ("nothing-by-admin-access", "CUDA-001", "CUDA shows 0 GPUs, allocated: 1; GPU-"),
    ("one-too-many", "CUDA-001", "CUDA shows 2 GPUs, allocated: 1; GPU-"),
    ("earlier-version", "CUDA-002", "differs: slice 570.0, NVML "),
    ("names-another-gpu", "ISO-012", "the container's variables name gpu-"),
)
