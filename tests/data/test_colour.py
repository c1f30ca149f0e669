"""What Reinhard's method is fitted to, and CLAHE, against OpenCV and NumPy."""

import cv2
import numpy as np
import pytest

from leukemia_tf.data.colour import clahe, fit_reinhard
from leukemia_tf.errors import InputError


@pytest.fixture
def pixels():
    images = np.random.default_rng(0).integers(20, 256, (5, 32, 32, 3)).astype(np.uint8)
    images[:, :9] = 0
    return images


def test_fit_is_the_average_of_the_images(pixels):
    found = fit_reinhard(pixels)
    lab = [cv2.cvtColor((image[9:] / 255).astype("float32"), cv2.COLOR_RGB2LAB).reshape(-1, 3) for image in pixels]
    np.testing.assert_allclose(found["mean"], np.mean([one.mean(axis=0) for one in lab], axis=0), atol=1e-3)
    np.testing.assert_allclose(found["std"], np.mean([one.std(axis=0) for one in lab], axis=0), atol=1e-3)
    assert all(type(number) is float for numbers in found.values() for number in numbers)


def test_black_images_do_not_count(pixels):
    black = np.zeros_like(pixels[:2])
    black[0, 3, 3] = 8  # as dark as a background may be
    assert fit_reinhard(np.concatenate([pixels, black])) == fit_reinhard(pixels)
    with pytest.raises(InputError, match="Received: 2 black images"):
        fit_reinhard(black)


def test_one_colour():
    found = fit_reinhard(np.full((2, 8, 8, 3), 119, np.uint8))
    np.testing.assert_allclose(found["mean"], [50.03, 0, 0], atol=0.3)
    np.testing.assert_allclose(found["std"], [0, 0, 0], atol=1e-3)


def test_other_pixels_are_refused(pixels):
    for wrong in (pixels[0], pixels.astype("float32")):
        with pytest.raises(InputError, match="uint8 .N, S, S, 3.*Received"):
            fit_reinhard(wrong)


def test_clahe_is_that_of_opencv_but_for_the_background(pixels):
    before = pixels.copy()
    result = clahe(pixels)
    np.testing.assert_array_equal(pixels, before)
    for image, found in zip(pixels, result):
        lightness, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
        equalised = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lightness)
        expected = cv2.cvtColor(cv2.merge([equalised, a, b]), cv2.COLOR_LAB2RGB)
        np.testing.assert_array_equal(found[9:], expected[9:])
        assert not found[:9].any()


def test_clahe_raises_the_contrast_of_a_pale_image():
    grey = np.random.default_rng(1).normal(165, 4, (1, 64, 64, 1)).round().astype(np.uint8)
    images = np.repeat(grey, 3, axis=-1)
    result = clahe(images)
    assert result.shape == images.shape and result.dtype == np.uint8 and result.std() > 1.5 * images.std()
    assert clahe(images[:, :4, :4]).shape == (1, 4, 4, 3)  # smaller than its tiles
