"""``cluster up|down|status|kubeconfig|logs|fault``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from building.errors import exit_code
from building.progress import Progress
from building.tree import COMMAND
from embedded import cluster
from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from embedded.layout import states
from embedded.options import DEFAULT_NAME, Options, flag


def main(arguments: list[str]) -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"{COMMAND} cluster", description=cluster.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in {
        "up": "bring a cluster up",
        "down": "end it and remove all that is left of it",
        "status": "say whether it runs and which components died",
        "kubeconfig": "print the path of its kubeconfig",
        "logs": "print the logs of all its components",
        "fault": "make its reference driver misbehave from now on, or (none) behave again",
    }.items():
        one = verbs.add_parser(verb, help=text, description=text)
        one.add_argument("--name", default=DEFAULT_NAME, help="default: %(default)s")
        if verb == "fault":
            one.add_argument("fault", choices=["none", *FAULTS])
        if verb == "up":
            for option in Options.on_command_lines():
                one.add_argument(
                    flag(option.name),
                    dest=option.name,
                    type=_argument(option.metadata["parse"]),
                    default=option.default,
                    metavar=option.metadata["metavar"],
                    help=option.metadata["help"],
                )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    return exit_code(lambda: _run(options), "interrupted; nothing of the cluster is left")


def _argument(parse: Callable[[Any], Any]) -> Callable[[str], Any]:
    """Have argparse say what would be right."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is wrong: {error}") from error

    return read


def _run(options: argparse.Namespace) -> int:
    name = options.name
    if options.verb == "up":
        progress = Progress()
        given = {
            option.name: getattr(options, option.name) for option in Options.on_command_lines()
        }
        up = cluster.up(Options(**given, name=name), progress)
        progress.say(f"{up.description}\nexport KUBECONFIG={up.kubeconfig}")
        return 0
    if options.verb == "down":
        print(f"cluster {name!r}: " + ("ended" if cluster.down(name) else "there was none"))
        return 0
    if not cluster.is_running(name):
        print(f"cluster {name!r} is not up; `{COMMAND} cluster up` brings it up", file=sys.stderr)
        return 1
    if options.verb == "fault":
        cluster.set_fault(name, options.fault)
    elif options.verb == "kubeconfig":
        print(states() / name / "kubeconfig")
    elif options.verb == "logs":
        for path in cluster.logs(name):
            print(f"==> {path} <==\n{path.read_text(errors='replace')}")
    else:
        died = cluster.deaths(name)
        print(f"cluster {name!r} is up" + "".join(f"\n{text}" for text in died))
        return 1 if died else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
