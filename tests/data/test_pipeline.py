"""The pipeline: what is in a batch, and that batches follow from (seed, epoch, step)."""

import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.data.pipeline import fill_last_batch, make_pipeline, steps_per_epoch
from leukemia_tf.errors import InputError

SIZE, COUNT = 8, 22
MANIFEST = types.SimpleNamespace(classes=("a", "b", "c"))
TWO = types.SimpleNamespace(classes=("a", "b"))


@pytest.fixture(scope="module")
def table():
    labels = (["a"] * 4 + ["b"] * 12 + ["c"] * 6)[:COUNT]
    return pd.DataFrame({"path": [f"{i:02d}.png" for i in range(COUNT)], "label": labels}, index=range(5, 5 + COUNT))


@pytest.fixture(scope="module")
def pixels():
    """Noise whose first pixel holds the number of its row."""
    array = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    array[:, 0, 0, 0] = np.arange(COUNT)
    return array


def pipeline(table, pixels, **options):
    options = {"manifest": MANIFEST, "image_size": SIZE, "batch_size": 4, "pixels": pixels, **options}
    return make_pipeline(table, **options)


def batches(*args, **options):
    return [(x.numpy(), y.numpy()) for x, y in pipeline(*args, **options)]


def assert_same(one, two):
    assert len(one) == len(two) > 0
    for (x, y), (u, v) in zip(one, two):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


def test_evaluation_is_the_table_in_order(table, pixels):
    dataset = pipeline(table, pixels, policy="cells")
    assert int(dataset.cardinality()) == 6 == steps_per_epoch(table, 4, training=False)
    images, labels = (np.concatenate(part) for part in zip(*batches(table, pixels, policy="cells")))
    np.testing.assert_array_equal(images, pixels.astype(np.float32))
    assert ["abc"[i] for i in labels.argmax(1)] == list(table["label"])
    assert images.dtype == labels.dtype == np.float32


@pytest.mark.parametrize("policy", ["none", "d4", "cells", "published_002"])
def test_training_batches_are_rgb_float32_in_range(table, pixels, policy):
    dataset = pipeline(table, pixels, training=True, policy=policy)
    assert dataset.element_spec[0] == tf.TensorSpec([4, SIZE, SIZE, 3], tf.float32)
    assert dataset.element_spec[1] == tf.TensorSpec([4, 3], tf.float32)
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    for images, _ in dataset.take(7):
        assert images.dtype == tf.float32 and images.shape == (4, SIZE, SIZE, 3)
        assert 0 <= images.numpy().min() and images.numpy().max() <= 255


def test_an_epoch_shows_each_image_at_most_once_with_its_label(table, pixels):
    epoch = batches(table, pixels, training=True, repeat=1)
    rows = np.concatenate([x[:, 0, 0, 0] for x, _ in epoch]).astype(int)
    assert len(rows) == 20 == 4 * steps_per_epoch(table, 4) and len(set(rows)) == 20
    labels = np.concatenate([y for _, y in epoch]).argmax(1)
    assert ["abc"[i] for i in labels] == list(table["label"].to_numpy()[rows])
    assert list(rows) != sorted(rows)


@pytest.mark.parametrize("policy", ["cells", "published_002"])
def test_batches_do_not_depend_on_parallelism(table, pixels, policy):
    options = {"training": True, "policy": policy, "repeat": 2, "seed": 9}
    one = batches(table, pixels, num_parallel_calls=1, **options)
    assert_same(one, batches(table, pixels, num_parallel_calls=6, **options))
    assert_same(one, batches(table, pixels, **options))


def test_no_pipeline_is_tuned_since_ending_one_would_take_seconds(table, pixels):
    val = pipeline(table, pixels)
    for dataset in (val, fill_last_batch(val, len(table), 4), pipeline(table, pixels, training=True)):
        assert dataset.options().autotune.enabled is False and dataset.options().deterministic


@pytest.mark.parametrize("balance", ["none", "oversample"])
def test_starting_at_an_epoch_gives_that_epoch(table, pixels, balance):
    options = {"training": True, "policy": "cells", "balance": balance}
    steps = steps_per_epoch(table, 4, balance=balance)
    whole = batches(table, pixels, repeat=4, **options)
    assert len(whole) == 4 * steps
    assert_same(whole[2 * steps :], batches(table, pixels, first_epoch=2, repeat=2, **options))
    endless = pipeline(table, pixels, first_epoch=3, **options).take(steps)
    assert_same(whole[3 * steps :], [(x.numpy(), y.numpy()) for x, y in endless])
    assert not np.array_equal(whole[0][0], whole[steps][0])


