"""``./run push REGISTRY/NAME[:TAG]``: push the workload's image to where nodes can pull it from.

For amd64 it is the one that the embedded cluster runs, to the byte; no Docker is needed. Prints
what to give as ``--dra-image``: the image by its digest. For several architectures that is the
digest of an index, from which each node takes the image of its own.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from building import artifacts, bundle
from building.architecture import AMD64, ARCHITECTURES, Architecture
from building.errors import EmbeddedError
from building.progress import Progress
from delivery import credentials
from delivery.registry import Blob, Reference, Repository
from images import oci
from images.pause import ARCHIVE
from images.workload import WORKLOAD_IMAGE_NAME, image_for


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="./run push", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
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
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        architectures = chosen(options.arch)
        reference = Reference.parse(options.reference)
        repository = Repository(
            reference.host,
            reference.name,
            credentials.find(reference.host),
            insecure=options.insecure,
        )
        repository.connect()  # better now than after minutes of building
        images = [image_for(architecture) for architecture in architectures]
        built = artifacts.obtain(images, progress)
        archives = [built[image.name] / ARCHIVE for image in images]
        digest = push(archives, WORKLOAD_IMAGE_NAME, repository, reference.tag, progress)
    except KeyboardInterrupt:
        print("interrupted; pushed again, it goes on with what is missing", file=sys.stderr)
        return 130
    except EmbeddedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    progress.say(f"pushed {reference}; for the suite:")
    print(f"--dra-image {reference.host}/{reference.name}@{digest}")
    return 0


def chosen(text: str) -> list[Architecture]:
    """The architectures of ``--arch``, each once.

    Raises:
        EmbeddedError: the image cannot be assembled for one of them, or not in this tree.
    """
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in ARCHITECTURES:
            raise EmbeddedError(f"--arch {name!r}: must be of {', '.join(ARCHITECTURES)}")
        if name != AMD64.name and bundle.unpacked():
            raise EmbeddedError(
                f"--arch {name!r}: this was unpacked from a bundle, which carries the image for"
                f" {AMD64.name} only. Push it from a git checkout, on a machine with network"
            )
    return [ARCHITECTURES[name] for name in names]


def push(
    archives: Sequence[Path], name: str, repository: Repository, tag: str, progress: Progress
) -> str:
    """Push an image of OCI archives; blobs that the repository has are not sent again.

    Args:
        archives: one for each architecture; of several an index is pushed, too.
        name: the image's, in each of the archives.
        repository: where to.
        tag: of the manifest, or of the index.
        progress: where to say what is going on.

    Returns:
        The digest of what has the tag.

    Raises:
        EmbeddedError: the registry did not take it.
    """
    manifests = [_send(archive, name, repository, progress) for archive in archives]
    media_type, content = manifests[0]
    if len(archives) > 1:
        for its_type, manifest in manifests:
            repository.put_manifest(_digest(manifest), its_type, manifest)
        media_type, content = oci.index(archives, name)
    repository.put_manifest(tag, media_type, content)
    return _digest(content)


def _send(
    archive: Path, name: str, repository: Repository, progress: Progress
) -> tuple[str, bytes]:
    """Push the blobs of one image; returns its manifest's media type and content."""
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
    return manifest["mediaType"], content


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
