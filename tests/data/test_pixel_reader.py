"""Reading in the background: rows that are wanted come first, values are those of the files, nothing is left over."""

import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.data import pixel_reader
from leukemia_tf.data.decode import read_image
from leukemia_tf.data.header import BrokenImage
from leukemia_tf.data.open import open_data
from leukemia_tf.data.pipeline import make_pipeline
from leukemia_tf.data.pixel_reader import PixelReader
from leukemia_tf.data.resize import resize_images
from leukemia_tf.errors import InputError, RunError

COUNT = 100


@pytest.fixture
def slow(monkeypatch):
    """Two threads that read numbered images of a table without files, each when the test lets it; their order."""
    gate, order = threading.Semaphore(0), []

    def read_one(manifest, path, sha256, size):
        gate.acquire(timeout=20)  # not for ever where a test fails
        order.append(int(path))
        return BrokenImage(path, "bad") if sha256 == "bad" else np.full((size, size, 3), int(path), np.uint8)

    monkeypatch.setattr(pixel_reader, "read_one", read_one)
    monkeypatch.setattr("leukemia_tf.data.threads.os.cpu_count", lambda: 2)
    table = pd.DataFrame({"path": [str(number) for number in range(COUNT)], "index": pd.NA, "sha256": "x"})
    yield table, gate, order
    gate.release(10 * COUNT)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("pixel reader")]


def asked(pending, rows, answers):
    """Ask for rows in a thread."""

    def ask():
        try:
            answers.append(pending[np.array(rows)])
        except RunError as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.parametrize("limit", [None, 0])
def test_who_waits_for_rows_gets_them_before_the_rest_is_read(slow, limit, tmp_path):
    table, gate, order = slow
    tables = {"train": table.iloc[:60], "val": table.iloc[60:]}
    with PixelReader(None, tables, {"train": 2, "val": 3}, memory_limit=limit, cache_dir=tmp_path) as reader:
        answers = []
        thread = asked(reader["val"], [39, 0, 39], answers)
        while thread.is_alive():
            gate.release()
            thread.join(0.01)
        assert answers[0].tolist() == [np.full((3, 3, 3), value).tolist() for value in (99, 60, 99)]
        # 16 of the 100 may have been on their way before anybody asked, and as many again meanwhile.
        assert order.index(99) < 17 and len(order) < 40
        gate.release(COUNT)
        arrays = reader.all()
    assert sorted(order) == list(range(COUNT))
    for name, first in (("train", 0), ("val", 60)):
        assert isinstance(arrays[name], np.memmap) == (limit == 0)
        assert arrays[name][:, 1, 1, 1].tolist() == list(range(first, first + len(tables[name])))
    assert len(list(tmp_path.rglob("*.npy"))) == (2 if limit == 0 else 0)


def test_closing_ends_the_threads_the_waiting_and_the_unfinished_file(slow, tmp_path):
    table, gate, order = slow
    answers = []
    with pytest.raises(KeyboardInterrupt):
        with PixelReader(None, {"": table}, {"": 2}, memory_limit=0, cache_dir=tmp_path) as reader:
            pending = reader[""]
            thread = asked(pending, [99], answers)
            gate.release(COUNT // 3)
            raise KeyboardInterrupt
    thread.join()
    assert isinstance(answers[0], (RunError, np.ndarray)) and len(order) < COUNT
    assert not list(tmp_path.rglob("*.npy"))
    with pytest.raises(RunError, match="no longer there"):
        pending[np.array([0])]


def test_a_broken_image_ends_the_waiting_and_then_all_of_them_are_named(slow):
    table, gate, order = slow
    table.loc[[3, 50, 77], "sha256"] = "bad"
    gate.release(10)
    with pytest.raises(InputError) as error:
        with PixelReader(None, {"": table}, {"": 2}) as reader:
            with pytest.raises(RunError, match="`3`: bad"):
                reader[""][np.arange(80)]
            assert len(order) <= 10
            gate.release(COUNT)
            raise ValueError("what the broken image led to")
    lines = str(error.value).splitlines()
    assert lines[:3] == ["`3`: bad", "`50`: bad", "`77`: bad"] and "--skip-broken" in lines[3] and len(lines) == 4
    assert sorted(order) == list(range(COUNT))


def test_batches_do_not_depend_on_when_the_pixels_were_read(tmp_path):
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 18, 3), dtype=np.uint8)).save(path)
    manifest, table = open_data(tmp_path)
    options = dict(manifest=manifest, image_size=8, batch_size=8, training=True, policy="cells", repeat=2)
    with PixelReader(manifest, {"": table}, {"": 8}) as reader:
        early = [images.numpy() for images, _ in make_pipeline(table, pixels=reader[""], **options)]
        pixels = reader.all()[""]
    expected = [resize_images(read_image(manifest.root / path), 8).numpy() for path in table["path"]]
    np.testing.assert_array_equal(pixels, expected)
    late = [images.numpy() for images, _ in make_pipeline(table, pixels=pixels, **options)]
    np.testing.assert_array_equal(early, late)
    assert len(early) == 10


def test_sizes():
    with pytest.raises(InputError, match="`image_size`"):
        PixelReader(None, {"": pd.DataFrame()}, {"": 0})
