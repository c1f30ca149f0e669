"""End training before the session does."""

from __future__ import annotations

import logging
import time

import keras

from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


class TimeBudget(keras.callbacks.Callback):
    """Stop in time for a Kaggle or Colab session, with everything saved.

    The clock starts when the object is made, so that several `fit` calls share one budget. Training ends after an
    epoch if the longest epoch so far would not fit into what is left, and in the middle of an epoch if the budget
    is spent. Leave a margin for the evaluation and the export.

    Args:
        minutes: the budget, in minutes, above 0.

    Attributes:
        stopped: True once it ended a training.
        cut_epoch: True if it ended one in the middle of an epoch, whose metrics then cover only a part of the data.
    """

    def __init__(self, minutes: float):
        super().__init__()
        if not minutes > 0:
            raise InputError(f"`minutes` is a number above 0. Received: {minutes}")
        self.minutes = minutes
        self._deadline = time.monotonic() + 60 * minutes
        self._longest = 0.0
        self.stopped = False
        self.cut_epoch = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the budget is spent; negative after."""
        return self._deadline - time.monotonic()

    def is_spent(self) -> bool:
        """Whether it is; asked outside of `fit`, by work that is left undone then."""
        if self.seconds_left <= 0 and not self.stopped:
            self._stop("before the first epoch of a phase")
        return self.stopped

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if self.seconds_left <= 0 and not self.stopped:
            self._stop("in the middle of an epoch; that epoch is not counted")
            self.cut_epoch = True

    def on_epoch_end(self, epoch, logs=None):
        self._longest = max(self._longest, time.monotonic() - self._began)
        if self.seconds_left < 1.1 * self._longest and not self.stopped:
            self._stop(f"after epoch {epoch + 1}, because another may not fit")

    def _stop(self, where: str) -> None:
        self.stopped = True
        if self.model is not None:
            self.model.stop_training = True
        log.warning(
            "Time budget of %g minutes: training ends %s. The same command goes on from here.", self.minutes, where
        )
