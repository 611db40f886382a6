"""``./run push REGISTRY/NAME[:TAG]``: push the workload's image to where nodes can pull it from.

The image is the one that the embedded cluster runs, to the byte; no Docker is needed. Prints what
to give as ``--dra-image``: the image by its digest.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
from pathlib import Path

from embedded import artifacts, credentials
from embedded.errors import EmbeddedError
from embedded.images import oci
from embedded.images.pause import ARCHIVE
from embedded.images.workload import WORKLOAD_IMAGE, WORKLOAD_IMAGE_NAME
from embedded.progress import Progress
from embedded.registry import Blob, Reference, Repository

ARCHITECTURES = ("amd64",)
_NOT_ASSEMBLED = (
    "the image takes its glibc and ldconfig from the machine that builds it, and no pinned package"
    " has them for another architecture"
)


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="./run push", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("reference", metavar="REGISTRY/NAME[:TAG]", help="default tag: latest")
    parser.add_argument(
        "--arch", default="amd64", metavar="ARCH[,ARCH]", help="only amd64 can be had at present"
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="accept any certificate, and plain HTTP where there is no TLS",
    )
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        check_architectures(options.arch)
        reference = Reference.parse(options.reference)
        repository = Repository(
            reference.host,
            reference.name,
            credentials.find(reference.host),
            insecure=options.insecure,
        )
        repository.connect()  # better now than after minutes of building
        built = artifacts.obtain([WORKLOAD_IMAGE], progress)[WORKLOAD_IMAGE.name]
        digest = push(built / ARCHIVE, WORKLOAD_IMAGE_NAME, repository, reference.tag, progress)
    except KeyboardInterrupt:
        print("interrupted; pushed again, it goes on with what is missing", file=sys.stderr)
        return 130
    except EmbeddedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    progress.say(f"pushed {reference}; for the suite:")
    print(f"--dra-image {reference.host}/{reference.name}@{digest}")
    return 0


def check_architectures(text: str) -> None:
    """Refuse what the image cannot be assembled for.

    Raises:
        EmbeddedError: says why.
    """
    for architecture in text.split(","):
        if architecture not in ARCHITECTURES:
            raise EmbeddedError(
                f"--arch {architecture!r}: must be {', '.join(ARCHITECTURES)}; {_NOT_ASSEMBLED}"
            )


def push(archive: Path, name: str, repository: Repository, tag: str, progress: Progress) -> str:
    """Push an image of an OCI archive; blobs that the repository has are not sent again.

    Returns:
        The digest of its manifest.

    Raises:
        EmbeddedError: the registry did not take it.
    """
    with oci.blobs(archive, name) as (content, opened):
        manifest = json.loads(content)
        described = [manifest["config"], *manifest["layers"]]
        for number, item in enumerate(described, 1):
            digest, size = item["digest"], item["size"]
            what = f"blob {number}/{len(described)}, {size / 1e6:.1f} MB"
            if repository.has_blob(digest):
                progress.say(f"{what}: there already")
                continue
            with progress.step(f"{what}: sending"):
                repository.put_blob(Blob(digest, size, functools.partial(opened, digest)))
            progress.say(f"{what}: sent")
        repository.put_manifest(tag, manifest["mediaType"], content)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
