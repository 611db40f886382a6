"""Simulated GPU hardware: libcuda, NVML, nvidia-smi and device nodes without a GPU."""
