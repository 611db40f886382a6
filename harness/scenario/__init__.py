"""Scenarios: creating claims and pods, waiting for what they do, keeping what they left."""
