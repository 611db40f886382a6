"""``./run bench``: how long the main job takes on this machine, and what with."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import by_kubectl, large_report, many_slices, phases
from benchmarks.phases import PhasesError, Timing, aligned
from harness.verdict.outcome import Exit
from reports.results import ResultsError

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, read, print; answers the exit code of the first run that is not 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["slices"]:
        return many_slices.main(words[1:])
    if words[:1] == ["report"]:
        return large_report.main(words[1:])
    if words[:1] == ["kubectl"]:
        return by_kubectl.main(words[1:])
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=__doc__,
        epilog="Other options are those of ./run dra. `./run bench slices` is another: how long a"
        " run that only reads takes in a cluster of thousands of nodes; `./run bench report`: how"
        " long the page of thousands of checks takes; `./run bench kubectl`: how long the original"
        " example takes by the suite and by kubectl alone.",
    )
    parser.add_argument(
        "--times", type=int, default=3, metavar="N", help="how many runs (default 3)"
    )
    parser.add_argument(
        "--of", type=Path, nargs="+", metavar="DIR", help="no new runs: the folders of these"
    )
    given, options = parser.parse_known_args(words)
    if given.times < 1:
        parser.error(f"--times {given.times}: expected a whole number from 1")
    try:
        if given.of:
            timings = [phases.read(place) for place in given.of]
        else:
            with tempfile.TemporaryDirectory(prefix="dra-bench-") as folder:
                timings = []
                for number in range(1, given.times + 1):
                    code, place = _run(Path(folder) / str(number), options)
                    if code:
                        print(f"error: run {number} ended with exit code {code}", file=sys.stderr)
                        return code
                    timings.append(phases.read(place))
                    print(f"run {number} of {given.times}: {timings[-1].seconds:.1f} s", flush=True)
    except (PhasesError, ResultsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.USAGE
    print("\n".join(_lines(timings)))
    return Exit.OK


def _run(output: Path, options: Sequence[str]) -> tuple[int, Path]:
    """One main job as a user starts it; its exit code and its folder."""
    done = subprocess.run(
        [ROOT / "run", "dra", "-q", f"--dra-output={output}", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
    return done.returncode, next(output.glob("*"), output)


def _lines(timings: Sequence[Timing]) -> Iterator[str]:
    for table in (phases.of_runs(timings), phases.of_pods(timings)):
        yield ""
        yield from aligned(table)


if __name__ == "__main__":
    sys.exit(main())
