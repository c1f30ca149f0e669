"""The composed warp against TensorFlow's own operation, the Keras layers and matrices multiplied by hand."""

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment.crop import Crop
from leukemia_tf.data.augment.shear import Shear
from leukemia_tf.data.augment.warp import Warp, affine_matrices, compose, warp_images
from leukemia_tf.errors import InputError

SIZE = 16


@pytest.fixture
def images():
    """Smooth, so that small differences in a coordinate stay small in a pixel."""
    noise = np.random.default_rng(0).uniform(0, 255, (4, 4, 4, 3))
    return tf.image.resize(noise, [SIZE, SIZE], "bicubic")


def matrices(count=4, size=SIZE, **changes):
    numbers = dict(flip_x=1, flip_y=1, angle=0, zoom=1, shear_x=0, shear_y=0, shift_x=0, shift_y=0)
    return affine_matrices(size, **{key: tf.fill([count], float(v)) for key, v in {**numbers, **changes}.items()})


@pytest.mark.parametrize("fill", ["reflect", "nearest", "constant"])  # TensorFlow's wrap blends the seam otherwise
def test_agrees_with_the_operation_of_tensorflow(images, fill):
    maps = Warp(rotation=180, zoom=0.3, shear=0.2, translation=0.2).draw(4, SIZE, tf.constant([1, 2]))
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.concat([tf.reshape(maps, [4, 6]), tf.zeros([4, 2])], 1),
        output_shape=[SIZE, SIZE],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )
    # OpenCV 4 rounds coordinates to 1/32 of a pixel, so a few grey levels are allowed.
    assert np.abs(warp_images(images, maps, fill) - expected).max() < 4


def test_a_quarter_turn_is_rot90(images):
    turned = warp_images(images, matrices(angle=np.pi / 2)).numpy()
    candidates = [np.rot90(images, turns, axes=(1, 2)) for turns in (1, 3)]
    assert min(np.abs(turned - candidate).max() for candidate in candidates) < 0.05


def test_translation_moves_right_and_down(images):
    moved = warp_images(images, matrices(shift_x=3, shift_y=2)).numpy()
    np.testing.assert_allclose(moved[:, 2:, 3:], images[:, :-2, :-3], atol=1e-2)
    np.testing.assert_allclose(moved[:, 2:, 2], images[:, :-2, 0], atol=1e-2)  # reflected about the edge
    np.testing.assert_allclose(moved[:, 2:, 1], images[:, :-2, 1], atol=1e-2)


def test_shear_moves_each_row_by_its_height(images):
    sheared = warp_images(images, matrices(shear_x=1.0)).numpy()
    # Row 8 lies half a pixel below the centre: its pixels are the mean of two neighbours.
    expected = (np.asarray(images)[0, 8, :-1] + np.asarray(images)[0, 8, 1:]) / 2
    np.testing.assert_allclose(sheared[0, 8, :-1], expected, atol=1e-2)


@pytest.mark.parametrize("factor", [0.1, -0.12])
def test_rotation_agrees_with_keras(images, factor):
    layer = keras.layers.RandomRotation((factor, factor))
    expected = layer(images, training=True)
    results = [warp_images(images, matrices(angle=sign * factor * 2 * np.pi)) for sign in (1, -1)]
    assert min(np.abs(result - expected).max() for result in results) < 4


@pytest.mark.parametrize("factor", [0.15, -0.15])
def test_zoom_agrees_with_keras(images, factor):
    expected = keras.layers.RandomZoom((factor, factor))(images, training=True)
    assert np.abs(warp_images(images, matrices(zoom=1 + factor)) - expected).max() < 4


def test_composition_is_the_product_of_the_single_matrices():
    flip = np.diag([-1.0, 1, 1])
    cos, sin = np.cos(0.3), np.sin(0.3)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    zoom = np.diag([1.2, 1.2, 1])
    shear = np.array([[1, 0.1, 0], [-0.2, 1, 0], [0, 0, 1]])
    shift = np.array([[1, 0, -2.0], [0, 1, 3.0], [0, 0, 1]])
    centre = np.array([[1, 0, 7.5], [0, 1, 7.5], [0, 0, 1]])
    expected = centre @ flip @ turn @ zoom @ shear @ np.linalg.inv(centre) @ shift
    given = matrices(1, flip_x=-1, angle=0.3, zoom=1.2, shear_x=0.1, shear_y=-0.2, shift_x=2, shift_y=-3)
    np.testing.assert_allclose(given[0], expected[:2], atol=1e-5)


