"""What can go wrong outside of the checks, worded for the person who started it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection


class UserError(Exception):
    """What was asked cannot be done; ``str()`` says why and what to do."""


def must_be_of(allowed: Collection[str], option: str, *names: str) -> None:
    """Go on only if all that an option names is allowed.

    Raises:
        UserError: something is not.
    """
    for name in names:
        if name not in allowed:
            raise UserError(f"{option} {name!r}: must be one of {', '.join(allowed)}")


def exit_code(verb: Callable[[], int], interrupted: str) -> int:
    """Run a verb of ``./run`` and say what ended it.

    Args:
        verb: what to do; returns its exit code.
        interrupted: what to say after Ctrl-C.

    Returns:
        The verb's exit code, 1 after a `UserError`, 130 after Ctrl-C.
    """
    try:
        return verb()
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
