"""What a container sees of devices that no claim gives it."""
