"""The one way in which a trained model is asked: by the verdict, `evaluate` and `predict` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest


class Outputs(NamedTuple):
    """What a model says of N images.

    ``probabilities``: float32 (N, C), or (N, 1) from one sigmoid output; ``logits``: of the same shape, and
    ``features``: float32 (N, D); the last two None where the model does not give them.
    """

    probabilities: np.ndarray
    logits: np.ndarray | None = None
    features: np.ndarray | None = None


def predict_table(
    model: Any,
    manifest: Manifest,
    table: pd.DataFrame,
    pixels: np.ndarray,
    *,
    image_size: int,
    batch_size: int,
    jit_compile: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Probabilities for the images of a table.

    Args:
        model: a ``keras.Model`` of images (B, S, S, 3) in [0, 255], or an object with ``predict_proba(pixels)``.
        manifest: gives the classes.
        table: one row an image, one or more; labels are not looked at.
        pixels: uint8 (N, S, S, 3), RGB, row i of the table; an array or a memory-mapped file.
        image_size: side S in pixels.
        batch_size: images a step.
        jit_compile: compile with XLA. Then the last batch is filled up, and the filling cut off, because XLA compiles
            anew for a batch of another size.
        progress: show Keras's progress bar.

    Returns:
        float32 (N, C), or (N, 1) from a model with one sigmoid output: row i belongs to row i of the table.
    """
    return predict_outputs(
        model,
        manifest,
        table,
        pixels,
        image_size=image_size,
        batch_size=batch_size,
        jit_compile=jit_compile,
        progress=progress,
    ).probabilities


def predict_outputs(
    model: Any,
    manifest: Manifest,
    table: pd.DataFrame,
    pixels: np.ndarray,
    *,
    image_size: int,
    batch_size: int,
    jit_compile: bool = False,
    progress: bool = False,
) -> Outputs:
    """As `predict_table`; of a model of `leukemia_tf.models.features.with_features` also logits and features."""
    if hasattr(model, "predict_proba"):
        return Outputs(np.asarray(model.predict_proba(pixels), np.float32))
    from leukemia_tf.data import make_pipeline

    dataset = make_pipeline(
        table.assign(label=manifest.classes[0]),
        manifest=manifest,
        image_size=image_size,
        batch_size=batch_size,
        pixels=pixels,
    ).map(lambda images, labels: images)
    if jit_compile:
        dataset = dataset.map(lambda images: _filled(images, batch_size))
    if model.jit_compile != jit_compile:
        model.jit_compile = jit_compile
        model.make_predict_function(force=True)
    found = model.predict(dataset, verbose=int(progress))
    found = found if isinstance(found, dict) else {"probabilities": found}
    return Outputs(**{name: np.asarray(values, np.float32)[: len(table)] for name, values in found.items()})


def _filled(images, batch_size: int):
    """Black images added, so that the batch has its full size, which is part of the tensor's type then."""
    import tensorflow as tf

    missing = batch_size - tf.shape(images)[0]
    images = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
    return tf.ensure_shape(images, [batch_size, *images.shape[1:]])