def test_seeds_differ(table, pixels):
    one, two = (batches(table, pixels, training=True, repeat=1, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one[0][0], two[0][0])


def test_oversampling(table, pixels):
    epoch = batches(table, pixels, training=True, repeat=1, balance="oversample")
    assert len(epoch) == steps_per_epoch(table, 4, balance="oversample") == 9
    np.testing.assert_array_equal(np.concatenate([y for _, y in epoch]).sum(0), [12, 12, 12])


def test_binary_labels(table, pixels):
    some = table["label"].isin(["a", "b"]).to_numpy()
    _, labels = zip(*batches(table[some], pixels[some], manifest=TWO))
    labels = np.concatenate(labels)
    assert labels.shape == (16, 1)
    np.testing.assert_array_equal(labels[:, 0], (table["label"][some] == "b").to_numpy())
    _, labels = zip(*batches(table[some], pixels[some], manifest=TWO, labels="categorical"))
    np.testing.assert_array_equal(np.concatenate(labels).sum(0), [4, 12])


def test_fewer_rows_than_a_batch(table, pixels):
    ((images, _),) = batches(table, pixels, training=True, repeat=1, batch_size=64)
    assert images.shape == (22, SIZE, SIZE, 3)
    assert steps_per_epoch(table, 64) == 1


def test_memory_mapped_pixels(table, pixels, tmp_path):
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    options = {"training": True, "policy": "d4", "repeat": 1}
    assert_same(batches(table, mapped, **options), batches(table, pixels, **options))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pixels": np.zeros((3, SIZE, SIZE, 3), np.uint8)}, r"`pixels` must be uint8 \[22, 8, 8, 3\], got uint8 \[3"),
        ({"pixels": np.zeros((COUNT, SIZE, SIZE, 3), np.float32)}, r"`pixels` must be uint8 .* got float32"),
        ({"manifest": TWO}, "`table` must hold only the labels a, b, got 'c' in 6 rows"),
        ({"labels": "binary"}, '`labels` can be "binary" for two classes only, got a, b, c'),
        ({"batch_size": 0}, "`batch_size` must be a whole number, 1 or more, got 0"),
        ({"seed": -1}, "`seed` must be a whole number, from 0 to 2147483647, got -1"),
        ({"repeat": 1.5}, "`repeat` must be a whole number"),
        ({"balance": "x"}, "`balance` must be one of none, oversample, got 'x'"),
        ({"policy": "x"}, "`policy` must be one of"),
    ],
)
def test_what_is_wrong_is_named(table, pixels, options, message):
    with pytest.raises(InputError, match=message):
        pipeline(table, options.pop("pixels", pixels), training=True, **options)


def test_every_wrong_argument_is_named_at_once(table, pixels):
    with pytest.raises(InputError) as caught:
        pipeline(table[:0], pixels, batch_size=0, labels="words")
    assert len(str(caught.value).splitlines()) == 3


def test_steps_per_epoch_from_a_number():
    assert steps_per_epoch(10, 4) == 2 and steps_per_epoch(10, 4, training=False) == 3
    with pytest.raises(InputError, match="`table` must be the table"):
        steps_per_epoch(10, 4, balance="oversample")


@pytest.mark.slow
def test_the_interpreter_stops_while_batches_are_being_prepared():
    code = """
import types, numpy as np, pandas as pd
from leukemia_tf.data.pipeline import make_pipeline
table = pd.DataFrame({"path": [str(i) for i in range(64)], "label": ["a", "b"] * 32})
pixels = np.zeros((64, 64, 64, 3), np.uint8)
manifest = types.SimpleNamespace(classes=("a", "b"))
kept = []
for policy in ("none", "cells", "d4", "cells"):
    kept.append(iter(make_pipeline(
        table, manifest=manifest, image_size=64, batch_size=32, policy=policy, training=True, pixels=pixels
    )))
    next(kept[-1])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300).returncode == 0
