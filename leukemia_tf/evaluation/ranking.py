"""Area under the ROC curve and average precision of thousands of resamples, with one sort.

Resampling changes how often an image counts, never where it ranks. So the scores are sorted once; each resample costs
two running sums of counts and a few look-ups. Equal scores are one threshold, as in scikit-learn's
``roc_auc_score`` and ``average_precision_score``, whose results with ``sample_weight`` these are.
"""

from __future__ import annotations

import numpy as np

from leukemia_tf.data.threads import map_threads

_CHUNK_ELEMENTS = 200_000
"""Counts that are worked on at a time by each thread: what fits into the cache of a core."""


class Ranking:
    """Positives and negatives of one class, sorted by score.

    Args:
        positive: bool [N].
        scores: float [N], higher for the positive class.
        units: int [N], the column of the counts that belongs to each image; default: one column an image.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray, units: np.ndarray | None = None):
        units = np.arange(len(scores)) if units is None else units
        order = np.argsort(scores, kind="stable")
        scores, positive, units = scores[order], positive[order], units[order]
        pos_scores, neg_scores = scores[positive], scores[~positive]
        self.pos_units, self.neg_units = units[positive], units[~positive]
        # For each positive: negatives below it, negatives not above it, and positives below it.
        self.neg_below = np.searchsorted(neg_scores, pos_scores, side="left")
        self.neg_up_to = np.searchsorted(neg_scores, pos_scores, side="right")
        self.pos_below = np.searchsorted(pos_scores, pos_scores, side="left")

    def __call__(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUC [R] and average precision [R] of resamples given as counts [R, U]; NaN where a side is empty."""
        images = len(self.pos_units) + len(self.neg_units)
        rows = max(1, _CHUNK_ELEMENTS // max(1, images))
        if len(counts) <= rows:
            return self._chunk(counts)
        # NumPy lets go of Python's lock while it gathers and adds.
        parts = list(map_threads(self._chunk, (counts[start : start + rows] for start in range(0, len(counts), rows))))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _chunk(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = counts.astype(np.int32)  # a sum of counts is at most the number of images
        weights = np.take(counts, self.pos_units, axis=1)
        negatives = _running_sum(np.take(counts, self.neg_units, axis=1))
        positives = _running_sum(weights)
        n_pos, n_neg = positives[:, -1:], negatives[:, -1:]
        below = np.take(negatives, self.neg_below, axis=1)
        up_to = np.take(negatives, self.neg_up_to, axis=1)
        true = n_pos - np.take(positives, self.pos_below, axis=1)  # positives at or above each positive's score
        flagged = true + (n_neg - below)
        # A positive that was not drawn has weight 0; the 1 only keeps its 0 / 0 away.
        precision_sum = (weights * (true / np.maximum(flagged, 1))).sum(axis=1)
        # Whole numbers below 2**53: exact in whatever order they are added.
        wins = np.einsum("ij,ij->i", weights, below + up_to, dtype=np.float64) / 2.0
        n_pos, n_neg = n_pos[:, 0].astype(np.float64), n_neg[:, 0].astype(np.float64)
        defined = (n_pos > 0) & (n_neg > 0)
        auc = np.where(defined, wins / np.maximum(n_pos * n_neg, 1.0), np.nan)
        average_precision = np.where(defined, precision_sum / np.maximum(n_pos, 1.0), np.nan)
        return auc, average_precision


def _running_sum(weights: np.ndarray) -> np.ndarray:
    """int32 [R, N + 1], with the 0 that stands before the first."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=np.int32)
    np.cumsum(weights, axis=1, dtype=np.int32, out=sums[:, 1:])
    return sums
