"""Colour jitter against Pillow, which is what torchvision calls, and against the standard library's HSV."""

import colorsys

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.color_jitter import ColorJitter, brighten, change_contrast, saturate, turn_hue
from leukemia_tf.errors import InputError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3)).astype(np.float32)


@pytest.mark.parametrize("amount", [-0.4, 0.0, 0.3])
@pytest.mark.parametrize(
    "change, enhancer",
    [
        (brighten, PIL.ImageEnhance.Brightness),
        (change_contrast, PIL.ImageEnhance.Contrast),
        (saturate, PIL.ImageEnhance.Color),
    ],
)
def test_agrees_with_pillow(images, change, enhancer, amount):
    for image in images:
        expected = enhancer(PIL.Image.fromarray(image.astype(np.uint8))).enhance(1 + amount)
        # Pillow rounds the greyscale image (or its mean) and the result.
        np.testing.assert_allclose(np.clip(change(image, amount), 0, 255), np.asarray(expected, np.float32), atol=1.6)


@pytest.mark.parametrize("amount", [-0.1, 0.5, 1 / 3])
def test_hue_agrees_with_the_standard_library(images, amount):
    for image in images:
        turned = turn_hue(image, np.float32(amount)).reshape(-1, 3)
        for pixel, result in zip(image.reshape(-1, 3) / 255, turned):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb((hue + amount) % 1, saturation, value)
            np.testing.assert_allclose(result / 255, expected, atol=1e-4)


@pytest.mark.parametrize(
    "field, picture, read",
    [
        ("brightness", [[100] * 3, [100] * 3], lambda x: x[:, 0, 0, 0]),
        ("contrast", [[50] * 3, [150] * 3], lambda x: x[:, 1, 0, 0] - x[:, 0, 0, 0]),
        ("saturation", [[150, 50, 50]] * 2, lambda x: x[:, 0, 0, 0] - x[:, 0, 0, 1]),
    ],
)
def test_factors_are_drawn_from_their_range(field, picture, read):
    """Pictures of two pixels, of which one number is 100 times the factor."""
    images = tf.constant(np.float32([[[row] for row in picture]] * 3000))
    values = read(ColorJitter(**{field: 0.3})(images, None, tf.constant([1, 2]))[0].numpy())
    assert 70 - 0.01 <= values.min() < 70.5 and 129.5 < values.max() <= 130.01
    assert abs(values.mean() - 100) < 1.5  # 4.7 standard deviations


def test_hue_is_drawn_from_its_range():
    images = tf.constant(np.float32([[[[0, 200, 200]]]] * 3000))  # cyan, half a turn from red
    result = ColorJitter(hue=0.1)(images, None, tf.constant([1, 2]))[0].numpy()[:, 0, 0]
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in result])
    assert 0.4 - 1e-4 <= hues.min() < 0.401 and 0.599 < hues.max() <= 0.6 + 1e-4 and abs(hues.mean() - 0.5) < 0.005


def test_the_order_is_drawn_for_each_image():
    """Brightness 1.2 clips a pixel of 250 if it comes before contrast .5, and not if it comes after."""
    half = np.zeros((1, 2, 1, 3), np.float32)
    half[0, 0] = 250
    jitter = ColorJitter(brightness=0.5, contrast=0.5)
    amounts = np.array([[0.2, -0.5, 0, 0]] * 2, np.float32)
    orders = np.array([[0, 1, 2, 3], [1, 0, 2, 3]])
    first, second = jitter._jitter(half.repeat(2, 0), amounts, orders)
    np.testing.assert_allclose(first[:, 0, 0], [255 * 0.75, 255 * 0.25])  # clipped to 255 first, mean 127.5
    np.testing.assert_allclose(second[:, 0, 0], [187.5 * 1.2, 62.5 * 1.2])


def test_result_follows_from_the_seed_and_keeps_its_range(images):
    step = ColorJitter(0.3, 0.3, 0.3, 0.1)
    one, two, other = (
        step(tf.constant(images), None, tf.constant(seed))[0].numpy() for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other) and one.min() >= 0 and one.max() <= 255
    same = step(tf.constant(images[[0, 0]]), None, tf.constant([1, 2]))[0].numpy()
    assert not np.allclose(same[0], same[1])  # each image has numbers of its own


def test_nothing_to_change_changes_nothing(images):
    np.testing.assert_array_equal(ColorJitter()(tf.constant(images), None, tf.constant([1, 2]))[0], images)


def test_wrong_numbers_are_named():
    with pytest.raises(InputError, match="`hue` of step `color_jitter`.*got 0.7"):
        ColorJitter(hue=0.7)
