"""The one resize, against Pillow and by hand."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from leukemia_tf.data.resize import resize_images

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("height", "width", "size"), [(48, 48, 17), (30, 50, 16), (8, 9, 20), (64, 64, 32), (1, 1, 3)])
def test_agrees_with_pillow(height, width, size):
    image = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    result = resize_images(image, size)
    assert result.dtype == tf.float32 and result.shape == (size, size, 3)
    assert np.abs(result.numpy() - expected).max() <= 1


def test_halving_two_colours_by_hand():
    # Weights of the triangle filter at half size: 1/8 3/8 3/8 1/8, and without the part outside: 3/7 3/7 1/7.
    row = np.array([0, 80, 160, 240], np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, 4, 3))
    first = (0 * 3 + 80 * 3 + 160) / 7
    last = (80 + 160 * 3 + 240 * 3) / 7
    np.testing.assert_array_equal(resize_images(image, 2)[0, :, 0], np.round([first, last]))


def test_whole_numbers_in_range_so_that_uint8_loses_nothing():
    result = resize_images(RANDOM.uniform(-20, 280, (2, 40, 40, 3)), 13).numpy()
    np.testing.assert_array_equal(result, result.astype(np.uint8))


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 3), (2, 1, 8, 8, 3)])
def test_images_of_that_size_stay_as_they_are(shape):
    images = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(resize_images(images, 8), images)
    # Also where the graph does not know the size beforehand.
    unknown = tf.TensorSpec([None] * (len(shape) - 1) + [3], tf.uint8)
    np.testing.assert_array_equal(tf.function(lambda x: resize_images(x, 8), input_signature=[unknown])(images), images)


def test_alone_in_a_batch_and_in_batches_of_batches():
    images = RANDOM.integers(0, 256, (2, 3, 20, 24, 3), dtype=np.uint8)
    nested = resize_images(images, 11)
    assert nested.shape == (2, 3, 11, 11, 3)
    np.testing.assert_array_equal(nested[1, 2], resize_images(images[1, 2], 11))
    np.testing.assert_array_equal(nested[1], resize_images(images[1], 11))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_sizes_at_fault(size):
    with pytest.raises(ValueError, match="`size`"):
        resize_images(np.zeros((4, 4, 3), np.uint8), size)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (2, 4, 4, 4)])
def test_images_at_fault(shape):
    with pytest.raises(ValueError, match="`images`"):
        resize_images(np.zeros(shape, np.uint8), 4)
