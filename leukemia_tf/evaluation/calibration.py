"""Calibration of probabilities, fitted on the validation images and applied to others.

Temperature scaling (Guo et al., ICML 2017) divides the logits by one number: it changes no ranking and, of two classes
at a threshold of .5 or of more classes, no prediction. Platt's sigmoid (Platt, 1999) and isotonic regression (Zadrozny
and Elkan, KDD 2002) fit each class against the rest and may change predictions; isotonic regression wants about a
thousand images.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import check_indices, check_labels, labelled_arrays
from leukemia_tf.evaluation._records import JsonRecord
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions, make_predictions

log = logging.getLogger(__name__)

METHODS = ("temperature", "platt", "isotonic")
"""Calibrations that are known."""

# Fits see probabilities as float32 can tell them from 0 and 1: one saturated error must not decide alone.
_FIT_FLOOR = 1e-7
_FLOOR = np.finfo(np.float64).tiny


@dataclasses.dataclass(frozen=True)
class Calibration(JsonRecord):
    """A map of probabilities, of `fit_calibration`.

    Attributes:
        method: one of `METHODS`.
        classes: names in the order of the columns.
        parameters: ``{"temperature": T}``; ``{"slopes": [..], "intercepts": [..]}``; or ``{"given": [[..]],
            "calibrated": [[..]]}``. The lists have one entry a class, for two classes one for the second.
        n_images: validation images that it was fitted on.
    """

    method: str
    classes: tuple[str, ...]
    parameters: Mapping[str, Any]
    n_images: int

    def __post_init__(self):
        if isinstance(self.classes, str) or len(self.classes) < 2:
            raise InputError(f"`classes` must name two or more; received {self.classes!r}")
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "parameters", dict(self.parameters))
        if self.method not in METHODS:
            raise InputError(f"`method` must be one of {', '.join(METHODS)}; received {self.method!r}")
        names = {"temperature": {"temperature"}, "platt": {"slopes", "intercepts"}, "isotonic": {"given", "calibrated"}}
        if set(self.parameters) != names[self.method]:
            wanted = ", ".join(sorted(names[self.method]))
            raise InputError(f"`parameters` of {self.method} must be {wanted}; received {sorted(self.parameters)}")
        maps = 1 if len(self.classes) == 2 else len(self.classes)
        if self.method == "temperature":
            if not 0.0 < self.parameters["temperature"] < np.inf:
                raise InputError(f"`temperature` must be above 0; received {self.parameters['temperature']!r}")
        elif any(len(value) != maps for value in self.parameters.values()):
            raise InputError(f"`parameters` must have {maps} entries for {len(self.classes)} classes; received others")
        elif self.method == "platt":
            if not np.isfinite([self.parameters["slopes"], self.parameters["intercepts"]]).all():
                raise InputError(f"`slopes` and `intercepts` must be finite; received {self.parameters!r}")
        else:
            for pair in zip(self.parameters["given"], self.parameters["calibrated"]):
                given, calibrated = (np.asarray(values, dtype=np.float64) for values in pair)
                if given.shape != calibrated.shape or not len(given) or (np.diff(given) < 0).any():
                    raise InputError("`given` must rise, with as many `calibrated` values; received others")

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 [N, C], rows that sum to 1.

        Args:
            probabilities: [N, C]; of two classes also [N, 1] or [N], the probability of the second.

        Raises:
            InputError: if the shape is another, or a value is no number in [0, 1].
        """
        values = np.asarray(probabilities, dtype=np.float64)
        if not len(values):
            return np.empty((0, len(self.classes)))
        _, values = check_labels(np.zeros(len(values), dtype=np.int64), values)
        if values.shape[1] != len(self.classes):
            raise InputError(
                f"`probabilities` must have {len(self.classes)} columns, one a class; received {values.shape[1]}"
            )
        if self.method == "temperature":
            return softmax(np.log(np.maximum(values, _FLOOR)) / self.parameters["temperature"], axis=1)
        columns = [1] if len(self.classes) == 2 else range(len(self.classes))
        mapped = np.stack([self._map(place, values[:, column]) for place, column in enumerate(columns)], axis=1)
        if len(self.classes) == 2:
            return np.concatenate([1.0 - mapped, mapped], axis=1)
        sums = mapped.sum(axis=1, keepdims=True)
        # Isotonic maps may give every class 0; then nothing is known of the image.
        return np.where(sums > 0, mapped / np.where(sums > 0, sums, 1.0), 1.0 / len(self.classes))

    def apply_to(self, frame: pd.DataFrame, *, threshold: float = 0.5) -> pd.DataFrame:
        """A predictions frame with calibrated probabilities, and predictions made again from them.

        Args:
            frame: of `make_predictions`.
            threshold: for two classes, of the calibrated probability.

        Raises:
            InputError: if the frame is malformed or has other classes.
        """
        check_predictions(frame, self.classes, "`frame`")
        probabilities = self.apply(frame[[PREFIX + name for name in self.classes]].to_numpy(dtype=np.float64))
        return make_predictions(frame, probabilities, self.classes, threshold=threshold)

    def _map(self, place: int, values: np.ndarray) -> np.ndarray:
        if self.method == "platt":
            return expit(self.parameters["slopes"][place] * _logit(values) + self.parameters["intercepts"][place])
        return np.interp(values, self.parameters["given"][place], self.parameters["calibrated"][place])


