"""The export's calibration and distances are those of the evaluation, to the last of single precision."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.evaluation.calibration import fit_calibration
from leukemia_tf.evaluation.ood import MahalanobisDetector, energy_score
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.export.calibration_ops import calibrate, energy, nearest_distance


def cases(n_classes: int, seed: int, n_images: int = 200):
    generator = np.random.default_rng(seed)
    labels = np.arange(n_images) % n_classes
    values = generator.dirichlet(np.full(n_classes, 0.4), n_images) + 0.5 * np.eye(n_classes)[labels]
    values = (values / values.sum(1, keepdims=True)).astype(np.float32)
    values[:2] = np.eye(n_classes)[:2]  # nothing between 0 and 1
    return labels, values


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_calibrations(method, n_classes):
    classes = [f"c{i}" for i in range(n_classes)]
    labels, values = cases(n_classes, 0)
    table = pd.DataFrame({"path": map(str, range(len(labels))), "label": [classes[i] for i in labels]})
    fitted = fit_calibration(make_predictions(table, values, classes), classes, method)
    _, others = cases(n_classes, 1)
    found = calibrate(tf.constant(others), fitted.to_dict()).numpy()
    np.testing.assert_allclose(found, fitted.apply(others), atol=1e-7)
    assert np.abs(found - others).max() > 1e-3


def test_an_isotonic_map_of_one_step_and_no_calibration():
    one = {"method": "isotonic", "parameters": {"given": [[0.4]], "calibrated": [[0.7]]}}
    values = tf.constant([[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(calibrate(values, one).numpy(), [[0.3, 0.7]] * 2)
    np.testing.assert_allclose(calibrate(values, None).numpy(), values)


def test_scores():
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(60, 5)), np.arange(60) % 3
    detector = MahalanobisDetector.fit(features + labels[:, None], labels)
    found = nearest_distance(tf.constant(features, tf.float32), detector.means, detector.precision)
    np.testing.assert_allclose(found, detector.score(features), rtol=1e-5)
    logits = generator.normal(size=(9, 4)) * 10
    np.testing.assert_allclose(energy(tf.constant(logits)), energy_score(logits), rtol=1e-12)
