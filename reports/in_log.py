"""A run's bundle at the end of its log, for who can read a pod's log and not its volume."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

BEGIN, END = "=====dra-conformance-bundle=====", "=====end-of-bundle====="
MOST_BYTES = 6 << 20
"""Of a bundle: kubelets begin another file when a log has 10 MiB, and show the last one only."""
_WIDTH = 4096
"""Characters of a line; each gets the time and more from the container runtime."""


class InLogError(Exception):
    """A log has no whole bundle; ``str()`` says what is wrong."""


def lines(bundle: Path) -> Iterator[str]:
    """Yield a bundle as text; of one that is too large only that it is."""
    data = bundle.read_bytes()
    if len(data) > MOST_BYTES:
        yield f"ERROR    {bundle.name} has {len(data)} bytes, too many for a log; it is at {bundle}"
        return
    text = base64.b64encode(data).decode()
    yield BEGIN
    yield from (text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))
    yield END


def fetch(log: str, place: Path) -> Path:
    """Unpack the last bundle of a log; answers the run's folder.

    Args:
        log: as ``kubectl logs`` prints it; words before those of the run, such as times, are passed
            over.
        place: the folder to put the run's folder into.

    Raises:
        InLogError: there is none, or not a whole one, or one that does not unpack.
        OSError: it cannot be written.
    """
    said = [words[-1] for line in log.splitlines() if (words := line.split())]
    if BEGIN not in said:
        raise InLogError("the log has no bundle; was the run made with --dra-bundle-in-log?")
    begin = len(said) - said[::-1].index(BEGIN)
    try:
        text = "".join(said[begin : said.index(END, begin)])
        data = base64.b64decode(text, validate=True)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = {Path(name).parts[0] for name in archive.getnames()}
            (run,) = names
            archive.extractall(place, filter="data")
    except (ValueError, binascii.Error, tarfile.TarError, EOFError) as error:
        raise InLogError(f"the log's bundle is not whole: {error}") from error
    return place / run
