"""Grey-world and Reinhard against OpenCV, NumPy and the formulas of CIE Lab."""

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.colour import fit_reinhard
from leukemia_tf.errors import InputError
from leukemia_tf.layers import GreyWorld, Reinhard
from leukemia_tf.layers._lab import lab_to_rgb, rgb_to_lab

MEAN, STD = (62.0, 18.0, -14.0), (9.0, 5.0, 4.0)


def cells(count=2, size=24, seed=0):
    """Pale purple images, uint8, with a black margin on the left, as of cells that were cut out."""
    rng = np.random.default_rng(seed)
    images = rng.normal((170, 120, 180), (25, 20, 15), (count, size, size, 3)).clip(40, 240).astype(np.uint8)
    images[:, :, :6] = 0
    return images


def lab_of(image):
    """OpenCV's float32 Lab of one image in [0, 255]."""
    return cv2.cvtColor(np.asarray(image, np.float32) / 255, cv2.COLOR_RGB2LAB)


# sRGB by the tables of Lindbloom's calculator, D65: L, a, b
KNOWN = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (255, 0, 0): (53.2408, 80.0925, 67.2032),
    (0, 255, 0): (87.7347, -86.1827, 83.1793),
    (0, 0, 255): (32.2970, 79.1875, -107.8602),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (119, 119, 119): (50.0344, 0.0, 0.0),
}


def test_lab_of_known_colours():
    found = rgb_to_lab(np.array(list(KNOWN), "float32"))
    np.testing.assert_allclose(found, list(KNOWN.values()), atol=0.02)


def test_lab_agrees_with_opencv():
    """Which reads float32 off a grid of colours between which it interpolates: to half a unit."""
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    expected = np.stack([lab_of(image) for image in images])
    found = rgb_to_lab(images).numpy()
    np.testing.assert_allclose(found, expected, atol=0.6)
    assert np.abs(found - expected).mean() < 0.15


def test_lab_and_back():
    levels = np.arange(0, 256, 15, dtype="float32")
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(colours)), colours, atol=0.02)


def test_reinhard_gives_mean_and_deviation_of_the_reference():
    images = cells()
    result = Reinhard(MEAN, STD)(images).numpy()
    for before, after in zip(images, result):
        lab = lab_of(after)[:, 6:].reshape(-1, 3)
        np.testing.assert_allclose(lab.mean(axis=0), MEAN, atol=0.15)
        np.testing.assert_allclose(lab.std(axis=0), STD, atol=0.15)
        np.testing.assert_array_equal(after[:, :6], before[:, :6])


def test_reinhard_agrees_with_opencv():
    (image,) = cells(1)
    lab = lab_of(image).astype("float64")
    inside = lab[:, 6:].reshape(-1, 3)
    lab = (lab - inside.mean(axis=0)) / inside.std(axis=0) * STD + MEAN
    expected = cv2.cvtColor(lab.astype("float32"), cv2.COLOR_LAB2RGB) * 255
    np.testing.assert_allclose(Reinhard(MEAN, STD)(image[None])[0, :, 6:], expected[:, 6:], atol=1.5)


def test_reinhard_to_itself_changes_nothing():
    images = cells(1)
    np.testing.assert_allclose(Reinhard(**fit_reinhard(images))(images), images, atol=1.0)


def test_grey_world_by_hand():
    images = cells().astype("float32") / 2
    result = GreyWorld()(images).numpy()
    for before, after in zip(images, result):
        means = before[:, 6:].mean(axis=(0, 1))
        np.testing.assert_allclose(after[:, 6:], before[:, 6:] * means.mean() / means, rtol=1e-4)
        np.testing.assert_allclose(after[:, 6:].mean(axis=(0, 1)), means.mean(), rtol=1e-4)
        np.testing.assert_array_equal(after[:, :6], before[:, :6])


@pytest.mark.parametrize("layer", [GreyWorld(), Reinhard(MEAN, STD)], ids=["grey_world", "reinhard"])
def test_extremes(layer):
    """Black, white, one colour, one channel, noise: in range, and with gradients that are numbers."""
    images = np.zeros((6, 8, 8, 3), "float32")
    images[1], images[2], images[3, ..., 0] = 255, (90, 40, 120), 255
    images[4] = np.random.default_rng(1).integers(0, 256, (8, 8, 3))
    images[5, 2:6, 2:6] = 9
    with tf.GradientTape() as tape:
        pixels = tf.constant(images)
        tape.watch(pixels)
        result = layer(pixels)
        error = tf.reduce_sum(result)
    assert np.isfinite(tape.gradient(error, pixels)).all()
    assert np.isfinite(result).all() and np.min(result) >= 0 and np.max(result) <= 255
    np.testing.assert_array_equal(result[0], images[0])
    assert np.ptp(result[2], axis=(0, 1)).max() < 1e-2


def test_one_colour_becomes_the_mean():
    image = np.full((1, 8, 8, 3), (90, 40, 120), "float32")
    np.testing.assert_allclose(lab_of(Reinhard(MEAN, STD)(image)[0]), np.tile(MEAN, (8, 8, 1)), atol=0.5)
    np.testing.assert_allclose(GreyWorld()(image), np.full((1, 8, 8, 3), 250 / 3), rtol=1e-5)


def test_noise_of_a_uniform_image_is_not_blown_up():
    image = np.full((1, 8, 8, 3), 120, "float32")
    image[0, ::2] += 1
    # One grey level is 0.4 of L: at most 9 times as much, where a whole deviation of 9 would span 18.
    assert np.ptp(lab_of(Reinhard(MEAN, STD)(image)[0])[..., 0]) < 4


def test_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layers = [GreyWorld(), Reinhard(MEAN, STD)]
    finally:
        keras.config.set_dtype_policy(before)
    for layer in layers:
        assert layer.compute_dtype == "float32" and layer(cells()).dtype == tf.float32


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Reinhard((1, 2), STD), "`mean` must be three numbers, for L, a and b. Received: .1, 2."),
        (lambda: Reinhard(MEAN, (1, -2, 3)), "`std` must be three numbers of at least 0, for L, a and b. Received"),
        (lambda: Reinhard((1, 2, float("nan")), STD), "`mean` must be three numbers"),
        (lambda: GreyWorld(black=300), "`black` must be a grey level from 0 to 255. Received: 300"),
        (lambda: GreyWorld().build((None, 8, 8, 1)), "`GreyWorld` takes images .*Received: shape .None, 8, 8, 1."),
        (lambda: Reinhard(MEAN, STD).build((8, 8, 3)), "`Reinhard` takes images .*Received: shape .8, 8, 3."),
    ],
)
def test_what_is_wrong_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
