"""The stain step against NumPy: colours that are made of known amounts of dye."""

import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.stain import AZURE, EOSIN, StainJitter, adjust_stain
from leukemia_tf.errors import InputError

UNIT = [np.array(dye) / np.linalg.norm(dye) for dye in (AZURE, EOSIN)]


def stained(azure, eosin):
    """Pixels (B, 4, 4, 3) of the given amounts of dye (B, 4, 4), by Lambert and Beer."""
    density = azure[..., None] * UNIT[0] + eosin[..., None] * UNIT[1]
    return (255 * np.exp(-density)).astype(np.float32)


@pytest.fixture
def amounts():
    return np.random.default_rng(0).uniform(0.1, 1.5, (2, 2, 4, 4))


def test_amounts_of_dye_are_scaled_and_shifted(amounts):
    azure, eosin = amounts
    factors, shifts = np.array([[1.2, 0.9], [0.8, 1.1]], "float32"), np.array([[0.05, 0], [0.02, 0.04]], "float32")
    expected = stained(
        azure * factors[:, 0, None, None] + shifts[:, 0, None, None],
        eosin * factors[:, 1, None, None] + shifts[:, 1, None, None],
    )
    np.testing.assert_allclose(adjust_stain(stained(azure, eosin), factors, shifts), expected, rtol=1e-4)


def test_nothing_changes_for_factor_one():
    images = np.random.default_rng(1).integers(1, 256, (2, 4, 4, 3)).astype("float32")
    ones, zeros = np.ones((2, 2), "float32"), np.zeros((2, 2), "float32")
    np.testing.assert_allclose(adjust_stain(images, ones, zeros), images, atol=1e-2)


def test_glass_stays_white_and_background_black():
    images = np.zeros((1, 4, 4, 3), "float32")
    images[0, 0], images[0, 1], images[0, 2] = 255, (8, 3, 0), (120, 60, 150)
    result = adjust_stain(images, np.array([[1.3, 0.7]], "float32"), np.zeros((1, 2), "float32")).numpy()
    np.testing.assert_allclose(result[0, [0, 1, 3]], images[0, [0, 1, 3]], atol=1e-3)
    assert np.abs(result[0, 2] - images[0, 2]).min() > 1


def test_numbers_are_drawn_from_their_ranges(amounts):
    images = np.tile(stained(np.full((1, 1, 1), 0.5), np.full((1, 1, 1), 0.7)), [2000, 1, 1, 1])
    step = StainJitter(scale=0.2, shift=0.0)
    result, labels = step(tf.constant(images), "labels", tf.constant([3, 4]))
    # Back to amounts by least squares; the two dyes explain the colour wholly.
    density = -np.log(result.numpy()[:, 0, 0].astype("float64") / 255)
    found, rest, *_ = np.linalg.lstsq(np.stack(UNIT, axis=1), density.T, rcond=None)
    factors = found / np.array([[0.5], [0.7]])
    assert labels == "labels" and rest.max() < 1e-6
    assert (factors.min(axis=1) < 0.81).all() and (factors.max(axis=1) > 1.19).all()
    assert factors.min() > 0.799 and factors.max() < 1.201 and abs(np.corrcoef(factors)[0, 1]) < 0.1
    again, _ = step(tf.constant(images), None, tf.constant([3, 4]))
    np.testing.assert_array_equal(result, again)


def test_range_is_kept():
    images = tf.constant(np.random.default_rng(2).integers(0, 256, (8, 8, 8, 3)).astype("float32"))
    result, _ = StainJitter(scale=1.0, shift=0.5)(images, None, tf.constant([5, 6]))
    assert result.shape == images.shape and result.dtype == tf.float32
    assert np.isfinite(result).all() and np.min(result) >= 0 and np.max(result) <= 255


@pytest.mark.parametrize("wrong", [{"scale": 1.5}, {"shift": -0.1}])
def test_wrong_numbers_are_named(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"`{name}` of step `stain_jitter`"):
        StainJitter(**wrong)
