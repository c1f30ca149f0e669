"""Stop at the first loss that is not a number."""

from __future__ import annotations

import math

import keras

from leukemia_tf.errors import RunError


class StopOnNaN(keras.callbacks.Callback):
    """End training with one clear line when the loss becomes NaN or infinite.

    Unlike `keras.callbacks.TerminateOnNaN` it looks at the validation loss too, and it raises, so that no callback
    after it saves the ruined weights. Put it first in the list.

    Raises:
        RunError: on the first loss that is not finite; it names the place and what to try.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check("loss", logs, f"epoch {self._epoch + 1}, batch {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        self._check("val_loss", logs, f"epoch {epoch + 1}")

    @staticmethod
    def _check(key: str, logs: dict | None, where: str) -> None:
        value = (logs or {}).get(key)
        if value is not None and not math.isfinite(float(value)):
            raise RunError(
                f"`{key}` became {float(value)} in {where}. Lower the learning rate, clip gradients "
                "(optimizer_config clipnorm=1.0) or use precision float32; the last good checkpoint is kept."
            )
