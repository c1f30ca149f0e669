"""The threshold of a binary classifier: chosen on the validation images by a stated rule, applied to the test images.

A threshold chosen on the test images makes the test an optimistic one; and 0.5 is a choice too.
"""

from __future__ import annotations

import dataclasses
from typing import Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import labelled_arrays
from leukemia_tf.evaluation._records import JsonRecord
from leukemia_tf.evaluation.intervals import wilson_interval
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions, make_predictions

RULES = ("sensitivity", "specificity", "youden", "cost", "fixed")
"""Rules that `choose_operating_point` knows."""


@dataclasses.dataclass(frozen=True)
class OperatingPoint(JsonRecord):
    """A threshold and what it gave where it was chosen.

    Attributes:
        threshold: ``classes[1]`` is predicted where its probability is at least this; between 0 and 1.
        rule: one of `RULES`.
        target: sensitivity or specificity that was asked for, the cost ratio, or the fixed threshold; ``None`` for
            ``youden``.
        classes: names; the second is the positive one.
        sensitivity, specificity: on the validation images; ``None`` where a fixed threshold met no image of the class.
        sensitivity_interval, specificity_interval: their 95 % Wilson intervals, for independent images; or ``None``.
        n_positive, n_negative: validation images of each class.
    """

    threshold: float
    rule: str
    target: float | None
    classes: tuple[str, ...]
    sensitivity: float | None
    specificity: float | None
    sensitivity_interval: tuple[float, float] | None
    specificity_interval: tuple[float, float] | None
    n_positive: int
    n_negative: int

    def __post_init__(self):
        for name in ("classes", "sensitivity_interval", "specificity_interval"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_binary(self.classes)
        if not 0.0 < self.threshold < 1.0:
            raise InputError(f"`threshold` must lie between 0 and 1; received {self.threshold!r}")
        if self.rule not in RULES:
            raise InputError(f"`rule` must be one of {', '.join(RULES)}; received {self.rule!r}")

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The predictions frame with predictions made at this threshold; probabilities stay.

        Raises:
            InputError: if the frame is malformed or has other classes.
        """
        check_predictions(frame, self.classes, "`frame`")
        probabilities = frame[[PREFIX + name for name in self.classes]].to_numpy(dtype=np.float64)
        return make_predictions(frame, probabilities, self.classes, threshold=self.threshold)


def choose_operating_point(
    frame: pd.DataFrame,
    classes: Sequence[str],
    rule: str = "youden",
    *,
    target: float | None = None,
    prevalence: float | None = None,
) -> OperatingPoint:
    """Choose a threshold on the labelled images of a predictions frame, which should be those of validation.

    Candidates lie halfway between neighbouring probabilities, so equal probabilities stay together. Calling every
    image positive, or none, is no candidate. Of candidates that are equally good the more sensitive one is taken.

    Args:
        frame: of `make_predictions`.
        classes: two names; the second is the positive one.
        rule: ``sensitivity``: the highest specificity with a sensitivity of at least ``target``; ``specificity``: the
            reverse; ``youden``: the highest sum of both; ``cost``: the lowest expected cost, where a missed positive
            costs ``target`` times as much as a false alarm; ``fixed``: the threshold is ``target``, and what it gives
            is measured.
        target: see ``rule``; in (0, 1] for the first two, above 0 for ``cost``, between 0 and 1 for ``fixed``.
        prevalence: share of positives where the classifier will be used, for ``cost``; default: that of the frame.

    Raises:
        InputError: with more than two classes, a malformed frame, a ``target`` that is missing, superfluous or out of
            range; and, unless the threshold is fixed, a class without images, one probability for all images, or a
            ``target`` that no candidate reaches.
    """
    classes = tuple(classes)
    _check_binary(classes)
    _check_rule(rule, target, prevalence)
    arrays = labelled_arrays(frame, classes)
    positive, scores = arrays.labels == 1, arrays.probabilities[:, 1]
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if rule == "fixed":
        hits, rejected = int((scores[positive] >= target).sum()), int((scores[~positive] < target).sum())
        return _measured(float(target), rule, target, classes, (hits, n_pos), (rejected, n_neg))
    for name, count in zip(classes, (n_neg, n_pos)):
        if not count:
            raise InputError(f"`frame` must hold images of both classes; received none of class `{name}`")
    distinct = np.unique(scores)
    thresholds = _between(distinct)
    if not len(thresholds):
        raise InputError(f"`frame` must hold different probabilities; received {float(distinct[0])!r} for every image")
    # Positives and negatives at or above each threshold.
    hits = n_pos - np.searchsorted(np.sort(scores[positive]), thresholds)
    rejected = np.searchsorted(np.sort(scores[~positive]), thresholds)
    sensitivity, specificity = hits / n_pos, rejected / n_neg

    if rule == "youden":
        allowed, gain = np.ones(len(thresholds), bool), sensitivity + specificity
    elif rule == "cost":
        share = n_pos / len(scores) if prevalence is None else prevalence
        gain = -(target * share * (1.0 - sensitivity) + (1.0 - share) * (1.0 - specificity))
        allowed = np.ones(len(thresholds), bool)
    else:
        counts, total, gain = (hits, n_pos, specificity) if rule == "sensitivity" else (rejected, n_neg, sensitivity)
        allowed = counts >= target * total - 1e-9
        if not allowed.any():
            side = f"every image `{classes[1]}`" if rule == "sensitivity" else f"no image `{classes[1]}`"
            raise InputError(
                f"`target` must be a {rule} that a threshold reaches on these images, at most "
                f"{counts.max() / total:.4g}; beyond that only calling {side} does. Received: {target!r}"
            )
    best = allowed & (gain >= gain[allowed].max() - 1e-12)
    # Thresholds rise, so sensitivity falls: the first of the best is the most sensitive. Under a target specificity
    # the best have one sensitivity, and the last of them is the most specific.
    index = np.flatnonzero(best)[-1 if rule == "specificity" else 0]
    if rule == "sensitivity":
        index = np.flatnonzero(best)[np.argmax(sensitivity[best])]
    return _measured(float(thresholds[index]), rule, target, classes, (hits[index], n_pos), (rejected[index], n_neg))


def _measured(
    threshold: float,
    rule: str,
    target: float | None,
    classes: tuple[str, ...],
    positives: tuple[int, int],
    negatives: tuple[int, int],
) -> OperatingPoint:
    """With sensitivity and specificity, given as (right, all) images of each class."""
    sides = {}
    for name, (right, total) in (("sensitivity", positives), ("specificity", negatives)):
        sides[name] = float(right / total) if total else None
        sides[f"{name}_interval"] = wilson_interval(int(right), int(total)) if total else None
    return OperatingPoint(
        threshold=threshold,
        rule=rule,
        target=None if target is None else float(target),
        classes=classes,
        n_positive=positives[1],
        n_negative=negatives[1],
        **sides,
    )


def _between(distinct: np.ndarray) -> np.ndarray:
    """One threshold t for each pair of neighbours, low < t <= high, so that ``p >= t`` parts them."""
    low, high = distinct[:-1], distinct[1:]
    middle = low + (high - low) / 2.0
    middle = np.where(middle > low, middle, high)  # neighbours that no number lies between
    return middle[(middle > 0.0) & (middle < 1.0)]


def _check_binary(classes: Sequence[str]) -> None:
    if len(classes) != 2:
        raise InputError(
            f"`classes` must be two for a threshold; above two the most probable class is predicted. "
            f"Received: {len(classes)}"
        )


def _check_rule(rule: str, target: float | None, prevalence: float | None) -> None:
    if rule not in RULES:
        raise InputError(f"`rule` must be one of {', '.join(RULES)}; received {rule!r}")
    if rule == "youden" and target is not None:
        raise InputError(f"`target` must be left out for the rule youden; received {target!r}")
    if rule in ("sensitivity", "specificity") and (target is None or not 0.0 < target <= 1.0):
        raise InputError(f"`target` must be a {rule} above 0 and at most 1; received {target!r}")
    if rule == "cost" and (target is None or not 0.0 < target < np.inf):
        raise InputError(f"`target` must be the cost ratio, above 0; received {target!r}")
    if rule == "fixed" and (target is None or not 0.0 < target < 1.0):
        raise InputError(f"`target` must be the threshold, between 0 and 1; received {target!r}")
    if prevalence is not None and (rule != "cost" or not 0.0 < prevalence < 1.0):
        raise InputError(f"`prevalence` must lie between 0 and 1, and is for the rule cost; received {prevalence!r}")
