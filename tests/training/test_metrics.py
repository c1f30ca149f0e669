"""F1 while training, against scikit-learn."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from leukemia_tf.errors import InputError
from leukemia_tf.training.metrics import check_mode, make_metrics


def batches(outputs: int):
    random = np.random.default_rng(outputs)
    labels = random.choice(max(2, outputs), 57, p=[0.8, 0.2] if outputs < 3 else [0.6, 0.3, 0.1])
    scores = random.dirichlet(np.ones(max(2, outputs)), 57).astype("float32")
    scores[3] = 0.5 if outputs < 3 else scores[3]
    true = np.float32(labels[:, None]) if outputs == 1 else np.eye(outputs, dtype="float32")[labels]
    found = scores[:, 1:] if outputs == 1 else scores
    predicted = (scores[:, 1] >= 0.5).astype(int) if outputs == 1 else scores.argmax(1)
    if outputs == 2:
        found[3] = 0.4, 0.6  # a tie has no argmax
        predicted[3] = 1
    return labels, predicted, [(true[i : i + 10], found[i : i + 10]) for i in range(0, 57, 10)]


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_f1_is_that_of_scikit_learn(outputs, average):
    labels, predicted, parts = batches(outputs)
    metric = make_metrics(outputs, f"val_f1_{average}")[-1]
    assert metric.name == f"f1_{average}"
    metric = keras.metrics.deserialize(keras.metrics.serialize(metric))
    for _ in range(2):  # a second epoch starts anew
        metric.reset_state()
        for true, found in parts:
            metric.update_state(true, found)
        assert float(metric.result()) == pytest.approx(f1_score(labels, predicted, average=average), abs=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
def test_f1_takes_weights(outputs):
    labels, predicted, parts = batches(outputs)
    weights = np.random.default_rng(1).uniform(0, 2, 57).astype("float32")
    metric = make_metrics(outputs, "val_f1_macro")[-1]
    for index, (true, found) in enumerate(parts):
        metric.update_state(true, found, weights[10 * index :][: len(true)])
    expected = f1_score(labels, predicted, average="macro", sample_weight=weights)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)


def test_metrics_are_few_unless_f1_is_watched():
    assert [metric.name for metric in make_metrics(1)] == ["accuracy", "auc"]
    assert [metric.name for metric in make_metrics(8, "val_auc")] == ["accuracy", "auc"]
    assert [metric.name for metric in make_metrics(8, "val_f1_weighted")] == ["accuracy", "auc", "f1_weighted"]


def test_keeping_the_worst_epoch_is_refused():
    for monitor, mode in (("val_loss", "min"), ("val_f1_macro", "max"), ("auc", "max"), ("val_own", "min")):
        check_mode(monitor, mode)
    with pytest.raises(InputError, match="`mode` with `monitor` 'val_f1_macro' is 'max'.*Received: 'min'"):
        check_mode("val_f1_macro", "min")
