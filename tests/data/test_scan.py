"""Scanning: what is broken, what is contradictory, what is accepted; with files made here and real ones."""

import hashlib
import io
import logging
import os
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from leukemia_tf.data.open import open_data
from leukemia_tf.data.scan import scan_table
from leukemia_tf.errors import InputError

RANDOM = np.random.default_rng(0)


def encode(kind="PNG", mode="RGB", size=24, **options):
    file = io.BytesIO()
    image = Image.fromarray(RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8))
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def good(count=2):
    return {f"{label}/{n}.png": encode() for label in ("a", "b") for n in range(count)}


def test_hashes_of_the_bytes(tmp_path):
    files = good()
    manifest, table = open_data(write(tmp_path, files))
    scanned = scan_table(manifest, table)
    assert dict(zip(scanned["path"], scanned["sha256"])) == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert scanned.attrs["skipped"] == [] and table["sha256"].eq("").all()
    assert list(scanned.columns) == list(table.columns)


def broken_files():
    jpeg, tiff = encode("JPEG"), encode("TIFF")
    huge = bytearray(encode())
    huge[16:24] = (20_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    damaged = bytearray(encode())
    damaged[18] ^= 1
    return {
        "a/short.jpg": jpeg[: len(jpeg) * 2 // 3],
        "a/short.png": encode()[:-200],
        "a/short.bmp": encode("BMP")[:-100],
        "a/short.tif": tiff[: len(tiff) // 2],
        "b/text.png": b"this is text",
        "b/empty.jpg": b"",
        "b/huge.png": bytes(huge),
        "b/damaged.png": bytes(damaged),
        "b/animation.png": encode("GIF", "P"),
    }


def test_every_broken_file_is_named_on_a_line_of_its_own(tmp_path, caplog):
    files = broken_files()
    manifest, table = open_data(write(tmp_path, {**good(), **files}))
    with pytest.raises(InputError) as error:
        scan_table(manifest, table)
    lines = str(error.value).splitlines()
    assert [line.split("`")[1] for line in lines[:-1]] == sorted(files)
    assert lines[-1] == f"{len(files)} images are not usable; --skip-broken leaves them out"
    assert any("`b/empty.jpg`: the file is empty (0 bytes)" in line for line in lines)
    assert any("`b/huge.png`: at most 100 megapixels are accepted" in line for line in lines)
    assert any("`b/damaged.png`: the header is damaged" in line for line in lines)
    assert any("`a/short.jpg`: truncated or damaged JPEG data" in line for line in lines)

    kept = scan_table(manifest, table, skip_broken=True)
    assert list(kept["path"]) == sorted(good())
    assert list(kept.index) == list(range(len(kept)))
    assert [entry["path"] for entry in kept.attrs["skipped"]] == sorted(files)
    assert any("9 images are left out" in message for message in caplog.messages)


def test_files_that_vanish_or_cannot_be_read(tmp_path):
    manifest, table = open_data(write(tmp_path, good()))
    (tmp_path / "a" / "0.png").unlink()
    (tmp_path / "b" / "1.png").unlink()
    (tmp_path / "b" / "1.png").mkdir()
    with pytest.raises(InputError) as error:
        scan_table(manifest, table)
    assert "`a/0.png`: cannot be read (No such file or directory)" in str(error.value)
    assert "`b/1.png`: not a regular file (a folder)" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read every file")
def test_files_without_permission(tmp_path):
    manifest, table = open_data(write(tmp_path, good()))
    (tmp_path / "a" / "0.png").chmod(0)
    with pytest.raises(InputError, match="`a/0.png`: cannot be read \\(Permission denied\\)"):
        scan_table(manifest, table)


def test_a_class_emptied_by_skipping_is_an_error(tmp_path):
    manifest, table = open_data(write(tmp_path, {**good(), "c/1.png": b"text", "c/2.png": b""}))
    with pytest.raises(InputError, match="class `c` has no usable image left; received 2 left out"):
        scan_table(manifest, table, skip_broken=True)


def test_unusual_kinds_are_accepted_with_one_line_each(tmp_path, caplog):
    wide = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 65536, (9, 9), dtype=np.uint16)).save(wide, "PNG")
    kinds = {
        "a/16.png": wide.getvalue(),
        "a/grey1.png": encode(mode="L"),
        "a/grey2.jpg": encode("JPEG", "L"),
        "b/cmyk.jpg": encode("JPEG", "CMYK"),
        "b/palette.png": encode(mode="P"),
        "b/rgba.png": encode(mode="RGBA"),
        "b/really.png": encode("JPEG"),
    }
    manifest, table = open_data(write(tmp_path, {**good(), **kinds}))
    with caplog.at_level(logging.WARNING):
        assert len(scan_table(manifest, table)) == len(table)
    assert sorted(caplog.messages) == [
        "1 files are of another format than their suffix; first `b/really.png` is JPEG",
        "1 images are converted to 8-bit RGB (16-bit); first `a/16.png`",
        "1 images are converted to 8-bit RGB (CMYK); first `b/cmyk.jpg`",
        "1 images are converted to 8-bit RGB (alpha channel); first `b/rgba.png`",
        "1 images are converted to 8-bit RGB (palette); first `b/palette.png`",
        "3 images are converted to 8-bit RGB (greyscale); first `a/16.png`",
    ]


def test_same_bytes_with_different_labels(tmp_path):
    one, two = encode(), encode()
    files = {"a/1.png": one, "b/2.png": one, "b/3.png": one, "a/4.png": two, "b/5.png": two}
    manifest, table = open_data(write(tmp_path, {**good(1), **files}))
    with pytest.raises(InputError) as error:
        scan_table(manifest, table)
    assert str(error.value).splitlines() == [
        "the same image under different labels: `a/1.png` is a, `b/2.png` is b, `b/3.png` is b",
        "the same image under different labels: `a/4.png` is a, `b/5.png` is b",
        "5 images are not usable; --skip-broken leaves them out",
    ]
    kept = scan_table(manifest, table, skip_broken=True)
    assert list(kept["path"]) == ["a/0.png", "b/0.png"]
    assert {entry["path"] for entry in kept.attrs["skipped"]} == set(files)


def test_same_bytes_with_the_same_label_are_counted(tmp_path, caplog):
    image = encode()
    files = {f"all/UID_{n}_1_1_all.png": image for n in (1, 2)} | {"hem/UID_H1_1_1_hem.png": encode()}
    manifest, table = open_data(write(tmp_path, files))
    assert len(scan_table(manifest, table)) == 3
    assert "1 images are byte-identical copies of another one" in caplog.text
    assert "1 images lie under more than one subject" in caplog.text and "1, 2" in caplog.text


def test_array_images_are_hashed_by_their_pixels(tmp_path):
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = RANDOM.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(12)[:, None] % 2
    arrays["test_images"][3] = arrays["train_images"][3]
    np.savez(tmp_path / "x.npz", **arrays)
    manifest, table = open_data(tmp_path / "x.npz")
    scanned = scan_table(manifest, table).set_index("path")
    for split, number in (("train", 11), ("test", 3)):
        expected = hashlib.sha256(arrays[f"{split}_images"][number].tobytes()).hexdigest()
        assert scanned.loc[f"x.npz#{split}_images/{number}", "sha256"] == expected
    arrays["test_images"][4] = arrays["train_images"][3]
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match="`x.npz#test_images/4` is 0"):
        scan_table(manifest, table)


