"""A real Kubernetes cluster on this machine: pinned binaries, simulated or real GPUs, no Docker."""
