"""Checks of what only some clusters and drivers have: the parts of DRA behind feature gates."""
