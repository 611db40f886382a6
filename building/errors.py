"""What can go wrong outside of the checks, worded for the person who started it."""


class EmbeddedError(Exception):
    """What was asked cannot be done; ``str()`` says why and what to do."""
