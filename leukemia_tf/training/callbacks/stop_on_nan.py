"""Stop at the first loss or weight that is not a number."""

from __future__ import annotations

import math

import keras
from keras import ops

from leukemia_tf.errors import RunError


class StopOnNaN(keras.callbacks.Callback):
    """End training with one clear line when the loss or a weight becomes NaN or infinite.

    Unlike `keras.callbacks.TerminateOnNaN` it looks at the validation loss too, and it raises, so that no callback
    after it saves the ruined weights. Put it first in the list. The weights are looked at after each epoch, because
    on a CPU the fused convolution with ReLU turns NaN into 0: a ruined network then answers the same for every image,
    with a loss that is finite.

    Raises:
        RunError: on the first value that is not finite; it names the place and what to try.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check("loss", logs, f"epoch {self._epoch + 1}, batch {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        self._check("val_loss", logs, f"epoch {epoch + 1}")
        for weight in self.model.trainable_weights:
            if not bool(ops.all(ops.isfinite(weight))):
                raise _not_finite(f"a weight of `{weight.path}`", "nan or infinite", f"epoch {epoch + 1}")

    @staticmethod
    def _check(key: str, logs: dict | None, where: str) -> None:
        value = (logs or {}).get(key)
        if value is not None and not math.isfinite(float(value)):
            raise _not_finite(f"`{key}`", str(float(value)), where)


def _not_finite(what: str, value: str, where: str) -> RunError:
    return RunError(
        f"{what} became {value} in {where}. Lower the learning rate, clip gradients (optimizer_config clipnorm=1.0), "
        "use precision float32, or look for images with NaN; the last good checkpoint is kept."
    )
