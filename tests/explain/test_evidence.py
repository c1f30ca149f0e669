"""Whether a map is evidence: deletion, insertion, shuffled weights, and the share within a region."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.explain import (
    Network,
    deletion_insertion,
    explain,
    grad_cam,
    integrated_gradients,
    randomisation_check,
    region_mask,
    share_in_region,
)
from leukemia_tf.explain.faithfulness import random_maps, random_order
from leukemia_tf.explain.randomisation import rank_correlations
from tests.explain.small import corner, pooled, random_images

SIDE, SIZE = 4, 16
CORNER = (0, 0, SIDE / SIZE, SIDE / SIZE)


def planted(count: int = 3) -> np.ndarray:
    """Noise, dim but for a bright patch in the upper left corner."""
    images = 0.2 * random_images(count, SIZE)
    images[:, :SIDE, :SIDE] = 255
    return images


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "occlusion", "integrated_gradients"])
def test_a_model_that_looks_at_a_corner(method):
    """The weights of the corner alone are not zero, and only there the image is bright."""
    options = {"patch": 2, "stride": 1} if method == "occlusion" else {}
    maps = explain(corner(SIZE, SIDE), planted(), method, 1, **options).maps
    share, area = share_in_region(maps, CORNER)
    assert area == pytest.approx(1 / 16)
    # A covering patch of two pixels reaches one pixel beyond; gradients pooled over the map weigh all of it alike.
    least = {"occlusion": 0.6, "integrated_gradients": 0.999}.get(method, 0.35)
    assert (share > least).all()
    dark = np.where(np.arange(SIZE)[:, None, None] < SIDE, planted(), 0)
    dark[:, :, SIDE:] = 0
    if method != "occlusion":
        share, _ = share_in_region(explain(corner(SIZE, SIDE), dark, method, 1).maps, CORNER)
        assert (share > 0.9).all()


def test_deletion_and_insertion_by_hand():
    """Two halves of an image, of which one counts: the probability falls with its first half, or with the second."""
    model = corner(SIZE, SIDE)
    logit = np.zeros((SIZE, SIZE))
    logit[:SIDE, :SIDE] = 1
    images = np.full((1, SIZE, SIZE, 3), 255.0)
    first, last = (
        deletion_insertion(model, images, order[None], 1, steps=2, fill="black", start="black")
        for order in (logit, -logit)
    )
    # Brightness 255 everywhere gives 10 - 3, black gives -3.
    high, low = 1 / (1 + np.exp(-7)), 1 / (1 + np.exp(3))
    assert first["deletion"][0] == pytest.approx(0.25 * high + 0.75 * low, abs=1e-4)
    assert first["insertion"][0] == pytest.approx(0.25 * low + 0.75 * high, abs=1e-4)
    assert last["deletion"][0] == pytest.approx(0.75 * high + 0.25 * low, abs=1e-4)
    assert last["insertion"][0] == pytest.approx(0.75 * low + 0.25 * high, abs=1e-4)


def test_a_map_that_knows_beats_chance():
    model, images = Network(corner(SIZE, SIDE)), planted(8)
    maps = integrated_gradients(model, images, 1, baseline="black").maps
    found = deletion_insertion(model, images, maps, 1, fill="black", start="black")
    chance = random_order(model, images, 1, seeds=(0, 1), fill="black", start="black")
    assert (found["deletion"] < chance["deletion_random"]).all()
    assert (found["insertion"] > chance["insertion_random"]).all()
    assert found["deletion"].mean() < chance["deletion_random"].mean() - 0.2
    assert found["insertion"].mean() > chance["insertion_random"].mean() + 0.2
    again = deletion_insertion(model, images, maps, 1, fill="black", start="black")
    np.testing.assert_array_equal(found["deletion"], again["deletion"])


def test_random_maps_are_smooth_and_differ():
    maps = random_maps(2, 56, 0)
    assert maps.shape == (2, 56, 56) and rank_correlations(maps[:1], maps[1:])[0] < 0.7
    assert rank_correlations(maps[:, :, :-1], maps[:, :, 1:]).min() > 0.9
    assert (random_maps(2, 56, 0) == maps).all() and (random_maps(2, 56, 1) != maps).any()


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, (3, 6, 5)), rng.normal(size=(3, 6, 5))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second)]
    np.testing.assert_allclose(rank_correlations(first, second), expected, rtol=1e-9)
    assert rank_correlations(np.zeros((1, 3, 3)), np.ones((1, 3, 3)))[0] == 0


def test_shuffled_weights_change_the_map():
    model, images = pooled(channels=16), random_images(6)
    weights = model.get_weights()
    check = randomisation_check(model, images, lambda network: grad_cam(network, images, 0).maps, seed=1)
    assert check.stages == ("logits", "half", "all") and check.layers == (1, 1, 2)
    assert check.correlations.shape == (3, 6)
    assert check.passed and "follow from what was learnt" in check.verdict
    for was, now in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(was, now)


def test_a_map_of_edges_fails():
    """A map that looks at the image and not at the model stays as it is."""
    model, images = pooled(), random_images(4)
    check = randomisation_check(model, images, lambda network: images.mean(axis=-1), seed=0)
    np.testing.assert_allclose(check.correlations, 1)
    assert not check.passed and "hardly depend on what was learnt" in check.verdict


def test_weights_come_back_after_a_failure():
    model, images = pooled(), random_images(1)
    weights = model.get_weights()

    def broken(network):
        return np.full((1, 8, 8), np.nan)

    with pytest.raises(RunError, match="with the weights of 1 layers shuffled the maps are not finite"):
        randomisation_check(model, images, broken, before=np.zeros((1, 8, 8)))
    for was, now in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(was, now)
    with pytest.raises(InputError, match="`stages` must be of logits, half, all. Received: .*'top'"):
        randomisation_check(model, images, broken, stages=["top"])


def test_vectors_of_a_normalisation_are_shuffled_together():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, name="map")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(x))
    norm = model.get_layer("norm")
    norm.set_weights([np.arange(6.0), 10 + np.arange(6.0), 20 + np.arange(6.0), 30 + np.arange(6.0)])
    seen = []

    def maps(network):
        seen.append([weight.copy() for weight in norm.get_weights()])
        return np.ones((1, 8, 8))

    randomisation_check(model, random_images(1), maps, before=np.ones((1, 8, 8)), stages=["all"], seed=3)
    gamma, beta, mean, variance = seen[0]
    assert sorted(gamma) == list(range(6)) and list(gamma) != list(range(6))
    np.testing.assert_array_equal(beta, gamma + 10)
    np.testing.assert_array_equal(variance, gamma + 30)


def test_share_in_region_by_hand():
    maps = np.array([[[3.0, 1, 0], [0, -9, 0], [0, 0, 4]], [[0, 0, 0], [0, -1, 0], [0, 0, 0]]])
    mask = np.zeros((3, 3), bool)
    mask[0] = True
    share, area = share_in_region(maps, mask)
    assert share[0] == 0.5 and np.isnan(share[1]) and area == pytest.approx(1 / 3)
    share, area = share_in_region(maps[0], (2 / 3, 2 / 3, 1, 1))
    assert share[0] == 0.5 and area == pytest.approx(1 / 9)
    np.testing.assert_array_equal(region_mask(np.eye(2, dtype=bool), 4), np.kron(np.eye(2), np.ones((2, 2))) > 0)
    for region in ((0, 0, 2, 1), (0, 0, 1), np.zeros((3, 3)), "corner"):
        with pytest.raises(InputError, match="`region` must be a mask of true and false"):
            share_in_region(maps, region)
    with pytest.raises(InputError, match="`region` must hold a pixel of 3 x 3"):
        share_in_region(maps, (0, 0, 0, 1))
    with pytest.raises(InputError, match=r"`maps` must have the shape \(N, S, S\)"):
        share_in_region(maps[None], mask)


def test_bad_input():
    model, images = pooled(), random_images(2)
    with pytest.raises(InputError, match=r"`maps` must have the shape \(2, S, S\). Received: \(3, 8, 8\)"):
        deletion_insertion(model, images, np.zeros((3, 8, 8)), 0)
    with pytest.raises(InputError, match=r"`maps` must have the size of the images, \(8, 8\). Received: \(4, 4\)"):
        deletion_insertion(model, images, np.zeros((2, 4, 4)), 0)
    with pytest.raises(InputError, match="`maps` must be finite"):
        deletion_insertion(model, images, np.full((2, 8, 8), np.inf), 0)
    with pytest.raises(InputError, match="`steps` must be a whole number of at least 1. Received: 0"):
        deletion_insertion(model, images, np.zeros((2, 8, 8)), 0, steps=0)
    with pytest.raises(InputError, match="`seeds` must be one number or more"):
        random_order(model, images, 0, seeds=())
