"""The colour step against Pillow, Keras and channel arithmetic."""

import keras
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.color import Color, adjust_colors, color_matrices
from leukemia_tf.errors import InputError


@pytest.fixture
def images():
    return tf.constant(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.float32))


ONE, ZERO = tf.ones([2]), tf.zeros([2])


def test_a_third_of_a_hue_turn_permutes_the_channels(images):
    turned = adjust_colors(images, ONE, ZERO, color_matrices(ONE * 2 * np.pi / 3, ONE))
    np.testing.assert_allclose(turned, np.roll(images, 1, axis=-1), atol=1e-3)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_saturation_agrees_with_pillow(images, factor):
    ours = adjust_colors(images, ONE, ZERO, color_matrices(ZERO, ONE * factor)).numpy()
    for image, result in zip(images.numpy().astype(np.uint8), ours):
        expected = PIL.ImageEnhance.Color(PIL.Image.fromarray(image)).enhance(factor)
        np.testing.assert_allclose(result, np.asarray(expected, np.float32), atol=1.6)  # Pillow rounds down twice


def test_contrast_agrees_with_keras(images):
    factors = tf.constant([0.85, 1.15])
    layer = keras.layers.RandomContrast(0.15)
    expected = layer.transform_images(images, {"contrast_factor": factors[:, None, None, None]})
    np.testing.assert_allclose(adjust_colors(images, factors, ZERO), expected, atol=1e-3)


def test_contrast_with_matrix_is_about_the_new_mean(images):
    matrices = color_matrices(ONE * 0.2, ONE * 1.1)
    small = images * 0.2 + 100  # stays clear of 0 and 255
    moved = adjust_colors(small, ONE, ZERO, matrices).numpy()
    mean = moved.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(adjust_colors(small, ONE * 1.1, ZERO, matrices), mean + 1.1 * (moved - mean), atol=1e-3)


def test_brightness_is_added_and_clipped(images):
    np.testing.assert_allclose(
        adjust_colors(images, ONE, tf.constant([20.0, -30.0])),
        np.clip(images.numpy() + np.array([20, -30])[:, None, None, None], 0, 255),
        atol=1e-4,
    )


def test_brightness_is_drawn_from_its_range():
    grey = tf.fill([2000, 1, 1, 3], 100.0)
    result, _ = Color(brightness=0.2)(grey, None, tf.constant([5, 6]))
    shift = result.numpy()[:, 0, 0, 0] - 100
    assert -51.001 <= shift.min() < -50 and 50 < shift.max() <= 51.001 and abs(shift.mean()) < 3


def test_wrong_numbers_are_named():
    with pytest.raises(InputError, match="`hue` of step `color`.*got 0.7"):
        Color(hue=0.7)