def fit_calibration(frame: pd.DataFrame, classes: Sequence[str], method: str = "temperature") -> Calibration:
    """Fit a calibration on the labelled images of a predictions frame, which should be those of validation.

    Args:
        frame: of `make_predictions`.
        classes: names in the order of the label index.
        method: ``temperature``, ``platt`` or ``isotonic``.

    Raises:
        InputError: if the frame is malformed, ``method`` unknown, a temperature is not defined (see `fit_temperature`),
            a class that Platt or isotonic regression wants has no image, or Platt's scores are all equal.
    """
    if method not in METHODS:
        raise InputError(f"`method` must be one of {', '.join(METHODS)}; received {method!r}")
    classes = tuple(classes)
    arrays = labelled_arrays(frame, classes)
    labels, probabilities = arrays.labels, arrays.probabilities
    if method == "temperature":
        temperature = fit_temperature(np.log(np.maximum(probabilities, _FIT_FLOOR)), labels)
        return Calibration(method, classes, {"temperature": temperature}, len(labels))
    absent = [name for index, name in enumerate(classes) if not (labels == index).any()]
    if absent:
        raise InputError(f"`frame` must hold images of every class for {method}; received none of {', '.join(absent)}")
    columns = [1] if len(classes) == 2 else range(len(classes))
    fit = _fit_platt if method == "platt" else _fit_isotonic
    firsts, seconds = zip(*(fit(probabilities[:, column], labels == column) for column in columns))
    names = ("slopes", "intercepts") if method == "platt" else ("given", "calibrated")
    if method == "platt" and min(firsts) <= 0:
        log.warning("a sigmoid of the calibration falls: on the validation images a class ranks below the rest")
    return Calibration(method, classes, {names[0]: list(firsts), names[1]: list(seconds)}, len(labels))


def fit_temperature(logits: np.ndarray, labels: Sequence[int]) -> float:
    """Temperature that minimises the negative log-likelihood, which is convex in its inverse.

    Args:
        logits: [N, C], or [N, 1] or [N] of a sigmoid. Log-probabilities are logits.
        labels: class indices [N].

    Raises:
        InputError: if shapes disagree, or there is no minimum: every image is classified rightly (the colder the
            better), or the logits do not favour the true classes at all (the hotter the better).
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], axis=1)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise InputError(f"`logits` must be finite, of shape [N, C] or [N]; received shape {list(np.shape(logits))}")
    labels = check_indices(labels, *values.shape)
    values = values - values.max(axis=1, keepdims=True)
    own = values[np.arange(len(values)), labels]
    if float(np.mean(values.mean(axis=1) - own)) >= 0.0:
        raise InputError(
            f"`logits` must favour the true classes to fit a temperature; received {len(values)} images whose do not"
        )
    if (own == 0.0).all():
        raise InputError(
            f"`logits` must hold an image that is classified wrongly to fit a temperature; received {len(values)} "
            "images, all right"
        )
    scale = float(np.abs(values).max())
    values, own = values / scale, own / scale

    def slope(log_inverse: float) -> float:
        """Derivative of the negative log-likelihood by the inverse temperature."""
        return float(np.mean((softmax(np.exp(log_inverse) * values, axis=1) * values).sum(axis=1) - own))

    # Here, as scikit-learn below: a prediction applies what was fitted, and must start fast.
    from scipy.optimize import brentq

    low, high = 0.0, 0.0
    while slope(low) > 0.0:
        low -= 1.0
    while slope(high) < 0.0:
        high += 1.0
    best = low if low == high else brentq(slope, low, high, xtol=1e-12)
    return scale * float(np.exp(-best))


def _fit_platt(values: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Slope and intercept. Platt's targets lie a little within 0 and 1, so that there always is a finite fit."""
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n_pos + 1.0) / (n_pos + 2.0), 1.0 / (n_neg + 2.0))
    scores = _logit(values)
    # In units of their spread, about their mean: the fit is then well conditioned.
    centre, spread = float(scores.mean()), float(scores.std())
    if spread < 1e-12:
        raise InputError(
            f"`frame` must hold different probabilities for platt; received {values[0]:.6g} for every image"
        )
    scores = np.concatenate([(scores - centre) / spread] * 2)[:, None]
    outcomes = np.repeat([1, 0], len(values))
    weights = np.concatenate([target, 1.0 - target])
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000, solver="newton-cholesky")
    model.fit(scores, outcomes, sample_weight=weights)
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * centre


def _fit_isotonic(values: np.ndarray, positive: np.ndarray) -> tuple[list[float], list[float]]:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(values, positive.astype(np.float64))
    return model.X_thresholds_.tolist(), model.y_thresholds_.tolist()


def _logit(values: np.ndarray) -> np.ndarray:
    clipped = np.clip(values, _FIT_FLOOR, 1.0 - _FIT_FLOOR)
    return np.log(clipped) - np.log1p(-clipped)
