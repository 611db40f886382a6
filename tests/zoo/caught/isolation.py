"""What containers see of devices."""

CAUGHT = (("names-another-gpu", "ISO-012", "the container's variables name gpu-"),)