def test_progress_goes_to_the_log_where_there_is_no_terminal(tmp_path, caplog, capfd):
    manifest, table = open_data(write(tmp_path, good()))
    with caplog.at_level(logging.INFO):
        scan_table(manifest, table)
        assert sum("checking images: 4 in" in message for message in caplog.messages) == 1
        caplog.clear()
        scan_table(manifest, table, progress=False)
    assert not caplog.messages
    assert "checking" not in "".join(capfd.readouterr())


def unpack(archive, wanted, folder):
    """Unpack a few members of a tar file without their top folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and wanted(member.name):
                path = folder / member.name.partition("/")[2]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())
    return folder


def test_real_smears_with_copies(shared, tmp_path, caplog):
    def few(name):
        return name.endswith(("1.jpg", "2.jpg")) and "Pro-" in name or "Benign-00" in name

    folder = unpack(shared / "data" / "taleqani_all.tar", few, tmp_path)
    manifest, table = open_data(folder)
    scanned = scan_table(manifest, table)
    expected = [hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in table["path"]]
    assert list(scanned["sha256"]) == expected
    copies = len(expected) - len(set(expected))
    assert copies > 0
    assert f"{copies} images are byte-identical copies of another one with the same label" in caplog.text


def test_real_single_cells(shared, tmp_path):
    def few(name):
        return "/basophil/" in name or "/platelet/" in name

    manifest, table = open_data(unpack(shared / "data" / "pbc_originals.tar", few, tmp_path))
    assert manifest.classes == ("basophil", "platelet") and len(scan_table(manifest, table)) == 48
