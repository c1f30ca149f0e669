"""Several processes that share every batch, under TensorFlow: what Keras 3.15 lacks for it."""

from __future__ import annotations

import zlib

import tensorflow as tf


class MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """A `tf.distribute.MultiWorkerMirroredStrategy` under which ``fit`` of Keras works.

    Keras 3.15 fails there at two calls of `reduce`. Before it builds a model it reduces a whole batch as one structure,
    of which it wants the shapes (``TensorFlowTrainer._maybe_symbolic_build``); and after each step it takes the mean of
    losses and metrics along an axis that scalars don't have (``reduce_per_replica``). Both are answered here.
    """

    def reduce(self, reduce_op, value, axis):
        """As in TensorFlow, but a structure gives what this process has of it, and scalars are reduced without axis."""
        if isinstance(value, (tuple, list, dict)):
            return tf.nest.map_structure(lambda part: self.experimental_local_results(part)[0], value)
        scalar = self.experimental_local_results(value)[0].shape.rank == 0
        return super().reduce(reduce_op, value, axis=None if scalar else axis)

    def agree(self, text: str) -> bool:
        """Whether all processes gave the same text; waits for them."""
        found = self.gather(tf.constant([zlib.crc32(text.encode())], tf.int64), axis=0)
        return bool(tf.reduce_all(found == found[0]))
