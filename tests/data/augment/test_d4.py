"""The eight symmetries of a square against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.d4 import D4, apply_d4, d4_matrices
from leukemia_tf.data.augment.warp import warp_images


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0, 255, (7, 7, 3)).astype(np.float32)


def eight(image):
    return [np.rot90(base, turns) for base in (image, np.fliplr(image)) for turns in range(4)]


def test_each_element_is_what_numpy_gives(image):
    result = apply_d4(tf.constant(np.stack([image] * 8)), tf.range(8))
    np.testing.assert_array_equal(result, np.stack(eight(image)))


def test_the_eight_elements_differ(image):
    assert len({variant.tobytes() for variant in map(np.ascontiguousarray, eight(image))}) == 8


def test_matrices_move_the_same_pixels(image):
    result = warp_images(tf.constant(np.stack([image] * 8)), d4_matrices(7, tf.range(8)))
    np.testing.assert_allclose(result, np.stack(eight(image)), atol=1e-3)


def test_each_element_is_equally_likely():
    counts = np.bincount(D4().elements(8000, tf.constant([1, 2])), minlength=8)
    # Chi-squared with 7 degrees of freedom: 24.3 is passed once in a thousand seeds.
    assert len(counts) == 8 and ((counts - 1000) ** 2 / 1000).sum() < 24.3


def test_each_image_has_its_own_element(image):
    result, labels = D4()(tf.constant(np.stack([image] * 64)), tf.ones([64, 1]), tf.constant([0, 7]))
    known = {np.ascontiguousarray(variant).tobytes() for variant in eight(image)}
    seen = {row.tobytes() for row in result.numpy()}
    assert seen == known
    np.testing.assert_array_equal(labels, 1)
