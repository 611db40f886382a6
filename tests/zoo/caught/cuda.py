"""What CUDA, NVML and device nodes show in a container."""

CAUGHT = (
    ("later-version", "CUDA-002", "differs: slice 999.0, NVML "),
    ("read-only-uvm", "CUDA-006", "the container may not open /dev/nvidia-uvm, which"),
)
