"""The writer of OCI archives."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from images import oci
from tests.images import archives


def tree(root: Path, names: tuple[str, ...]) -> Path:
    """A small root file system, its files made in the given order."""
    root.mkdir()
    (root / "etc").mkdir()
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for name in names:
        (root / "etc" / name).write_text(name)
    (root / "etc" / "tool").write_text("#!")
    (root / "etc" / "tool").chmod(0o700)
    (root / "bin").symlink_to("etc")
    return root


def image(folder: Path, layer: oci.Layer, name: str = "localhost/a:1") -> Path:
    """An archive with one image."""
    archive = folder / "image.tar"
    oci.write(archive, [oci.Image(name, (layer,), entrypoint=("/x",), env={"A": "b"}, user="5:6")])
    return archive


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither times, nor owners, nor modes, nor the order of making matter."""
    written = []
    for number, names in enumerate((("one", "two"), ("two", "one"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        root = tree(folder / "root", names)
        os.utime(root / "etc" / "one", (number, number))
        (root / "etc" / "two").chmod(0o640 if number else 0o666)
        if os.geteuid() == 0:
            os.chown(root / "etc" / "one", number * 1000, number)
        written.append(image(folder, oci.layer(root, folder / "layer.tar")).read_bytes())
    assert written[0] == written[1]


def test_entries_belong_to_root_and_have_plain_modes(tmp_path: Path) -> None:
    """Sorted, parents first; the sticky directory stays writable for everyone."""
    layer = oci.layer(tree(tmp_path / "root", ("file",)), tmp_path / "layer.tar")
    with tarfile.open(layer.path) as tar:
        found = [(entry.name, entry.mode) for entry in tar]
        assert {(entry.uid, entry.gid, entry.mtime) for entry in tar.getmembers()} == {(0, 0, 0)}
    assert found == [
        ("bin", 0o777),
        ("etc", 0o755),
        ("etc/file", 0o644),
        ("etc/tool", 0o755),
        ("tmp", 0o1777),
    ]


def test_archive_is_an_image_layout(tmp_path: Path) -> None:
    """Every descriptor leads to a blob with its digest and size (OCI image specification)."""
    layer = oci.layer(tree(tmp_path / "root", ("file",)), tmp_path / "layer.tar")
    archive = image(tmp_path, layer)
    with tarfile.open(archive) as tar:
        blobs = {
            entry.name: tar.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in tar
        }
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (described,) = json.loads(blobs["index.json"])["manifests"]
    assert described["annotations"]["io.containerd.image.name"] == "localhost/a:1"
    assert described["annotations"]["org.opencontainers.image.ref.name"] == "1"

    def blob(descriptor: dict[str, object]) -> bytes:
        content = blobs["blobs/" + str(descriptor["digest"]).replace(":", "/")]
        assert hashlib.sha256(content).hexdigest() == str(descriptor["digest"]).split(":")[1]
        assert len(content) == descriptor["size"]
        return content

    manifest = json.loads(blob(described))
    config = json.loads(blob(manifest["config"]))
    assert [item["digest"] for item in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert blob(manifest["layers"][0]) == layer.path.read_bytes()
    assert config["config"]["Entrypoint"] == ["/x"]
    assert config["config"]["Env"] == ["A=b"]
    assert config["config"]["User"] == "5:6"
    assert config == archives.config(archive, "localhost/a:1")
    assert archives.digests(archive) == {"localhost/a:1": described["digest"]}


def test_images_share_layers(tmp_path: Path) -> None:
    """Two images of one layer need little more room than one."""
    root = tree(tmp_path / "root", ("file",))
    (root / "big").write_bytes(bytes(1 << 20))
    layer = oci.layer(root, tmp_path / "layer.tar")
    names = ("localhost/a:1", "localhost/b:1")
    oci.write(tmp_path / "both.tar", [oci.Image(name, (layer,)) for name in names])
    assert set(archives.digests(tmp_path / "both.tar")) == set(names)
    assert (tmp_path / "both.tar").stat().st_size < 1.5 * (1 << 20)


def test_a_layer_on_top_of_an_image(tmp_path: Path) -> None:
    """A new image with the old one's configuration; the old archive stays as it is."""
    base = image(tmp_path, oci.layer(tree(tmp_path / "root", ("file",)), tmp_path / "layer.tar"))
    before = base.read_bytes()
    added = oci.layer(tree(tmp_path / "more", ("other",)), tmp_path / "more.tar")
    archives.add_layer(base, "localhost/a:1", added, "localhost/broken:1", tmp_path / "new.tar")
    config = archives.config(tmp_path / "new.tar", "localhost/broken:1")
    assert config["config"]["Entrypoint"] == ["/x"]
    assert config["rootfs"]["diff_ids"][-1] == added.digest
    assert len(config["rootfs"]["diff_ids"]) == 2
    assert base.read_bytes() == before


def test_unpacked_it_is_a_layout_without_names(tmp_path: Path) -> None:
    """The index has the one image that was asked for; its blobs lie where the layout wants them."""
    layer = oci.layer(tree(tmp_path / "root", ("file",)), tmp_path / "layer.tar")
    images = [oci.Image(f"localhost/{name}:1", (layer,), entrypoint=(name,)) for name in "ab"]
    oci.write(tmp_path / "both.tar", images)
    folder = tmp_path / "layout"
    oci.unpack([tmp_path / "both.tar"], "localhost/b:1", folder)
    (described,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert described["digest"] == archives.digests(tmp_path / "both.tar")["localhost/b:1"]
    assert "annotations" not in described
    manifest = json.loads((folder / "blobs" / described["digest"].replace(":", "/")).read_text())
    content = (folder / "blobs" / manifest["layers"][0]["digest"].replace(":", "/")).read_bytes()
    assert content == layer.path.read_bytes()
    with pytest.raises(KeyError, match="localhost/none:1"):
        oci.unpack([tmp_path / "both.tar"], "localhost/none:1", folder)


def test_other_than_files_is_refused(tmp_path: Path) -> None:
    """A FIFO would come out as something else."""
    root = tree(tmp_path / "root", ("file",))
    os.mkfifo(root / "fifo")
    with pytest.raises(ValueError, match=r"fifo: an image holds files"):
        oci.layer(root, tmp_path / "layer.tar")
