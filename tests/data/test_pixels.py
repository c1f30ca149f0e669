"""Loading all pixels: right rows, right values, and a cache on disk that is whole or absent."""

import errno
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from leukemia_tf.data import pixel_reader
from leukemia_tf.data.decode import read_image
from leukemia_tf.data.open import open_data
from leukemia_tf.data.pixel_store import available_memory
from leukemia_tf.data.pixels import change_pixels, load_pixels
from leukemia_tf.data.resize import resize_images
from leukemia_tf.data.scan import scan_table
from leukemia_tf.errors import InputError, RunError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def data(tmp_path):
    """Twelve images of many sizes and kinds in two classes, scanned."""
    kinds = itertools.cycle([".png", ".jpg", ".bmp", ".tif"])
    for number, kind in zip(range(12), kinds):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (10 + number, 24 - number, 3)
        Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8)).save(path)
    manifest, table = open_data(tmp_path / "data")
    return manifest, scan_table(manifest, table)


def expected(manifest, table, size):
    return np.stack([resize_images(read_image(manifest.root / path), size).numpy() for path in table["path"]])


def test_rows_are_those_of_the_table_in_any_order(data):
    manifest, table = data
    for part in (table, table.sample(frac=1, random_state=0), table[table["label"] == "b"], table.iloc[:0]):
        pixels = load_pixels(manifest, part, 9)
        assert pixels.dtype == np.uint8 and pixels.shape == (len(part), 9, 9, 3)
        if len(part):
            np.testing.assert_array_equal(pixels, expected(manifest, part, 9))


def test_on_disk_when_memory_is_short(data, tmp_path):
    manifest, table = data
    folder = tmp_path / "cache"
    limit = 12 * 9 * 9 * 3
    assert not isinstance(load_pixels(manifest, table, 9, memory_limit=limit, cache_dir=folder), np.memmap)
    assert not folder.exists()
    mapped = load_pixels(manifest, table, 9, memory_limit=limit - 1, cache_dir=folder)
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, load_pixels(manifest, table, 9))
    assert len(list(folder.rglob("*"))) == 2  # pixels/ and one file


def test_the_cache_is_found_again_by_content_and_size_only(data, tmp_path, monkeypatch):
    manifest, table = data
    options = {"memory_limit": 0, "cache_dir": tmp_path / "cache", "progress": False}
    first = load_pixels(manifest, table, 9, **options)
    with monkeypatch.context() as patch:
        patch.setattr(pixel_reader, "read_one", None)
        np.testing.assert_array_equal(load_pixels(manifest, table.copy(), 9, **options), first)
    # Another size, other rows, and a changed file that was not hashed are other keys.
    load_pixels(manifest, table, 8, **options)
    load_pixels(manifest, table.iloc[::-1], 9, **options)
    unhashed = table.assign(sha256="")
    load_pixels(manifest, unhashed, 9, **options)
    Image.new("RGB", (50, 50), (9, 8, 7)).save(manifest.root / table["path"].iat[0], "PNG")
    changed = load_pixels(manifest, unhashed, 9, **options)
    np.testing.assert_array_equal(changed[0], np.full((9, 9, 3), (9, 8, 7)))
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 5


def test_a_cache_that_was_not_finished_is_not_used(data, tmp_path, monkeypatch):
    manifest, table = data
    options = {"memory_limit": 0, "cache_dir": tmp_path / "cache"}
    read, count = pixel_reader.read_one, itertools.count()

    def interrupted(*arguments):
        if next(count) == 5:
            raise KeyboardInterrupt
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pixel_reader, "read_one", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_pixels(manifest, table, 9, **options)
    assert not list((tmp_path / "cache" / "pixels").iterdir())
    np.testing.assert_array_equal(load_pixels(manifest, table, 9, **options), expected(manifest, table, 9))


def test_a_full_disk_is_one_line(data, tmp_path, monkeypatch):
    manifest, table = data

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(RunError, match="(?i)no space left") as error:
        load_pixels(manifest, table, 9, memory_limit=0, cache_dir=tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache" / "pixels").iterdir())


def test_all_broken_files_are_named(data):
    manifest, table = data
    paths = list(table["path"])
    (manifest.root / paths[1]).write_bytes(b"text")
    (manifest.root / paths[4]).unlink()
    with pytest.raises(InputError) as error:
        load_pixels(manifest, table, 9)
    lines = str(error.value).splitlines()
    assert lines[0] == f"`{paths[1]}`: the file has changed since the table was scanned"
    assert lines[1].startswith(f"`{paths[4]}`: cannot be read") and len(lines) == 3


@pytest.mark.parametrize("grey", [False, True])
def test_arrays(tmp_path, grey):
    arrays = {}
    for split in ("train", "val", "test"):
        shape = (12, 10, 10) if grey else (12, 10, 10, 3)
        arrays[f"{split}_images"] = RANDOM.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(12)[:, None] % 2
    np.savez(tmp_path / "x.npz", **arrays)
    manifest, table = open_data(tmp_path / "x.npz")
    table = table.sample(frac=1, random_state=1)
    rgb = {name: np.repeat(a[..., None], 3, -1) if grey else a for name, a in arrays.items()}
    for size in (10, 6):
        pixels = load_pixels(manifest, table, size)
        for row in (0, 7, 35):
            split, index = table["split"].iat[row], table["index"].iat[row]
            np.testing.assert_array_equal(pixels[row], resize_images(rgb[f"{split}_images"][index], size))


def test_arguments_and_memory(data):
    with pytest.raises(InputError, match="`image_size`"):
        load_pixels(*data, 0)
    assert 2**20 < available_memory() < 2**50


def test_change_pixels_in_memory_and_beside_a_mapped_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 200, (70, 4, 4, 3)).astype(np.uint8)
    np.save(tmp_path / "some.npy", images)
    calls = []

    def brighter(part):
        calls.append(len(part))
        return part + np.uint8(3)

    mapped = change_pixels(np.load(tmp_path / "some.npy", mmap_mode="r"), brighter, "brighter by 3")
    assert isinstance(mapped, np.memmap) and sum(calls) == 70 and len(calls) > 1
    np.testing.assert_array_equal(mapped, images + 3)
    np.testing.assert_array_equal(np.load(tmp_path / "some.npy"), images)
    change_pixels(np.load(tmp_path / "some.npy", mmap_mode="r"), brighter, "brighter by 3")
    assert sum(calls) == 70 and len(list(tmp_path.iterdir())) == 2
    change_pixels(np.load(tmp_path / "some.npy", mmap_mode="r"), brighter, "another thing")
    assert sum(calls) == 140 and len(list(tmp_path.iterdir())) == 3

    expected = images + 3
    assert change_pixels(images, brighter, "brighter by 3") is images
    np.testing.assert_array_equal(images, expected)


def test_a_disk_with_too_little_room_is_told_before_anything_is_read(data, tmp_path, monkeypatch):
    manifest, table = data
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(RunError, match="needs 0.0 GB of room.*LEUKEMIA_TF_CACHE"):
        load_pixels(manifest, table, 9, memory_limit=0, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache" / "pixels").iterdir()) == []
