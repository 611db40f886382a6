"""ResourceSlices: what the driver tells the cluster of its GPUs."""
