"""Images unlike those of training: scores that are higher the stranger an image is, and a threshold for them.

A classifier names a class for anything, a smear of another stain or a photograph of a cat. These scores flag images to
be looked at; they do not prove that the others are what the classifier knows.
"""

from __future__ import annotations

import os
import zipfile
from typing import Sequence

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, pinvh
from scipy.special import logsumexp

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import check_indices
from leukemia_tf.files import atomic_path

_CHUNK_ELEMENTS = 4_000_000


def energy_score(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Energy -T log(sum(exp(logits / T))) (Liu et al., NeurIPS 2020), float64 [N]; high where no logit is high.

    Args:
        logits: [N, C] before any softmax; probabilities will not do, their energy says nothing. [N, 1] or [N], the
            logit z of a sigmoid, is taken as the two logits -z / 2 and z / 2; its energy ranks images as the confidence
            of the classifier does, because one number can say no more.
        temperature: above 0.

    Raises:
        InputError: if the shape is another, a logit is not finite, rows are probabilities or the temperature is out of
            range.
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim not in (1, 2) or not values.shape[-1] or not np.isfinite(values).all():
        raise InputError(f"`logits` must be finite, of shape [N, C] or [N]; received shape {list(values.shape)}")
    if values.ndim == 1 or values.shape[1] == 1:
        values = values.reshape(-1, 1) * np.array([-0.5, 0.5])
    elif len(values) and values.min() >= 0.0 and np.allclose(values.sum(axis=1), 1.0, atol=1e-5):
        raise InputError("`logits` must be taken before the softmax; received rows that sum to 1, as probabilities do")
    if not 0.0 < temperature < np.inf:
        raise InputError(f"`temperature` must be above 0; received {temperature!r}")
    return -temperature * logsumexp(values / temperature, axis=1)


class MahalanobisDetector:
    """Distance of features to the nearest class of the training images (Lee et al., NeurIPS 2018).

    Classes have means of their own and share one covariance, shrunk by the rule of Ledoit and Wolf (Journal of
    Multivariate Analysis 88, 2004), so that there may be more features than images.

    Attributes:
        means: float64 [C, D].
        precision: float64 [D, D], inverse of the shared covariance.
    """

    def __init__(self, means: np.ndarray, precision: np.ndarray):
        self.means, self.precision = np.asarray(means, dtype=np.float64), np.asarray(precision, dtype=np.float64)
        n_features = self.means.shape[-1]
        if self.means.ndim != 2 or self.precision.shape != (n_features, n_features):
            raise InputError(
                "`means` must have shape [C, D] and `precision` [D, D]; "
                f"received {list(self.means.shape)} and {list(self.precision.shape)}"
            )

    @classmethod
    def fit(cls, features: np.ndarray, labels: Sequence[int]) -> "MahalanobisDetector":
        """Fit to training images.

        Args:
            features: [N, D], finite, such as the pooled output of a backbone.
            labels: class indices [N]; every class up to the highest has an image.

        Raises:
            InputError: if shapes disagree, a feature is not finite, a class has no image, or no feature varies within
                a class.
        """
        features = _check_features(features)
        labels = check_indices(labels, len(features), int(np.max(labels, initial=0)) + 1)
        counts = np.bincount(labels)
        if not counts.all():
            raise InputError(f"`labels` must hold every class; received none of class {int(np.argmin(counts))}")
        means = np.stack([features[labels == index].mean(axis=0) for index in range(len(counts))])
        centred = features - means[labels]
        if not np.any(np.abs(centred) > 1e-12):
            raise InputError(f"`features` must vary within a class; received {len(features)} images that do not")
        from sklearn.covariance import LedoitWolf

        shared = LedoitWolf(assume_centered=True, store_precision=False).fit(centred).covariance_
        try:
            # Shrinking makes it positive definite; scikit-learn's own pseudo-inverse takes many times as long.
            precision = cho_solve(cho_factor(shared), np.eye(len(shared)))
        except LinAlgError:
            precision = pinvh(shared)
        return cls(means, precision)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance to the nearest class mean, float64 [N].

        Raises:
            InputError: if the shape is not [N, D] or a feature is not finite.
        """
        features = _check_features(features)
        if features.shape[1] != self.means.shape[1]:
            raise InputError(f"`features` must have {self.means.shape[1]} columns; received {features.shape[1]}")
        rows = max(1, _CHUNK_ELEMENTS // self.means.shape[1])
        parts = [self._nearest(features[start : start + rows]) for start in range(0, len(features), rows)]
        return np.concatenate([np.empty(0), *parts])

    def write(self, path: str | os.PathLike) -> None:
        """Write as ``.npz``, atomically.

        Raises:
            InputError: if the name does not end in ``.npz``.
        """
        if not str(path).endswith(".npz"):
            raise InputError(f"`path` must end in .npz; received {str(path)!r}")
        with atomic_path(path) as temporary:
            np.savez(temporary, means=self.means, precision=self.precision)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "MahalanobisDetector":
        """Read what `write` wrote; nothing in the file is executed.

        Raises:
            InputError: if there is no such file or it holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(stored["means"], stored["precision"])
        except FileNotFoundError:
            raise InputError(f"`{path}` must be a detector; received a path where there is no file") from None
        except (KeyError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"`{path}` must be a detector that `write` wrote; received another file: {error}"
            ) from None

    def _nearest(self, features: np.ndarray) -> np.ndarray:
        distances = []
        for mean in self.means:
            difference = features - mean
            distances.append(((difference @ self.precision) * difference).sum(axis=1))
        return np.min(distances, axis=0)


def ood_threshold(scores: Sequence[float], accepted: float = 0.95) -> float:
    """The score up to which a share ``accepted`` or more of the validation images lies; what is above it is flagged.

    Args:
        scores: of validation images, [N], finite.
        accepted: in (0, 1].

    Raises:
        InputError: if nothing or something not finite is given, or ``accepted`` is out of range.
    """
    values = _check_scores(scores, "`scores`")
    if not 0.0 < accepted <= 1.0:
        raise InputError(f"`accepted` must be above 0 and at most 1; received {accepted!r}")
    # A score that is one of them: a value between two would accept fewer than asked for.
    return float(np.quantile(values, accepted, method="inverted_cdf"))


def ood_metrics(inside: Sequence[float], outside: Sequence[float], accepted: float = 0.95) -> dict[str, float]:
    """How well scores part known images from strange ones.

    Args:
        inside: scores of images like those of training, [N].
        outside: scores of strange images, [M].
        accepted: share of ``inside`` that must pass.

    Returns:
        ``auroc`` (strange images are the positives); ``fpr``: share of ``outside`` that passes at the threshold that
        passes ``accepted`` of ``inside`` (FPR95 by default); ``threshold``; ``accepted``, the share of ``inside``
        that does pass.

    Raises:
        InputError: as of `ood_threshold`.
    """
    inside, outside = _check_scores(inside, "`inside`"), _check_scores(outside, "`outside`")
    threshold = ood_threshold(inside, accepted)
    strange = np.repeat([0, 1], [len(inside), len(outside)])
    from sklearn.metrics import roc_auc_score

    return {
        "auroc": float(roc_auc_score(strange, np.concatenate([inside, outside]))),
        "fpr": float((outside <= threshold).mean()),
        "threshold": threshold,
        "accepted": float((inside <= threshold).mean()),
    }


def _check_features(features: np.ndarray) -> np.ndarray:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise InputError(f"`features` must be finite, of shape [N, D]; received shape {list(values.shape)}")
    return values


def _check_scores(scores: Sequence[float], name: str) -> np.ndarray:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(f"{name} must be one or more finite numbers; received shape {list(values.shape)}")
    return values
