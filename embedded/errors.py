"""What can go wrong in the embedded cluster, worded for the person who started it."""


class EmbeddedError(Exception):
    """The embedded cluster cannot do what was asked; ``str()`` says why and what to do."""
