"""A few steps of a list: how many, which, in which order."""

import json

import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment import SomeOf, get_policy
from leukemia_tf.data.augment.d4 import Symmetry, apply_d4
from leukemia_tf.data.augment.step import Step
from leukemia_tf.errors import InputError


class Append(Step):
    """Writes its own digit behind those that an image of one pixel holds already."""

    name = "append"

    def __init__(self, digit):
        object.__setattr__(self, "digit", digit)

    def __call__(self, images, labels, seed):
        return images * 10 + self.digit, labels


def written(least, most, digits, count=6000, seed=(1, 2)):
    step = SomeOf(least, most, tuple(map(Append, digits)))
    result, labels = step(tf.zeros([count, 1, 1, 3]), "labels", tf.constant(seed))
    assert labels == "labels"
    return [str(int(value)) if value else "" for value in result.numpy()[:, 0, 0, 0]]


def test_every_number_choice_and_order_is_equally_likely():
    seen = written(1, 2, [1, 2, 3])
    assert all(len(set(text)) == len(text) for text in seen)  # without replacement
    assert abs(np.mean([len(text) == 1 for text in seen]) - 0.5) < 0.025
    for length, kinds in ((1, 3), (2, 6)):
        counts = np.unique([text for text in seen if len(text) == length], return_counts=True)[1]
        assert len(counts) == kinds and np.abs(counts / counts.sum() * kinds - 1).max() < 0.2


def test_none_and_all():
    assert set(written(0, 0, [1, 2], 20)) == {""}
    assert set(written(2, 2, [1, 2], 50)) == {"12", "21"}


def test_in_a_graph_as_without(seed=(5, 6)):
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (6, 12, 12, 3)).astype(np.float32))
    step = get_policy("published_001a_offline").steps[0]
    expected = step(images, None, tf.constant(seed))[0]
    traced = tf.function(lambda x, s: step(x, None, s)[0])
    np.testing.assert_allclose(traced(images, tf.constant(seed)), expected, atol=1e-3)


def test_published_offline_list_takes_three_to_five_of_twelve():
    (step,) = get_policy("published_001a_offline").steps
    assert (step.least, step.most, len(step.steps)) == (3, 5, 12)
    again = get_policy(json.loads(json.dumps(step.describe()))["steps"])
    assert again.steps == step.steps
    assert "some_of(3 to 5 of: symmetry(element=4); " in str(step)


@pytest.mark.parametrize(
    "element, expected",
    [
        (4, lambda x: x[:, ::-1]),
        (6, lambda x: x[::-1]),
        (1, lambda x: np.rot90(x)),
        (2, lambda x: x[::-1, ::-1]),
        (3, lambda x: np.rot90(x, 3)),
    ],
)
def test_symmetries_of_the_published_list(element, expected):
    image = np.random.default_rng(0).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    result = Symmetry(element)(tf.constant(image), None, tf.constant([0, 0]))[0]
    np.testing.assert_array_equal(result, np.stack([expected(one) for one in image]))
    np.testing.assert_array_equal(result, apply_d4(tf.constant(image), tf.fill([2], element)))


@pytest.mark.parametrize(
    "numbers, message",
    [
        ({"least": 2, "most": 1, "steps": [{"step": "d4"}] * 3}, "`most` of step `some_of` must be .* from 2 to 3"),
        ({"least": 1, "most": 2, "steps": [{"step": "d4"}]}, "`most` of step `some_of`.*got 2"),
        ({"least": 0, "most": 1, "steps": [{"step": "smear"}]}, "got {'step': 'smear'}"),
        ({"least": 0, "most": 1, "steps": [{"step": "symmetry", "element": 8}]}, "`element` of step `symmetry`"),
    ],
)
def test_wrong_numbers_are_named(numbers, message):
    with pytest.raises(InputError, match=message):
        get_policy([{"step": "some_of", **numbers}])


def test_steps_that_mix_images_are_refused():
    pytest.importorskip("keras_cv")
    with pytest.raises(InputError, match="must leave labels alone, got mix_up"):
        get_policy([{"step": "some_of", "steps": [{"step": "mix_up"}]}])
