"""Policies: names, printing, saving, and that a result follows from its seed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment import get_policy, list_policies, register_policy
from leukemia_tf.data.augment import policy as policy_module
from leukemia_tf.errors import InputError

PUBLISHED = [
    "published_001a",
    "published_001a_offline",
    "published_001b",
    "published_002",
    "published_003",
    "published_004",
    "published_004_described",
]
PLAIN = ["none", "d4", "cells", "stain", *PUBLISHED]
MIXING = ["published_001_baselines", "strong"]  # with steps of keras-cv


@pytest.fixture
def batch():
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
    return tf.constant(images), tf.one_hot(np.arange(8) % 3, 3)


def test_names():
    assert list_policies() == sorted(PLAIN + MIXING)
    assert get_policy().name == "cells"


@pytest.mark.parametrize("name", PLAIN + MIXING)
def test_describe_survives_json(name):
    policy = get_policy(name)
    assert get_policy(json.loads(json.dumps(policy.describe()))) == policy
    assert str(policy).startswith(f"{name}: ")


def test_text_holds_the_numbers():
    assert "warp(flip_horizontal=True" in str(get_policy("published_002"))
    assert "rotation=54.0, zoom=0.15" in str(get_policy("published_002"))


@pytest.mark.parametrize("name", PLAIN)
def test_the_result_follows_from_the_seed(batch, name):
    policy = get_policy(name, 16)
    one, two, other = (policy(*batch, tf.constant(seed))[0] for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(one, two)
    assert (name == "none") == np.array_equal(one, other)
    assert one.dtype == tf.float32 and one.shape == batch[0].shape
    assert tf.reduce_min(one) >= 0 and tf.reduce_max(one) <= 255


def test_none_changes_nothing(batch):
    images, labels = get_policy("none")(*batch, tf.constant([0, 0]))
    np.testing.assert_array_equal(images, batch[0])
    np.testing.assert_array_equal(labels, batch[1])


def test_turning_within_the_warp_gives_the_same_image(batch):
    policy, seed = get_policy("cells"), tf.constant([4, 5])
    expected = batch[0]
    for number, step in enumerate(policy.steps):
        expected, _ = step(expected, None, tf.random.experimental.stateless_fold_in(seed, number))
    # Noise is the worst case: OpenCV 4 rounds coordinates to 1/32 of a pixel.
    assert np.abs(policy(*batch, seed)[0] - expected).max() < 12


@pytest.mark.parametrize("name", ["none", "d4", "cells", "stain", "published_001a", "published_002"])
def test_bytes_and_floats_give_the_same_images(batch, name):
    images = tf.round(batch[0])
    ours = [get_policy(name)(tf.cast(images, kind), batch[1], tf.constant([4, 5]))[0] for kind in ("float32", "uint8")]
    assert ours[1].dtype == tf.float32
    np.testing.assert_array_equal(*ours)


def test_colours_behind_a_warp_are_those_of_two_steps(batch):
    warp, color = {"step": "warp", "rotation": 20.0}, {"step": "color", "contrast": 0.3, "brightness": 0.2, "hue": 0.1}
    steps, seed = get_policy([warp, color]).steps, tf.constant([4, 5])
    expected = batch[0]
    for number, step in enumerate(steps):
        expected, _ = step(expected, None, tf.random.experimental.stateless_fold_in(seed, number))
    np.testing.assert_array_equal(get_policy([warp, color])(*batch, seed)[0], expected)


def test_two_warps_in_a_row_are_one(batch):
    """As if one came after the other, but for the borders and the blur of a second resampling."""
    turn, move = {"step": "warp", "rotation": 180.0}, {"step": "warp", "translation": 0.1, "zoom": 0.1}
    smooth = tf.image.resize(tf.image.resize(batch[0], [4, 4], antialias=True), [48, 48], "bicubic")
    seed = tf.constant([6, 7])
    one, two = get_policy([turn]).steps[0], get_policy([move]).steps[0]
    fold = tf.random.experimental.stateless_fold_in
    expected = two(one(smooth, None, fold(seed, 0))[0], None, fold(seed, 1))[0]
    together = get_policy([turn, move])(smooth, batch[1], seed)[0]
    inside = (slice(None), slice(17, 31), slice(17, 31))
    assert np.abs(together[inside] - expected[inside]).max() < 2
    # Another fill can't be joined: then they are two warps indeed.
    apart = get_policy([turn, {**move, "fill": "constant"}])(smooth, batch[1], seed)[0]
    np.testing.assert_array_equal(apart[inside], expected[inside])


@pytest.mark.parametrize("name", PUBLISHED)
def test_batches_do_not_depend_on_how_many_threads_prepare_them(batch, name):
    policy = get_policy(name)

    def images(parallel):
        numbers = tf.data.Dataset.range(3, output_type=tf.int32)
        return np.stack([x for x, _ in numbers.map(lambda n: policy(*batch, tf.stack([n, 9])), parallel)])

    np.testing.assert_array_equal(images(1), images(4))


def test_published_004_mirrors_half_of_the_images(batch):
    images = tf.tile(batch[0][:1], [2000, 1, 1, 1])
    result, _ = get_policy("published_004")(images, tf.ones([2000, 1]), tf.constant([8, 9]))
    mirrored = np.abs(result - images[:, :, ::-1]).max((1, 2, 3)) < 1e-2
    same = np.abs(result - images).max((1, 2, 3)) < 1e-2
    assert (mirrored ^ same).all() and abs(mirrored.mean() - 0.5) < 0.04  # .04 is 3.6 standard deviations


def test_a_list_of_steps():
    policy = get_policy([{"step": "d4"}, {"step": "color", "hue": 0.1}])
    assert [step.name for step in policy.steps] == ["d4", "color"]
    assert policy.steps[1].hue == 0.1
    assert get_policy(policy) is policy


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("cell", "`policy` must be one of cells, d4, none, published_.*, stain, strong, got 'cell'"),
        ([{"step": "smear"}], "got {'step': 'smear'}"),
        ([{"step": "warp", "angle": 3}], "step `warp` takes .*rotation.*, got angle"),
        (3, "`policy` must be a name.*got int: 3"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        get_policy(wrong)


def test_register(monkeypatch):
    monkeypatch.setattr(policy_module, "_POLICIES", dict(policy_module._POLICIES))
    register_policy("flips", [{"step": "warp", "flip_horizontal": True}])
    assert get_policy("flips").steps[0].flip_horizontal
    with pytest.raises(InputError, match="`name` must be new"):
        register_policy("cells", [])
    with pytest.raises(InputError):
        register_policy("bad", [{"step": "nothing"}])


@pytest.mark.slow
def test_keras_cv_is_imported_by_strong_only():
    code = "import sys, leukemia_tf.data as d; d.get_policy('cells'); print('keras_cv' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
