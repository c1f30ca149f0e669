"""The eight symmetries of a square against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.d4 import D4, D4_NAMES, apply_d4, d4_matrices, d4_view
from leukemia_tf.data.augment.warp import warp_images
from leukemia_tf.errors import InputError


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0, 255, (7, 7, 3)).astype(np.float32)


def eight(image):
    return [np.rot90(base, turns) for base in (image, np.fliplr(image)) for turns in range(4)]


def test_each_element_is_what_numpy_gives(image):
    result = apply_d4(tf.constant(np.stack([image] * 8)), tf.range(8))
    np.testing.assert_array_equal(result, np.stack(eight(image)))


def test_views_are_the_same_moves_without_a_copy(image, tmp_path):
    pixels = np.lib.format.open_memmap(tmp_path / "pixels.npy", "w+", image.dtype, (2, 7, 7, 3))
    pixels[:] = image, image + 1
    for element, expected in enumerate(eight(image)):
        view = d4_view(pixels, element)
        np.testing.assert_array_equal(view, [expected, expected + 1])
        assert np.shares_memory(view, pixels)
    assert D4_NAMES[0] == "0" and D4_NAMES[1] == "90" and D4_NAMES[4] == "mirrored_0" and len(set(D4_NAMES)) == 8
    for element in (8, -1, True, 1.0):
        with pytest.raises(InputError, match="`element` must be a whole number from 0 to 7. Received"):
            d4_view(pixels, element)
    with pytest.raises(InputError, match=r"`images` must have the shape \(B, S, S, C\). Received"):
        d4_view(pixels[:, :5], 1)


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
