"""A trained model asked for all that a decision needs: probabilities, and how strange an image is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation import MahalanobisDetector, energy_score
from leukemia_tf.evaluation.decision import CANNOT
from leukemia_tf.recipes.predicting import predict_outputs

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest

DETECTOR = "detector.npz"
"""File of a run: means and precision of the training images' features."""
MOST_TRAINING_IMAGES = 2000
"""The detector is fitted to at most so many."""
# Pixels that are asked for at a time.
_PART_BYTES = 1 << 30


class Scorer:
    """Probabilities and scores of the images of a table.

    Args:
        model: a ``keras.Model``, or an object with ``predict_proba``.
        manifest: gives the classes.
        image_size, batch_size, jit_compile, progress: as of `predict_table`.
        detector: of the training images' features; None until `fit_detector`.

    Attributes:
        model: what is asked; of a network that ends in logits, with its logits and features as further outputs.
        reason: why a score is missing, or "".
    """

    def __init__(
        self,
        model: Any,
        manifest: Manifest,
        *,
        image_size: int,
        batch_size: int,
        jit_compile: bool = False,
        progress: bool = False,
        detector: MahalanobisDetector | None = None,
    ):
        self.manifest, self.detector = manifest, detector
        self.options = {"image_size": image_size, "batch_size": batch_size, "jit_compile": jit_compile}
        self.progress = progress
        self.model, self.reason = model, ""
        if hasattr(model, "predict_proba"):
            self.reason = f"{CANNOT}a model of scikit-learn gives no logits and features"
            return
        from leukemia_tf.models.features import with_features

        inner = with_features(model)
        if inner is None:
            self.reason = f"{CANNOT}the model has no layer called logits behind a vector of features"
        else:
            self.model = inner

    def fit_detector(self, table: pd.DataFrame, pixels: np.ndarray) -> None:
        """Fit the detector to the features of training images; where that cannot be, `reason` says why."""
        if self.reason:
            return
        features = predict_outputs(self.model, self.manifest, table, pixels, **self.options).features
        labels = [self.manifest.classes.index(label) for label in table["label"]]
        try:
            found = MahalanobisDetector.fit(features, labels)
        except InputError as error:
            self.reason = f"{CANNOT}Mahalanobis: {' '.join(str(error).replace('`', '').split())}"
            return
        # As the export holds it, so that it flags what the run flags.
        self.detector = MahalanobisDetector(found.means.astype(np.float32), found.precision.astype(np.float32))

    def __call__(
        self, table: pd.DataFrame, pixels: np.ndarray | Callable[[slice], np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Probabilities, float32 [N, C] or [N, 1], and any of the scores ``energy`` and ``mahalanobis``, float64 [N].

        One sigmoid has no energy of its own: it would rank images as their confidence does.

        Args:
            table: N rows.
            pixels: uint8 [N, S, S, 3], or what reads those of some rows. Some thousand are asked for at a time, so
                that neither they nor the features, which are thousands of numbers an image, fill the memory.
        """
        read = pixels if callable(pixels) else lambda rows: pixels[rows]
        parts = [self._part(table.iloc[rows], read(rows)) for rows in self._slices(len(table))]
        probabilities = np.concatenate([found for found, _ in parts])
        return probabilities, {name: np.concatenate([scores[name] for _, scores in parts]) for name in parts[0][1]}

    def _slices(self, count: int) -> list[slice]:
        """Whole batches, so that the same images are predicted together as at once."""
        batch, size = self.options["batch_size"], self.options["image_size"]
        step = max(1, _PART_BYTES // (batch * size * size * 3)) * batch
        return [slice(start, start + step) for start in range(0, count, step)]

    def _part(self, table: pd.DataFrame, pixels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        found = predict_outputs(self.model, self.manifest, table, pixels, **self.options, progress=self.progress)
        scores = {}
        if found.logits is not None and found.logits.shape[1] > 1:
            scores["energy"] = energy_score(found.logits)
        if found.features is not None and self.detector is not None:
            scores["mahalanobis"] = self.detector.score(found.features)
        return found.probabilities, scores


def training_sample(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Rows of at most `MOST_TRAINING_IMAGES` training images for the detector, int64, in order."""
    rows = np.arange(len(table))
    if len(rows) <= MOST_TRAINING_IMAGES:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_TRAINING_IMAGES])
