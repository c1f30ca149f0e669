"""The resize without TensorFlow against the one with it: equal, not close."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from leukemia_tf.data.resize import resize_images
from leukemia_tf.data.resize_sparse import resize_image

# A compiler for other processors may fuse multiplication and addition.
ALLOWED = 0 if platform.machine() in ("x86_64", "AMD64") else 1


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "height, width, size",
    [(363, 360, 64), (360, 360, 224), (17, 300, 32), (1, 1, 5), (5, 1, 9), (64, 64, 96), (128, 128, 64), (31, 7, 13)],
)
def test_pixels_are_those_of_the_pipeline(height, width, size):
    image = random_image(height, width)
    expected = resize_images(image, size).numpy().astype(int)
    found = resize_image(image, size)
    assert found.dtype == np.uint8 and found.shape == (size, size, 3)
    assert np.abs(found.astype(int) - expected).max() <= ALLOWED


def test_many_sizes_and_few_grey_levels():
    """Few levels give sums that end on a half, where rounding shows the smallest difference."""
    random = np.random.default_rng(1)
    for seed in range(60):
        height, width, size = (int(value) for value in random.integers(1, 200, 3))
        image = random_image(height, width, seed) // 64 * 64
        expected = resize_images(image, size).numpy().astype(int)
        assert np.abs(resize_image(image, size).astype(int) - expected).max() <= ALLOWED, (height, width, size)


def test_half_the_size_by_hand():
    """Triangle of two input pixels to each side: weights 1/8, 3/8, 3/8, 1/8; 0 at the border, then normalised."""
    image = np.repeat(np.array([[0, 80, 160, 240]], np.uint8).T[:, None, :], 3, axis=2).repeat(4, axis=1)
    first = (3 * 0 + 3 * 80 + 1 * 160) / 7
    second = (1 * 80 + 3 * 160 + 3 * 240) / 7
    np.testing.assert_array_equal(resize_image(image, 2)[:, 0, 0], np.round([first, second]))


def test_an_image_of_that_size_is_itself():
    image = random_image(9, 9)
    assert resize_image(image, 9) is image


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_bad_size_is_refused(size):
    with pytest.raises(ValueError, match="`size`"):
        resize_image(random_image(4, 4), size)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)])
def test_another_array_is_refused(image):
    with pytest.raises(ValueError, match="`image`"):
        resize_image(image, 2)
