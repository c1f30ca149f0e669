"""The keras-cv steps: repeatable, and labels that say what is in the image."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.data.augment import get_policy

pytest.importorskip("keras_cv")
SEED = (1, 2)


def flat_images(values, size=16):
    """One image of a single grey for each value."""
    return tf.constant(np.broadcast_to(np.float32(values)[:, None, None, None], (len(values), size, size, 3)))


@pytest.mark.parametrize("step", ["mix_up", "cut_mix"])
def test_one_hot_labels_tell_the_share_of_each_image(step):
    greys = np.array([10.0, 90.0, 250.0])
    classes = np.arange(24) % 3
    images, labels = get_policy([{"step": step, "alpha": 1.0}])(
        flat_images(greys[classes]), tf.one_hot(classes, 3), tf.constant(SEED)
    )
    np.testing.assert_allclose(images.numpy().mean((1, 2, 3)), labels.numpy() @ greys, atol=1e-2)
    np.testing.assert_allclose(labels.numpy().sum(1), 1, atol=1e-5)
    assert ((labels.numpy() > 0.05).sum(1) == 2).any()


@pytest.mark.parametrize("step", ["mix_up", "cut_mix"])
def test_binary_labels_are_mixed_as_numbers(step):
    classes = np.arange(16, dtype=np.float32) % 2
    images, labels = get_policy([{"step": step, "alpha": 1.0}])(
        flat_images(200 * classes), tf.constant(classes[:, None]), tf.constant(SEED)
    )
    assert labels.shape == (16, 1)
    np.testing.assert_allclose(images.numpy().mean((1, 2, 3)) / 200, labels.numpy()[:, 0], atol=1e-4)
    assert ((labels.numpy() > 0.05) & (labels.numpy() < 0.95)).any()


def test_grid_mask_blackens_or_leaves():
    images = flat_images(np.full(6, 200.0), 32)
    masked, _ = get_policy([{"step": "grid_mask", "rate": 1.0}])(images, tf.ones([6, 1]), tf.constant(SEED))
    values = masked.numpy()
    assert set(np.unique(values)) == {0.0, 200.0}
    assert len({image.tobytes() for image in values}) == 6  # each image has a grid of its own
    left, _ = get_policy([{"step": "grid_mask", "rate": 0.0}])(images, tf.ones([6, 1]), tf.constant(SEED))
    np.testing.assert_array_equal(left, images)


def test_rand_augment_at_rate_zero_changes_nothing():
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32))
    same, _ = get_policy([{"step": "rand_augment", "rate": 0.0}])(images, tf.ones([3, 1]), tf.constant(SEED))
    np.testing.assert_array_equal(same, images)


@pytest.mark.slow
def test_strong_follows_from_its_seed_whatever_the_parallelism():
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.float32))
    labels = tf.one_hot([0, 1, 2, 0], 3)

    def batches(policy, parallel):
        def augmented(number):
            return policy(images, labels, tf.stack([number, 5]))

        return [x.numpy() for x, _ in tf.data.Dataset.range(4, output_type=tf.int32).map(augmented, parallel)]

    policy = get_policy("strong")
    alone, together, rebuilt = batches(policy, 1), batches(policy, 4), batches(get_policy("strong"), 4)
    direct = policy(images, labels, tf.constant([3, 5]))[0]
    for one, two, three in zip(alone, together, rebuilt):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
        assert one.min() >= 0 and one.max() <= 255
    np.testing.assert_array_equal(direct, alone[3])
    assert not np.array_equal(alone[0], alone[1])


def test_images_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        policy = get_policy([{"step": "mix_up"}])
        assert keras.config.dtype_policy().name == "mixed_float16"
        images, labels = policy(flat_images([1.0, 2.0]), tf.ones([2, 1]), tf.constant(SEED))
    finally:
        keras.config.set_dtype_policy(before)
    assert images.dtype == labels.dtype == tf.float32
