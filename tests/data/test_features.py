"""Files of features: written whole, checked when read, named by what they follow from; batches in a fixed order."""

from __future__ import annotations

import logging
import os
import types

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data import features
from leukemia_tf.data.features import batches_key, feature_file, make_room, read_features, view_batches, writing

ROWS = np.arange(24, dtype="float32").reshape(6, 4)


@pytest.fixture(autouse=True)
def log_is_heard(monkeypatch):
    """The command, in a test before in this process, may have turned the log to standard error alone."""
    monkeypatch.setattr(logging.getLogger("leukemia_tf"), "propagate", True)


def write(file, rows=ROWS, dtype="float16", shape=None):
    with writing([file], [shape or rows.shape], [dtype]) as [writer]:
        writer.write(rows[:4])
        writer.write(rows[4:])
    return file


def test_a_file_is_an_npy_that_maps(tmp_path):
    file = write(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(file), ROWS.astype("float16"))
    mapped = read_features(file, (6, 4), "float16")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, ROWS)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-40],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:140] + b"\x55" + data[141:],
        lambda data: b"no array",
        lambda data: b"",
    ],
    ids=["half", "end", "more", "flipped", "text", "empty"],
)
def test_what_is_not_whole_is_not_read(tmp_path, caplog, harm):
    file = write(tmp_path / "a.npy")
    file.write_bytes(harm(file.read_bytes()))
    assert read_features(file, (6, 4), "float16") is None
    assert "made again" in caplog.text


def test_missing_or_of_another_shape_is_none(tmp_path):
    assert read_features(tmp_path / "none.npy", (6, 4), "float16") is None
    file = write(tmp_path / "a.npy")
    assert read_features(file, (6, 5), "float16") is None
    assert read_features(file, (6, 4), "float32") is None


def test_all_files_of_a_pass_or_none(tmp_path):
    with pytest.raises(ValueError, match="7 rows were announced and 6 written"):
        write(tmp_path / "a.npy", shape=(7, 4))
    with pytest.raises(OverflowError, match="1e\\+05 in float16"):
        write(tmp_path / "a.npy", rows=np.full((6, 4), 1e5, "float32"))
    assert not list(tmp_path.iterdir())


def test_keys_follow_from_everything(monkeypatch):
    pixels = np.zeros((4, 2, 2, 3), np.uint8)
    table = pd.DataFrame({"label": list("abab")})
    manifest = types.SimpleNamespace(classes=("a", "b"))
    options = {"policy": "cells", "seed": 0, "batch_size": 2}
    other = pixels.copy()
    other[3, 1, 1, 2] = 1
    keys = [
        batches_key(pixels, table, manifest, **options),
        batches_key(other, table, manifest, **options),
        batches_key(pixels, table.iloc[::-1], manifest, **options),
        *(batches_key(pixels, table, manifest, **options | change) for change in (
            {"policy": "d4"}, {"policy": [{"step": "d4"}]}, {"seed": 1}, {"batch_size": 4}
        )),
    ]  # fmt: skip
    assert batches_key(pixels.copy(), table.copy(), manifest, **options) == keys[0]
    monkeypatch.setattr(features, "_code_hash", lambda: "another version of the code")
    keys.append(batches_key(pixels, table, manifest, **options))
    assert len(set(keys)) == len(keys)
    assert feature_file("a", "b", folder="x") != feature_file("a", "c", folder="x")


def test_views_take_turns_and_are_shuffled_when_they_come_again():
    views = [[ROWS + 100 * view, np.arange(6.0, dtype="float32")[:, None]] for view in range(2)]
    batches = view_batches(views, batch_size=3, dtypes=["float32", "float32"], seed=5)
    found = [(x.numpy(), y.numpy()) for x, y in batches.take(8)]
    epochs = [np.concatenate([x for x, _ in found[i : i + 2]]) for i in range(0, 8, 2)]
    labels = [np.concatenate([y for _, y in found[i : i + 2]])[:, 0] for i in range(0, 8, 2)]
    for epoch, view in enumerate([0, 1, 0, 1]):
        np.testing.assert_array_equal(epochs[epoch], (ROWS + 100 * view)[labels[epoch].astype(int)])
        assert sorted(labels[epoch]) == list(range(6))
    assert list(labels[0]) == list(labels[1]) == list(range(6))
    assert list(labels[2]) != list(range(6)) and list(labels[2]) != list(labels[3])
    # A later start has the same batches.
    late = view_batches(views, batch_size=3, dtypes=["float32", "float32"], seed=5, first_epoch=2)
    for (x, _), (y, _) in zip(late.take(4), found[4:]):
        np.testing.assert_array_equal(x, y)


def test_one_pass_has_every_row_in_its_order():
    arrays = [ROWS.astype("float16"), ROWS[:, :2].astype("float16"), ROWS[:, :1]]
    batches = view_batches([arrays], batch_size=4, dtypes=["float32", "float16", "float32"], endless=False)
    assert batches.cardinality() == 2 and batches.options().autotune.enabled is False
    found = list(batches)
    assert [x[0].shape[0] for x, _ in found] == [4, 2] and found[0][0][0].dtype == "float32"
    np.testing.assert_array_equal(np.concatenate([x[1] for x, _ in found]), arrays[1])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), arrays[2])


def test_room_is_made_by_what_was_unused_longest(tmp_path, monkeypatch):
    free = {"bytes": 0}
    for number, name in enumerate(["old", "used", "new", ".tmp-half"]):
        os.utime(write(tmp_path / f"{name}.npy"), (number, number))

    def usage(path):
        gone = 4 - len(list(tmp_path.iterdir()))
        return types.SimpleNamespace(free=free["bytes"] + (1 << 30) * gone)

    monkeypatch.setattr(features.shutil, "disk_usage", usage)
    assert read_features(tmp_path / "old.npy", (6, 4), "float16") is not None  # now the one used last
    assert make_room(0, folder=tmp_path) and len(list(tmp_path.iterdir())) == 4  # all there already: nothing to do
    assert make_room(1 << 29, folder=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".tmp-half.npy", "new.npy", "old.npy"]
    assert not make_room(1 << 40, folder=tmp_path, keep=[tmp_path / "new.npy"])
    assert sorted(file.name for file in tmp_path.iterdir()) == [".tmp-half.npy", "new.npy"]
