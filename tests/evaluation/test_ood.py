"""Scores of strange images against SciPy, plain loops and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.ood import MahalanobisDetector, energy_score, ood_metrics, ood_threshold


def features(n_images=80, n_features=6, n_classes=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(n_images) % n_classes
    mixing = generator.normal(size=(n_features, n_features))
    centres = 6 * generator.normal(size=(n_classes, n_features))
    return generator.normal(size=(n_images, n_features)) @ mixing + centres[labels], labels


def test_energy_by_hand():
    assert energy_score([[0.0, 0.0], [np.log(3.0), 0.0]]) == pytest.approx([-np.log(2.0), -np.log(4.0)])
    assert energy_score([[2.0, 4.0]], temperature=2.0) == pytest.approx([-2.0 * np.log(np.e + np.e**2)])
    assert energy_score([[1000.0, 0.0]]) == pytest.approx([-1000.0])  # no overflow


def test_energy_of_a_sigmoid_ranks_as_its_confidence():
    logits = np.array([-3.0, -0.5, 0.0, 1.0, 4.0])
    assert energy_score(logits) == pytest.approx(-np.log(np.exp(logits / 2) + np.exp(-logits / 2)))
    assert np.array_equal(np.argsort(energy_score(logits)), np.argsort(-np.abs(logits)))
    assert np.array_equal(energy_score(logits[:, None]), energy_score(logits))


def test_energy_refuses():
    with pytest.raises(InputError, match="before the softmax; received rows that sum to 1"):
        energy_score([[0.2, 0.8], [0.5, 0.5]])
    with pytest.raises(InputError, match=r"`logits` must be finite, of shape \[N, C\] or \[N\]"):
        energy_score([[np.nan, 1.0]])
    with pytest.raises(InputError, match="`temperature` must be above 0; received 0.0"):
        energy_score([[1.0, 2.0]], 0.0)


@pytest.mark.parametrize("n_features", [6, 120])
def test_distance_by_its_definition(n_features):
    values, labels = features(n_features=n_features)
    detector = MahalanobisDetector.fit(values, labels)
    means = np.array([values[labels == c].mean(axis=0) for c in range(3)])
    covariance, shrinkage = ledoit_wolf(values - means[labels], assume_centered=True)
    assert 0 < shrinkage < 1
    inverse = np.linalg.inv(covariance)
    other, _ = features(n_images=10, n_features=n_features, seed=5)
    expected = [min(mahalanobis(row, mean, inverse) ** 2 for mean in means) for row in other]
    assert detector.score(other) == pytest.approx(expected, rel=1e-6)
    assert detector.score(means) == pytest.approx(np.zeros(3), abs=1e-9)
    assert detector.score(other[:0]).shape == (0,)


def test_a_feature_that_never_varies_is_left_out():
    # Values of -1 and 1 only have no sampling error of the variance, so nothing is shrunk, and [[1, 0], [0, 0]] stays.
    values = np.stack([np.tile([-1.0, 1.0], 10), np.zeros(20)], axis=1)
    detector = MahalanobisDetector.fit(values, np.zeros(20, dtype=int))
    assert detector.score([[3.0, 0.0], [0.0, 5.0]]) == pytest.approx([9.0, 0.0])


def test_strange_features_are_found(tmp_path):
    values, labels = features(n_images=400)
    detector = MahalanobisDetector.fit(values[:200], labels[:200])
    threshold = ood_threshold(detector.score(values[200:300]))
    generator = np.random.default_rng(9)
    strange = values[300:] + 25 * generator.normal(size=(100, 6))
    measured = ood_metrics(detector.score(values[300:]), detector.score(strange))
    assert measured["auroc"] > 0.95 and measured["fpr"] < 0.2
    assert (detector.score(values[300:]) <= threshold).mean() == pytest.approx(0.95, abs=0.06)
    detector.write(tmp_path / "detector.npz")
    assert np.array_equal(MahalanobisDetector.read(tmp_path / "detector.npz").score(strange), detector.score(strange))


def test_threshold_by_hand():
    scores = np.arange(1.0, 21.0)
    assert ood_threshold(scores) == 19.0  # 19 of 20 are not above it
    assert ood_threshold(scores, 0.91) == 19.0  # 18 would be too few
    assert ood_threshold(scores, 1.0) == 20.0
    assert ood_threshold([1.0, 1.0, 1.0, 2.0], 0.5) == 1.0


def test_metrics_by_hand():
    inside, outside = np.arange(1.0, 21.0), np.array([0.5, 18.5, 19.0, 30.0])
    measured = ood_metrics(inside, outside)
    assert measured["fpr"] == 3 / 4 and measured["threshold"] == 19.0 and measured["accepted"] == 0.95
    wins = sum((o > i) + 0.5 * (o == i) for o in outside for i in inside)
    assert measured["auroc"] == pytest.approx(wins / 80)
    assert measured["auroc"] == pytest.approx(roc_auc_score([0] * 20 + [1] * 4, np.concatenate([inside, outside])))


def test_wrong_input(tmp_path):
    values, labels = features()
    with pytest.raises(InputError, match=r"`features` must be finite, of shape \[N, D\]; received shape \[6\]"):
        MahalanobisDetector.fit(values[0], labels)
    with pytest.raises(InputError, match=r"`labels` must have shape \[80\], one an image; received \[5\]"):
        MahalanobisDetector.fit(values, labels[:5])
    with pytest.raises(InputError, match="`labels` must hold one image or more; received none"):
        MahalanobisDetector.fit(values[:0], [])
    with pytest.raises(InputError, match="`labels` must hold every class; received none of class 1"):
        MahalanobisDetector.fit(values, 2 * (labels > 0))
    with pytest.raises(InputError, match="`features` must vary within a class; received 6 images that do not"):
        MahalanobisDetector.fit(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])
    detector = MahalanobisDetector.fit(values, labels)
    with pytest.raises(InputError, match="`features` must have 6 columns; received 2"):
        detector.score(values[:, :2])
    with pytest.raises(InputError, match="`path` must end in .npz"):
        detector.write(tmp_path / "detector.h5")
    with pytest.raises(InputError, match="received a path where there is no file"):
        MahalanobisDetector.read(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "other.npz", x=1)
    np.save(tmp_path / "array.npy", np.ones(2))
    for name in ("text.npz", "other.npz", "array.npy"):
        with pytest.raises(InputError, match="must be a detector that `write` wrote; received another file"):
            MahalanobisDetector.read(tmp_path / name)
    with pytest.raises(InputError, match="`accepted` must be above 0 and at most 1; received 0.0"):
        ood_threshold([1.0], 0.0)
    with pytest.raises(InputError, match="`outside` must be one or more finite numbers"):
        ood_metrics([1.0], [])
