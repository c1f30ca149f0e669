"""Averages of views against cases worked by hand, the other average of two classes, and optima found another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.tta import AVERAGES, TestTimeAugmentation, equal_views, fit_views

TWO, THREE = ("all", "hem"), ("a", "b", "c")


def views_of(n_views=2, n_images=300, n_classes=3, noise=1.0, seed=0):
    """Views that see the same logits, from which the labels are drawn, each with noise of its own."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n_images, n_classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n_images, 1))).sum(axis=1)
    return softmax(logits + rng.normal(scale=noise, size=(n_views, n_images, n_classes)), axis=2), labels


def log_loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_averages_by_hand():
    given = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    np.testing.assert_allclose(equal_views(TWO, ("0", "90")).apply(given), [[0.7, 0.3]])
    # Geometric means sqrt(.45) and sqrt(.05), whose ratio is 3.
    np.testing.assert_allclose(equal_views(TWO, ("0", "90"), "log_probabilities").apply(given), [[0.75, 0.25]])
    weighted = TestTimeAugmentation(TWO, ("0", "90"), "probabilities", (0.25, 0.75), 10)
    np.testing.assert_allclose(weighted.apply(given), [[0.6, 0.4]])


@pytest.mark.parametrize("average", AVERAGES)
def test_a_sigmoid_is_two_classes(average):
    second = np.random.default_rng(0).random((3, 20))
    record = equal_views(TWO, ("x", "y", "z"), average)
    expected = record.apply(np.stack([1 - second, second], axis=2))
    np.testing.assert_array_equal(record.apply(second), expected)
    np.testing.assert_array_equal(record.apply(second[..., None]), expected)
    # The mean of log-probabilities of two classes is the mean of the logits.
    by_logits = expit(logit(second).mean(axis=0))
    other = second.mean(axis=0) if average == "probabilities" else by_logits
    np.testing.assert_allclose(expected[:, 1], other, rtol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
def test_weights_are_the_minimum(average):
    views, labels = views_of()
    views[1] = softmax(np.log(views[1]) * 0.3, axis=1)  # a view that is worth something else
    record = fit_views(views, labels, THREE, ("0", "90"), average)

    def loss(share):
        weights = (1 - share, share)
        if average == "probabilities":
            return log_loss(weights[0] * views[0] + weights[1] * views[1], labels)
        return log_loss(softmax(weights[0] * np.log(views[0]) + weights[1] * np.log(views[1]), axis=1), labels)

    expected = minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x
    assert 0.05 < expected < 0.95
    assert record.weights[1] == pytest.approx(expected, abs=2e-3)
    assert log_loss(record.apply(views), labels) == pytest.approx(loss(expected), abs=1e-6)
    assert record.n_images == 300


@pytest.mark.parametrize("average", AVERAGES)
def test_eight_views_none_better_than_the_weights(average):
    views, labels = views_of(8, 500, 4, noise=1.5, seed=3)
    views[5] = 0.25  # knows nothing
    names = tuple("abcdefgh")
    record = fit_views(views, labels, tuple("wxyz"), names, average)
    best = log_loss(record.apply(views), labels)
    assert sum(record.weights) == pytest.approx(1) and min(record.weights) >= 0
    assert best <= log_loss(equal_views(tuple("wxyz"), names, average).apply(views), labels)
    rng = np.random.default_rng(0)
    for weights in rng.dirichlet(np.ones(8), 200):
        other = TestTimeAugmentation(tuple("wxyz"), names, average, weights, 0)
        assert best <= log_loss(other.apply(views), labels) + 1e-9
    # Averaging helps where views err independently: plain log loss is worse.
    assert best < log_loss(views[0], labels) - 0.1


def test_a_useless_view_costs_nothing():
    """A view that gives the wrong class .9 beside one that gives the right class .9: the second alone."""
    labels = np.array([0, 1] * 20)
    right = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    record = fit_views([1 - right, right], labels, TWO, ("bad", "good"))
    assert record.weights == (0.0, 1.0) and record.cost == 1
    assert equal_views(TWO, ("bad", "good")).cost == 2


@pytest.mark.parametrize("average", AVERAGES)
def test_saturated_and_equal_views(average):
    labels = np.array([0, 1, 1, 0])
    sure = np.eye(2)[[0, 1, 0, 0]]  # one error, with probability 1
    record = fit_views([sure, sure, sure], labels, TWO, ("x", "y", "z"), average)
    assert sum(record.weights) == pytest.approx(1)
    np.testing.assert_allclose(record.apply([sure, sure, sure]), sure, atol=1e-6)


def test_json_round_trip(tmp_path):
    views, labels = views_of()
    record = fit_views(views, labels, THREE, ("0", "90"), "log_probabilities")
    record.write(tmp_path / "tta.json")
    assert TestTimeAugmentation.read(tmp_path / "tta.json") == record


def test_bad_input():
    views, labels = views_of()
    record = equal_views(THREE, ("0", "90"))
    assert record.apply(views[:, :0]).shape == (0, 3)
    with pytest.raises(InputError, match=r"`probabilities` must have shape \[2, N, 3\].*Received: \[3, 5, 3\]"):
        record.apply(np.full((3, 5, 3), 1 / 3))
    with pytest.raises(InputError, match=r"`probabilities` must have shape \[2, N, 3\].*Received: \[2, 5, 4\]"):
        record.apply(np.full((2, 5, 4), 1 / 4))
    with pytest.raises(InputError, match=r"numbers in \[0, 1\]"):
        record.apply(np.full((2, 5, 3), np.nan))
    with pytest.raises(InputError, match="`labels` must have shape"):
        fit_views(views, labels[:-1], THREE, ("0", "90"))
    with pytest.raises(InputError, match="`average` must be one of .*Received: 'votes'"):
        equal_views(THREE, ("0", "90"), "votes")
    with pytest.raises(InputError, match="`views` must be two or more different names. Received: .*'0', '0'"):
        equal_views(THREE, ("0", "0"))
    with pytest.raises(InputError, match="`weights` must be 2 numbers of at least 0 that sum to 1"):
        TestTimeAugmentation(THREE, ("0", "90"), "probabilities", (0.5, 0.6), 0)
    with pytest.raises(InputError, match="`weights` must be 2 numbers"):
        TestTimeAugmentation(THREE, ("0", "90"), "probabilities", (-0.5, 1.5), 0)
