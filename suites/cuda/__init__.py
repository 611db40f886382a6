"""CUDA in containers that a claim was prepared for: GPUs, kernels, memory, IPC, privileges."""
