"""The conformance suite without pytest: API access, observing, rendering, checks as data, verdicts.

Nothing in here imports pytest, ``fixtures`` or ``suites``; so all of it can be used and tested
alone.
"""

__version__ = "0.1.0"
