"""What is measured while training: accuracy, the area under the ROC curve, and F1 where a recipe watches it."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from leukemia_tf.errors import InputError

F1_MONITORS = {"val_f1_macro": "macro", "val_f1_weighted": "weighted"}
"""Monitored values that need a metric of their own -> its average over the classes."""

_BEST = {"loss": "min", "accuracy": "max", "auc": "max", "f1_macro": "max", "f1_weighted": "max"}


def make_metrics(outputs: int, monitor: str = "val_loss") -> list[keras.metrics.Metric]:
    """Metrics of probabilities: ``accuracy``, ``auc`` (one class against the others, averaged) and a monitored F1.

    Args:
        outputs: width of the model's output: 1 for a sigmoid, else the number of classes.
        monitor: with ``"val_f1_macro"`` or ``"val_f1_weighted"`` that F1 comes too.
    """
    if outputs == 1:
        metrics = [keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(name="auc")]
    else:
        metrics = [
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.AUC(name="auc", multi_label=True, num_labels=outputs),
        ]
    average = F1_MONITORS.get(monitor, F1_MONITORS.get(f"val_{monitor}"))
    if average:
        constructor = TwoClassF1 if outputs == 1 else keras.metrics.F1Score
        metric = constructor(average=average, name=f"f1_{average}")
        # Its variables appear with the first labels it sees, and variables that appear during the first step make
        # TensorFlow trace the whole step twice.
        metric.update_state(np.zeros((1, outputs), "float32"), np.zeros((1, outputs), "float32"))
        metric.reset_state()
        metrics.append(metric)
    return metrics


def check_mode(monitor: str, mode: str) -> None:
    """Refuse to keep the worst epoch.

    Raises:
        InputError: if `mode` is the wrong one for a `monitor` that is known.
    """
    wanted = _BEST.get(monitor.removeprefix("val_"), mode)
    if mode != wanted:
        raise InputError(
            f"`mode` with `monitor` {monitor!r} is {wanted!r}, or the worst epoch is kept. Received: {mode!r}"
        )


@keras.saving.register_keras_serializable(package="leukemia_tf")
class TwoClassF1(keras.metrics.F1Score):
    """F1 over both classes of a model with one sigmoid output.

    `keras.metrics.F1Score` sees one column there and scores the positive class alone, whatever the average. Here the
    negative class gets its column, so that macro and weighted averages mean what they mean in scikit-learn.

    Takes labels and probabilities (B, 1); 0.5 and above is positive.
    """

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.cast(y_true, self.dtype)
        positive = ops.cast(ops.convert_to_tensor(y_pred) >= 0.5, self.dtype)
        super().update_state(
            ops.concatenate([1 - y_true, y_true], axis=-1),
            ops.concatenate([1 - positive, positive], axis=-1),
            sample_weight,
        )
