"""What a driver does when it, its kubelet or its slices are disturbed on a node."""
