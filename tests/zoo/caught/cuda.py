"""What CUDA, NVML and device nodes show in a container."""

CAUGHT = (
    ("earlier-version", "CUDA-002", "differs: slice 570.0, NVML "),
    ("crossed-pcie-roots", "SLICE-038", "by their slice gpu-0 and gpu-1 have different pcieRoot, "),
    ("read-only-uvm", "CUDA-006", "the container may not open /dev/nvidia-uvm, which"),
)
