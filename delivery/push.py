"""``push REGISTRY/NAME[:TAG]``: push the workload's image to where nodes can pull it from.

For amd64 it is the one that the embedded cluster runs, to the byte; no Docker is needed. Prints
what to give as ``--dra-image``: the image by its digest. For several architectures that is the
digest of an index, from which each node takes the image of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from building import artifacts, bundle
from building.architecture import AMD64, ARCHITECTURES, Architecture
from building.binaries import PUSH
from building.errors import UserError, exit_code, must_be_of
from building.progress import Progress
from building.tree import COMMAND, INSTALLED
from images import oci
from images.pause import ARCHIVE
from images.workload import WORKLOAD_IMAGE_NAME, image_for

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<repository>(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)(?:/{_COMPONENT})+)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
)
"""The grammar of the CNCF project distribution."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{COMMAND} push", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("reference", metavar="REGISTRY/NAME[:TAG]", help="default tag: latest")
    parser.add_argument(
        "--arch",
        default=AMD64.name,
        metavar="ARCH[,ARCH]",
        help=f"of {', '.join(ARCHITECTURES)}; default: %(default)s. Of several, an index is pushed",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="accept any certificate, and plain HTTP where there is no TLS",
    )
    parser.add_argument(
        "--runner",
        action="store_true",
        help="the image of the suite itself, for runs inside a cluster (from a git checkout)",
    )
    options = parser.parse_args(arguments)
    return exit_code(
        lambda: _run(options), "interrupted; pushed again, it goes on with what is missing"
    )


def _run(options: argparse.Namespace) -> int:
    progress = Progress()
    architectures = chosen(options.arch)
    repository, tag = parse(options.reference)
    if options.runner and (INSTALLED or bundle.unpacked()):
        raise UserError("--runner: the runner's image is made of a git checkout, and this is none")
    program = artifacts.obtain([PUSH], progress)[PUSH.name] / "push"
    command = [str(program), *(["--insecure"] if options.insecure else []), f"{repository}:{tag}"]
    try:
        call(command)  # is it allowed? Better asked now than after minutes of building
        if options.runner:
            digest = _push_runner(architectures, command, progress)
        else:
            images = [image_for(architecture) for architecture in architectures]
            built = artifacts.obtain(images, progress)
            archives = [built[image.name] / ARCHIVE for image in images]
            digest = push(archives, WORKLOAD_IMAGE_NAME, command)
    except subprocess.CalledProcessError:
        return 1  # the program has said why
    use = "the CronJob" if options.runner else "the suite"
    progress.say(f"pushed {repository}:{tag}; for {use}:")
    print(f"{'' if options.runner else '--dra-image '}{repository}@{digest}")
    return 0


def _push_runner(
    architectures: Sequence[Architecture], command: Sequence[str], progress: Progress
) -> str:
    """Make the runner's image of this checkout and push it; answers the digest.

    Raises:
        UserError: something could not be built.
        subprocess.CalledProcessError: the registry did not take it; the program has said why.
    """
    from delivery import runner  # noqa: PLC0415 - a wheel does not have it

    with tempfile.TemporaryDirectory(dir=artifacts.cache()) as folder:
        archives = []
        for architecture in architectures:
            place = Path(folder, architecture.name)
            place.mkdir()
            archives.append(runner.assemble(place, architecture, progress))
        return push(archives, runner.IMAGE_NAME, command)


def parse(reference: str) -> tuple[str, str]:
    """Take ``REGISTRY/NAME[:TAG]`` apart into repository, with its registry, and tag.

    Raises:
        UserError: it is none, or names no registry.
    """
    found = _REFERENCE.fullmatch(reference)
    # As Docker tells a registry from the first folder of a name.
    if not found or not (re.search(r"[.:]", found["host"]) or found["host"] == "localhost"):
        raise UserError(
            f"{reference!r} is no REGISTRY/NAME[:TAG]: give a registry's host name with a dot or a"
            " port, a name in small letters, and a tag if you like, such as"
            " registry.example.com/dra/workload:1"
        )
    return found["repository"], found["tag"] or "latest"


def chosen(text: str) -> list[Architecture]:
    """Find the architectures of ``--arch``, each once.

    Raises:
        UserError: the image cannot be assembled for one of them, or not in this tree.
    """
    names = list(dict.fromkeys(text.split(",")))
    must_be_of(ARCHITECTURES, "--arch", *names)
    for name in names:
        if name != AMD64.name and bundle.unpacked():
            raise UserError(
                f"--arch {name!r}: this was unpacked from a bundle, which carries the image for"
                f" {AMD64.name} only. Push it from a git checkout, on a machine with network"
            )
    return [ARCHITECTURES[name] for name in names]


def push(archives: Sequence[Path], name: str, command: Sequence[str]) -> str:
    """Push an image of OCI archives; blobs that the repository has are not sent again.

    Args:
        archives: one for each architecture; of several an index is pushed, too.
        name: the image's, in each of the archives.
        command: the program `PUSH`, and where to.

    Returns:
        The digest of what has the tag.

    Raises:
        subprocess.CalledProcessError: the registry did not take it; the program has said why.
    """
    artifacts.cache().mkdir(parents=True, exist_ok=True)  # a bundle has built nothing there
    with tempfile.TemporaryDirectory(dir=artifacts.cache()) as folder:
        oci.unpack(archives, name, Path(folder))
        return call([*command, folder])


def call(command: Sequence[str]) -> str:
    """Run the program `PUSH`, which speaks to the user by itself; returns what it prints.

    Raises:
        subprocess.CalledProcessError: it failed, and has said why.
    """
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