def test_compose_is_one_warp_after_the_other():
    first, then = matrices(1, angle=0.3, shift_x=2), matrices(1, zoom=1.2, shift_y=-1)
    square = [np.vstack([m[0], [0, 0, 1]]) for m in (first, then)]
    np.testing.assert_allclose(compose(first, then)[0], (square[0] @ square[1])[:2], atol=1e-5)


def test_published_002_draws_from_the_ranges_of_the_keras_layers():
    step = Warp(flip_horizontal=True, rotation=54.0, zoom=0.15)
    linear = step.draw(4000, SIZE, tf.constant([3, 4])).numpy()[:, :, :2]
    determinant = np.linalg.det(linear)
    zoom = np.sqrt(np.abs(determinant))
    angle = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 1, 1]))
    assert 0.85 <= zoom.min() < 0.86 and 1.14 < zoom.max() <= 1.15 + 1e-6
    assert 53 < np.abs(angle).max() <= 54 + 1e-4 and abs(angle.mean()) < 2
    assert abs((determinant < 0).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    "flip, share", [(False, 0.0), (0.0, 0.0), (0.3, 0.3), (0.7, 0.7), (True, 0.5), (0.5, 0.5), (1.0, 1.0), (1, 1.0)]
)
def test_flips_take_a_probability(flip, share):
    linear = Warp(flip_horizontal=flip, flip_vertical=0.7).draw(5000, SIZE, tf.constant([3, 5])).numpy()
    assert abs((linear[:, 0, 0] < 0).mean() - share) < 0.025  # 3.5 standard deviations
    assert abs((linear[:, 1, 1] < 0).mean() - 0.7) < 0.025


def test_true_is_one_half():
    seed = tf.constant([1, 9])
    flips = [Warp(flip_horizontal=flip, rotation=20).draw(50, SIZE, seed) for flip in (True, 0.5)]
    np.testing.assert_array_equal(*flips)


def test_shear_moves_rows_to_the_right(images):
    step = Shear(factor=(0.25, 0.25))
    sheared = step(images, None, tf.constant([1, 2]))[0].numpy()
    for row in (0, 4, 8):  # rows that move by whole pixels
        shift = row // 4
        expected = np.asarray(images)[:, row, : SIZE - shift]
        np.testing.assert_allclose(sheared[:, row, shift:], expected, atol=1e-2)
        np.testing.assert_allclose(sheared[:, row, :shift], expected[:, :1].repeat(shift, 1), atol=1e-2)


def test_shear_is_drawn_from_its_range():
    factors = -Shear(factor=(0.1, 0.3)).draw(3000, SIZE, tf.constant([1, 2])).numpy()[:, 0, 1]
    assert 0.1 <= factors.min() < 0.101 and 0.299 < factors.max() <= 0.3 and abs(factors.mean() - 0.2) < 0.004


def test_crop_agrees_with_opencv():
    """On ramps, on which bilinear sampling is exact, so that corners may lie at fractions of a pixel."""
    rows, columns = np.indices((SIZE, SIZE), dtype=np.float32)
    ramps = np.stack([np.stack([columns, rows, rows + 2 * columns], axis=-1)] * 4)
    step, seed = Crop(share=(0.75, 0.75)), tf.constant([1, 2])
    cropped = step(tf.constant(ramps), None, seed)[0].numpy()
    corners = step.draw(4, SIZE, seed).numpy()[:, :, 2] + 0.125  # the outer edge lies half a pixel outside the centre
    assert corners.min() >= 0 and corners.max() <= 4 and len(np.unique(corners)) == 8
    for ramp, result, (left, top) in zip(ramps, cropped, corners):
        square = cv2.getRectSubPix(ramp, (12, 12), (left + 5.5, top + 5.5))
        expected = cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(result[1:-1, 1:-1], expected[1:-1, 1:-1], atol=0.02)


def test_crop_is_drawn_from_its_range():
    shares = Crop(share=(0.8, 0.95)).draw(3000, SIZE, tf.constant([1, 2])).numpy()[:, 0, 0]
    assert 0.8 <= shares.min() < 0.801 and 0.949 < shares.max() <= 0.95 and abs(shares.mean() - 0.875) < 0.003


def test_no_black_corners():
    white = tf.fill([32, SIZE, SIZE, 3], 255.0)
    warped, _ = Warp(rotation=45, zoom=0.3, shear=0.2, translation=0.3)(white, None, tf.constant([0, 1]))
    np.testing.assert_allclose(warped, 255, atol=1e-3)


@pytest.mark.parametrize(
    "numbers", [{"rotation": 181}, {"zoom": -0.1}, {"shear": True}, {"fill": "mirror"}, {"flip_vertical": 1.2}]
)
def test_wrong_numbers_are_named(numbers):
    with pytest.raises(InputError, match=f"`{next(iter(numbers))}` of step `warp`"):
        Warp(**numbers)
