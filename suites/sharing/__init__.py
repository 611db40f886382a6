"""Devices that several pods use at the same time."""
