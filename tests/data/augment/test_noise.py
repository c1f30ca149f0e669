"""Blur, auto-contrast, salt and pepper, and elastic deformation against OpenCV, Pillow, SciPy and counting."""

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import scipy.ndimage
import tensorflow as tf

from leukemia_tf.data.augment import AutoContrast, Blur, Elastic, SaltPepper
from leukemia_tf.data.augment.elastic import deform
from leukemia_tf.errors import InputError

SEED = (3, 4)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(20, 230, (4, 24, 24, 3)).astype(np.float32)


def apply(step, images, seed=SEED):
    result, labels = step(tf.constant(images), "labels", tf.constant(seed))
    assert result.shape == images.shape and result.dtype == tf.float32 and labels == "labels"
    return result.numpy()


@pytest.mark.parametrize("step", [Blur(), AutoContrast(), SaltPepper(), Elastic()], ids=lambda step: step.name)
def test_result_follows_from_the_seed_and_keeps_its_range(images, step):
    one, two, other = apply(step, images), apply(step, images), apply(step, images, (3, 5))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other) and one.min() >= 0 and one.max() <= 255


def test_blur_is_a_weighted_mean_of_neighbours(images):
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.1) ** 2)
    weights /= weights.sum()
    expected = images
    for axis in (1, 2):
        expected = scipy.ndimage.convolve1d(expected, weights, axis, mode="mirror")  # torchvision's "reflect"
    np.testing.assert_allclose(apply(Blur(kernel=5, sigma=(1.1, 1.1)), images), expected, atol=1e-2)


def test_blur_has_its_probability_and_range():
    point = np.zeros((3000, 3, 3, 3), np.float32)
    point[:, 1, 1] = 100
    centre = apply(Blur(3, (0.1, 2.0), 0.3), point)[:, 1, 1, 0]
    # With sigma 2 the centre keeps 1 / (1 + 2 exp(-1/8)) of it in each axis, with .1 all.
    assert abs((centre < 99.99).mean() - 0.3 * (2 - 0.26) / 1.9) < 0.03  # below .26 nobody sees a blur
    least = 100 / (1 + 2 * np.exp(-1 / 8)) ** 2
    assert least - 1e-3 <= centre.min() < least + 0.1


def test_auto_contrast_agrees_with_pillow(images):
    images[0, ..., 1] = 80  # a channel of one value stays
    result = apply(AutoContrast(probability=1), np.floor(images))
    for image, stretched in zip(images, result):
        expected = PIL.ImageOps.autocontrast(PIL.Image.fromarray(image.astype(np.uint8)))
        np.testing.assert_allclose(stretched, np.asarray(expected, np.float32), atol=1.01)  # Pillow rounds down


def test_auto_contrast_has_its_probability():
    images = np.broadcast_to(np.float32([[[[50], [100]]]]), (4000, 1, 2, 3))
    stretched = apply(AutoContrast(probability=0.3), images).max((1, 2, 3)) == 255
    assert abs(stretched.mean() - 0.3) < 0.025


def test_salt_and_pepper_in_equal_parts():
    result = apply(SaltPepper(fraction=0.06), np.full((4, 100, 100, 3), 90, np.float32))
    assert set(np.unique(result)) == {0, 90, 255}
    assert (result == result[..., :1]).all()  # whole pixels
    for value in (0, 255):
        assert abs((result == value).mean() - 0.03) < 0.003


def test_elastic_samples_where_scipy_does(images):
    generator = np.random.default_rng(1)
    noise = generator.uniform(-1, 1, (4, 2, 24, 24)).astype(np.float32)
    result = deform(images, noise, np.float32([10, 20, 30, 0]), np.float32([2, 3, 4, 2]))
    for number, (alpha, sigma) in enumerate([(10, 2), (20, 3), (30, 4)]):
        right, down = (alpha * scipy.ndimage.gaussian_filter(part, sigma, mode="mirror") for part in noise[number])
        rows, columns = np.indices((24, 24))
        for channel in range(3):
            expected = scipy.ndimage.map_coordinates(
                images[number, ..., channel], [rows + down, columns + right], order=1, mode="reflect"
            )
            # Noise is the worst case for small differences in a coordinate.
            assert np.abs(result[number, ..., channel] - expected).mean() < 1
    np.testing.assert_array_equal(result[3], images[3])


@pytest.mark.parametrize("size", [90, 450])
def test_elastic_moves_by_the_same_share_of_the_side(size):
    """On a ramp the result minus the image is the shift, here in hundredths of the side."""
    ramp = np.broadcast_to(np.linspace(0, 100, size, dtype=np.float32)[None, None, :, None], (3, size, size, 3))
    shift = (apply(Elastic(alpha=(50, 50), sigma=(5, 5)), ramp) - ramp)[:, 9:-9, 9:-9]
    # Smoothing by sigma leaves 1 / (2 sigma sqrt(pi)) of the noise's standard deviation, 1 / sqrt(3).
    expected = 50 / np.sqrt(3) / (2 * 5 * np.sqrt(np.pi)) / 450 * 100
    assert abs(shift.std() / expected - 1) < 0.08


@pytest.mark.parametrize(
    "make, field",
    [
        (lambda: Blur(kernel=4), "kernel"),
        (lambda: Blur(sigma=(2, 1)), "sigma"),
        (lambda: Blur(sigma=3), "sigma"),
        (lambda: AutoContrast(probability=1.5), "probability"),
        (lambda: SaltPepper(fraction=-1), "fraction"),
        (lambda: Elastic(side=1.5), "side"),
        (lambda: Elastic(alpha=(1, True)), "alpha"),
    ],
)
def test_wrong_numbers_are_named(make, field):
    with pytest.raises(InputError, match=f"`{field}` of step"):
        make()
