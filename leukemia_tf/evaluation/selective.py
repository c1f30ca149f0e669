"""Abstention: a classifier that may leave its least certain images to a person.

Confidence is the probability of the predicted class (Geifman and El-Yaniv, NeurIPS 2017). Risk is the share of wrong
predictions among the images that are kept; coverage is the share that is kept.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import labelled_arrays
from leukemia_tf.evaluation._records import JsonRecord
from leukemia_tf.evaluation.intervals import wilson_interval, wilson_upper
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions


@dataclasses.dataclass(frozen=True)
class Abstention(JsonRecord):
    """A rule of which images to keep, of `choose_abstention`.

    Attributes:
        threshold: an image is kept where the probability of its predicted class is at least this.
        target_risk: share of errors among the kept that was asked for.
        bounded: whether the upper end of Wilson's interval had to keep to the target, or the share itself.
        classes: names in the order of the label index.
        coverage, risk: on the validation images.
        n_images: how many those were.
    """

    threshold: float
    target_risk: float
    bounded: bool
    classes: tuple[str, ...]
    coverage: float
    risk: float
    n_images: int

    def __post_init__(self):
        object.__setattr__(self, "classes", tuple(self.classes))
        for name in ("threshold", "target_risk", "coverage", "risk"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"`{name}` must lie in [0, 1]; received {getattr(self, name)!r}")

    def keep(self, frame: pd.DataFrame) -> np.ndarray:
        """bool [N], whether each image of a predictions frame (labelled or not) is kept.

        Raises:
            InputError: if the frame is malformed or has other classes.
        """
        return confidences(frame, self.classes) >= self.threshold

    def evaluate(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Coverage and risk on the labelled images of a frame, usually those of the test.

        Returns:
            ``coverage``, ``kept``, ``n_images``, ``errors``, ``risk`` and its 95 % Wilson interval ``risk_low``,
            ``risk_high`` for independent images; the last three null if no image is kept.
        """
        arrays = labelled_arrays(frame, self.classes)
        kept = self.keep(frame[frame["label"] != ""])
        errors, images = int((arrays.predictions != arrays.labels)[kept].sum()), int(kept.sum())
        low, high = wilson_interval(errors, images) if images else (None, None)
        return {
            "coverage": images / len(kept),
            "kept": images,
            "n_images": len(kept),
            "errors": errors,
            "risk": errors / images if images else None,
            "risk_low": low,
            "risk_high": high,
        }


def confidences(frame: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Probability of the predicted class of each image, float64 [N]; below .5 where a threshold other than .5 decided.

    Raises:
        InputError: if the frame is malformed.
    """
    check_predictions(frame, classes, "`frame`")
    index = {name: position for position, name in enumerate(classes)}
    chosen = frame["prediction"].map(index).to_numpy(dtype=np.int64)
    return frame[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)[np.arange(len(frame)), chosen]


def risk_coverage_curve(frame: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Risk and coverage at every threshold of the confidence, over the labelled images.

    Returns:
        One row for each distinct confidence, from the highest: ``threshold``, ``kept``, ``coverage``, ``errors``,
        ``risk``. Equal confidences are kept or left together.

    Raises:
        InputError: if the frame is malformed or no image has a label.
    """
    arrays = labelled_arrays(frame, classes)
    scores = confidences(frame[frame["label"] != ""], classes)
    wrong = arrays.predictions != arrays.labels
    order = np.argsort(-scores, kind="stable")
    sorted_scores, errors = scores[order], np.cumsum(wrong[order])
    last = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    kept = last + 1
    return pd.DataFrame(
        {
            "threshold": sorted_scores[last],
            "kept": kept,
            "coverage": kept / len(scores),
            "errors": errors[last],
            "risk": errors[last] / kept,
        }
    )


def area_under_risk_coverage(frame: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """Area under the risk-coverage curve (lower is better): mean risk at the confidence of each image as threshold.

    Returns:
        ``aurc``; ``optimal``, that of a confidence that ranks every error last; ``excess``, the difference (Geifman et
        al., ICLR 2019); ``risk``, the share of errors when no image is left out.

    Raises:
        InputError: as of `risk_coverage_curve`.
    """
    curve = risk_coverage_curve(frame, classes)
    members = np.diff(curve["kept"], prepend=0)
    n_images, n_errors = int(curve["kept"].iloc[-1]), int(curve["errors"].iloc[-1])
    aurc = float((members * curve["risk"]).sum() / n_images)
    ranks = np.arange(1, n_images + 1)
    optimal = float((np.maximum(ranks - (n_images - n_errors), 0) / ranks).mean())
    return {"aurc": aurc, "optimal": optimal, "excess": aurc - optimal, "risk": n_errors / n_images}


def choose_abstention(
    frame: pd.DataFrame, classes: Sequence[str], target_risk: float, *, bounded: bool = False
) -> Abstention:
    """The threshold of the highest coverage at which the risk keeps to a target, on validation images.

    Args:
        frame: of `make_predictions`; its labelled images are used.
        classes: names in the order of the label index.
        target_risk: share of errors among the kept, in [0, 1).
        bounded: the upper end of the risk's 95 % Wilson interval must keep to the target: a margin for few images. It
            does not correct for many thresholds being looked at, nor for images of one subject being alike.

    Raises:
        InputError: if the frame is malformed, ``target_risk`` is out of range or no threshold reaches it.
    """
    if not 0.0 <= target_risk < 1.0:
        raise InputError(f"`target_risk` must lie in [0, 1); received {target_risk!r}")
    curve = risk_coverage_curve(frame, classes)
    risks = curve["risk"].to_numpy()
    if bounded:
        risks = wilson_upper(curve["errors"].to_numpy(), curve["kept"].to_numpy())
    reached = np.flatnonzero(risks <= target_risk + 1e-12)
    if not len(reached):
        what = "upper end of the risk's interval" if bounded else "risk"
        raise InputError(
            f"`target_risk` must be one that a threshold reaches on these images; the lowest {what} is "
            f"{risks.min():.4g}. Received: {target_risk!r}"
        )
    row = curve.iloc[reached[-1]]
    return Abstention(
        threshold=float(row["threshold"]),
        target_risk=float(target_risk),
        bounded=bool(bounded),
        classes=tuple(classes),
        coverage=float(row["coverage"]),
        risk=float(row["risk"]),
        n_images=int(curve["kept"].iloc[-1]),
    )
