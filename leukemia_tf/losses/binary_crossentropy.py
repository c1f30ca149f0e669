"""Cross-entropy of a probability, whose gradient has one value only."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="leukemia_tf")
class BinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of sigmoid outputs, as ``keras.losses.BinaryCrossentropy`` computes it, repeatable.

    TensorFlow puts the gradient of ``sigmoid_cross_entropy_with_logits`` together from four terms, and adds them in an
    order that depends on which of them is ready first, deterministic kernels or not: in a model with branches two
    equal runs differ in the last bit after one step, and visibly after an epoch. Here the same formula is the softmax
    cross-entropy of the logits (0, z), one kernel, whose gradient is one subtraction.

    Keras remembers the logits of an activation, and they are used here, so that a wrong answer that is certain to the
    last bit (a probability of exactly 0 or 1) still has its gradient. Of several outputs, and of probabilities that
    come from elsewhere, the formula is computed as it stands, on probabilities kept 1e-7 away from 0 and 1.

    Args:
        label_smoothing: in [0, 1]; labels 0 and 1 become ``label_smoothing / 2`` and one less that.
        reduction, name, dtype: as in every Keras loss.

    Call with labels and probabilities of one shape, (B, 1) or (B, C), both in [0, 1].
    """

    def __init__(self, label_smoothing=0.0, reduction="sum_over_batch_size", name="binary_crossentropy", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true, y_pred):
        logits = getattr(y_pred, "_keras_logits", None)
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        if self.label_smoothing:
            y_true = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        # The logits of two and more outputs are those of a softmax, which is another function of them.
        if logits is None or y_pred.shape[-1] != 1:
            found = ops.clip(y_pred, keras.config.epsilon(), 1.0 - keras.config.epsilon())
            return -ops.mean(y_true * ops.log(found) + (1.0 - y_true) * ops.log(1.0 - found), axis=-1)
        pair = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
        return ops.categorical_crossentropy(ops.concatenate([1.0 - y_true, y_true], axis=-1), pair, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
