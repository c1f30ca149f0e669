"""Reading for the audit: what is refused, what is kept; against `scan_table`, hashlib, NumPy and Pillow."""

import hashlib
import io
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from leukemia_tf.data.audit.cues import header_cues, pixel_cues
from leukemia_tf.data.audit.halve import halve
from leukemia_tf.data.audit.reading import make_thumbnail, read_one, read_picture, read_table_images
from leukemia_tf.data.header import read_header
from leukemia_tf.data.open import open_data
from leukemia_tf.data.scan import scan_table

from tests.data.audit.audit_pictures import draw, save

RANDOM = np.random.default_rng(0)


def encode(kind="PNG", mode="RGB", size=40, **options):
    file = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def hostile():
    jpeg, tiff, huge = encode("JPEG"), encode("TIFF"), bytearray(encode())
    huge[16:24] = (20_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    exif = Image.Exif()
    exif[271] = b"end \xff\xd9 of a small picture inside".decode("latin-1")
    camera = encode("JPEG", size=200, exif=exif.tobytes() + b"\xff\xd9")
    assert camera.index(b"\xff\xd9") < 1000 < len(camera) // 2
    return {
        "a/short.jpg": jpeg[: len(jpeg) // 2],
        "a/short_with_picture_inside.jpg": camera[: len(camera) // 2],
        "a/short.png": encode()[:-200],
        "a/short.bmp": encode("BMP")[:-100],
        "a/short.tif": tiff[: len(tiff) // 2],
        "b/text.png": b"this is text",
        "b/empty.jpg": b"",
        "b/huge.png": bytes(huge),
        "b/animation.png": encode("GIF", "P"),
    }


def write(folder, contents):
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_what_training_refuses_the_audit_names(tmp_path):
    odd = {
        "a/grey.png": encode(mode="L"), "a/cmyk.jpg": encode("JPEG", "CMYK"), "b/palette.bmp": encode("BMP", "P"),
        "b/really.png": encode("JPEG"), "b/progressive.jpg": encode("JPEG", progressive=True),
        "b/plain.bmp": encode("BMP"), "b/plain.jpg": encode("JPEG"),
    }  # fmt: skip
    write(tmp_path, {**hostile(), **odd})
    manifest, table = open_data(tmp_path)
    scanned = scan_table(manifest, table, skip_broken=True)
    facts = read_table_images(manifest, table, progress=False).facts
    broken = {entry["path"] for entry in scanned.attrs["skipped"]}
    assert broken == set(hostile())
    assert set(table["path"][facts["reason"] != ""]) == broken
    assert all("\n" not in reason for reason in facts["reason"])
    hashes = dict(zip(table["path"], facts["sha256"]))
    assert {path: hashes[path] for path in scanned["path"]} == dict(zip(scanned["path"], scanned["sha256"]))
    others = facts["other_format"][table["path"] == "b/really.png"]
    assert list(others) == ["JPEG"]
    assert list(facts["kinds"][table["path"] == "a/grey.png"]) == ["greyscale"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read_one(tmp_path / "pipe.jpg", "pipe.jpg").reason == "not a regular file (a pipe)"
    assert "a folder" in read_one(tmp_path, "folder.jpg").reason
    assert "No such file" in read_one(tmp_path / "gone.jpg", "gone.jpg").reason


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".png"])
def test_pixels_are_those_of_pillow(tmp_path, suffix):
    save(tmp_path / f"x{suffix}", draw(1, 100), quality=100)
    with Image.open(tmp_path / f"x{suffix}") as image:
        expected = np.asarray(image.convert("RGB"), dtype=float)
    facts = read_one(tmp_path / f"x{suffix}", "x")
    assert facts.reason == "" and (facts.width, facts.height) == (100, 100)
    assert facts.sha256 == hashlib.sha256((tmp_path / f"x{suffix}").read_bytes()).hexdigest()
    sides = [expected[:2], expected[-2:], expected[:, :2], expected[:, -2:]]
    by_hand = np.concatenate([np.concatenate([side.mean((0, 1)), side.std((0, 1))]) for side in sides])
    np.testing.assert_allclose(facts.cues["border"], by_hand, atol=1.0)
    corners = [expected[:5, :5], expected[:5, -5:], expected[-5:, :5], expected[-5:, -5:]]
    np.testing.assert_allclose(facts.cues["corners"], np.concatenate([c.mean((0, 1)) for c in corners]), atol=1.0)
    size = os.path.getsize(tmp_path / f"x{suffix}")
    np.testing.assert_allclose(facts.cues["file size"], [np.log(size), size / 1e4], rtol=1e-6)


def test_a_large_jpeg_is_the_small_one(tmp_path):
    picture = draw(2, 450)
    save(tmp_path / "x.jpg", picture)
    thumbnail = read_one(tmp_path / "x.jpg", "x").thumbnail
    grey = picture.astype(float) @ [0.299, 0.587, 0.114]
    expected = np.asarray(Image.fromarray(np.rint(grey).astype(np.uint8)).resize((64, 64), Image.BOX), float)
    assert thumbnail.shape == (64, 64) and np.corrcoef(thumbnail.ravel(), expected.ravel())[0, 1] > 0.99


def test_halving_is_the_mean_of_blocks():
    image = RANDOM.integers(0, 256, (7, 11, 3), dtype=np.uint8)
    expected = image[:6, :10].reshape(3, 2, 5, 2, 3).mean((1, 3))
    assert np.abs(halve(image) - expected).max() <= 0.5
    assert make_thumbnail(np.full((3, 500, 3), 7, np.uint8)).shape == (64, 64)


def test_encoder_settings_in_words():
    def line(**options):
        data = encode("JPEG", **options)
        with Image.open(io.BytesIO(data)) as image:
            settings = {**image.info, "quantization": image.quantization, "layer": image.layer}
        return header_cues(read_header(data), settings)

    words, features = line(quality=90, subsampling=2)
    assert words.startswith("JPEG, RGB, 4:2:0, quantisation ")
    assert line(quality=90, subsampling=0)[0].startswith("JPEG, RGB, 4:4:4")
    exif = Image.Exif()
    exif[271] = "a camera"
    assert "progressive" in line(progressive=True)[0] and "exif" in line(exif=exif.tobytes())[0]
    other = line(quality=60, subsampling=2)
    assert other[0] != words and len(other[1]) == len(features) and (other[1] != features).any()
    assert line(quality=90, subsampling=2)[0] == words


def test_colour_cue_is_mean_deviation_and_correlation():
    image = RANDOM.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    flat = image.reshape(-1, 3).astype(float)
    correlation = np.corrcoef(flat.T)
    expected = [*flat.mean(0), *flat.std(0), correlation[0, 1], correlation[0, 2], correlation[1, 2]]
    np.testing.assert_allclose(pixel_cues(image)["colour"], expected, rtol=1e-4, atol=1e-4)


def test_images_of_an_array(tmp_path):
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = RANDOM.integers(0, 256, (6, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(6)[:, None] % 2
    np.savez(tmp_path / "x.npz", **arrays)
    manifest, table = open_data(tmp_path / "x.npz")
    reading = read_table_images(manifest, table, progress=False)
    row = table.index[table["path"] == "x.npz#val_images/3"][0]
    assert reading.facts["sha256"][row] == hashlib.sha256(arrays["val_images"][3].tobytes()).hexdigest()
    # What an array does not have is no cue.
    assert set(reading.cues) == {"border", "corners", "colour", "print"}
    assert reading.thumbnails.shape == (18, 64, 64)
    shown = read_picture(manifest, "x.npz#val_images/3", 3, side=28)
    np.testing.assert_array_equal(shown[..., 1], arrays["val_images"][3])
