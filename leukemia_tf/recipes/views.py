"""Predict the eight views of every image: what test-time augmentation averages."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from leukemia_tf.recipes.predicting import predict_table

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest


@dataclasses.dataclass(frozen=True)
class Views:
    """What a model says of the views of a table's images.

    Attributes:
        names: of the views, `leukemia_tf.data.augment.d4.D4_NAMES`; the first is the image as it is.
        probabilities: float32 [8, N, C], or [8, N, 1] from a model with one sigmoid output. The first is the plain
            prediction.
        seconds: wall time of each view. That of the first includes the tracing of a model that never predicted before.
    """

    names: tuple[str, ...]
    probabilities: np.ndarray
    seconds: tuple[float, ...]


def predict_views(
    model: Any,
    manifest: Manifest,
    table: pd.DataFrame,
    pixels: np.ndarray,
    *,
    image_size: int,
    batch_size: int,
    jit_compile: bool = False,
    progress: bool = False,
) -> Views:
    """Probabilities for the eight rotations and flips of each image of a table.

    `leukemia_tf.evaluation.tta` averages them. Nothing is copied: pixels of a mapped file stay on disk, and a batch of
    them is turned when it is read. Arguments are those of `predict_table`.
    """
    from leukemia_tf.data.augment.d4 import D4_NAMES, d4_view
    from leukemia_tf.data.progress import track

    found, seconds = [], []
    for element in track(range(len(D4_NAMES)), len(D4_NAMES), "predicting views", progress):
        view = d4_view(pixels, element)
        if hasattr(model, "predict_proba"):
            # OpenCV takes no array that is read backwards.
            view = np.ascontiguousarray(view)
        start = time.perf_counter()
        found.append(
            predict_table(
                model,
                manifest,
                table,
                view,
                image_size=image_size,
                batch_size=batch_size,
                jit_compile=jit_compile,
            )
        )
        seconds.append(time.perf_counter() - start)
    return Views(D4_NAMES, np.stack(found), tuple(seconds))
