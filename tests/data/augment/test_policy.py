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

PLAIN = ["none", "d4", "cells", "published_002"]


@pytest.fixture
def batch():
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
    return tf.constant(images), tf.one_hot(np.arange(8) % 3, 3)


def test_names():
    assert list_policies() == ["cells", "d4", "none", "published_002", "strong"]
    assert get_policy().name == "cells"


@pytest.mark.parametrize("name", PLAIN + ["strong"])
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


def test_a_list_of_steps():
    policy = get_policy([{"step": "d4"}, {"step": "color", "hue": 0.1}])
    assert [step.name for step in policy.steps] == ["d4", "color"]
    assert policy.steps[1].hue == 0.1
    assert get_policy(policy) is policy


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("cell", "`policy` must be one of cells, d4, none, published_002, strong, got 'cell'"),
        ([{"step": "blur"}], "got {'step': 'blur'}"),
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
