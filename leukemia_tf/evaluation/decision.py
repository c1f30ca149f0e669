"""What a run decides on its validation images, saved as ``decision.json`` and applied to every image after that.

Calibration, the threshold of two classes, a confidence below which a person should look, and thresholds for images
unlike those of training. A fit that is not defined (every validation image right, a class missing) leaves its part out
and says why; the run goes on.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.calibration import Calibration, fit_calibration
from leukemia_tf.evaluation.ood import ood_threshold
from leukemia_tf.evaluation.operating_points import OperatingPoint, choose_operating_point
from leukemia_tf.evaluation.predictions import GROUP, RAW, SCORES, make_predictions, plain_columns
from leukemia_tf.evaluation.rules import VerdictRules, parse_operating_point
from leukemia_tf.evaluation.selective import Abstention, choose_abstention
from leukemia_tf.evaluation.tta import TestTimeAugmentation, equal_views, fit_views
from leukemia_tf.files import read_json, write_json

VERSION = 1
CANNOT = "cannot be had: "
"""Begins a reason that lies in the model and not in the validation images."""
NAMES = {
    "calibration": "calibration",
    "operating_point": "operating point",
    "abstention": "abstention",
    "out_of_distribution": "score of strangeness",
    "test_time_augmentation": "test-time augmentation",
}
"""Parts of a decision, as sentences call them."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What `fit_decision` found. A part that is ``None`` or empty has its reason in ``reasons``.

    Attributes:
        classes: names in the order of the label index.
        rules: by which it was fitted.
        calibration: of the probabilities.
        operating_point: of two classes; always there, if need be with the fixed threshold .5.
        abstention: the lowest confidence that is kept.
        strangeness: threshold of each of `SCORES` that there is; an image above one of them is flagged.
        accepted: share of the validation images that no score flags.
        views: how the views of test-time augmentation are averaged, and
        averaged: the calibration and the operating point of the average.
        reasons: part -> why it is missing or not what was asked for.
        fitted_on: ``file``, ``sha256``, ``n_images``, ``n_subjects`` of the validation images.
    """

    classes: tuple[str, ...]
    rules: VerdictRules
    calibration: Calibration | None = None
    operating_point: OperatingPoint | None = None
    abstention: Abstention | None = None
    strangeness: Mapping[str, float] = dataclasses.field(default_factory=dict)
    accepted: float | None = None
    views: TestTimeAugmentation | None = None
    averaged: Decision | None = None
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fitted_on: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """Of the calibrated probability of the second of two classes; .5 otherwise."""
        return self.operating_point.threshold if self.operating_point else 0.5

    def apply(
        self,
        table: pd.DataFrame,
        probabilities: np.ndarray,
        scores: Mapping[str, np.ndarray] | None = None,
        groups: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Predictions with all that was decided.

        Args:
            table: as of `make_predictions`, N rows.
            probabilities: [N, C], [N, 1] or [N], as the model gives them.
            scores: any of `SCORES`, float [N].
            groups: columns that divide the images, N rows.

        Returns:
            The columns of `make_predictions`, of calibrated probabilities at the operating point; ``raw_prob_<class>``;
            the scores; ``out_of_distribution`` (where a score has a threshold) and ``abstain`` (where there is one), 0
            or 1; ``group_<column>``.

        Raises:
            InputError: as of `make_predictions`, and for a score that is not finite.
        """
        raw = make_predictions(table, probabilities, self.classes)
        names = plain_columns(self.classes)[4:]
        values = raw[names].to_numpy(dtype=np.float64)
        calibrated = self.calibration.apply(values) if self.calibration else values
        frame = make_predictions(table, calibrated, self.classes, threshold=self.threshold)
        further = {RAW + name: values[:, column] for column, name in enumerate(self.classes)}
        strange = np.zeros(len(frame), dtype=np.int64)
        for name in [name for name in SCORES if name in (scores or {})]:
            further[name] = np.asarray(scores[name], dtype=np.float64)
            if not np.isfinite(further[name]).all():
                raise InputError(f"`scores` must be finite. Received: another `{name}`")
            strange |= further[name] > self.strangeness.get(name, np.inf)
        if set(self.strangeness) & set(further):
            further["out_of_distribution"] = strange
        if self.abstention:
            further["abstain"] = (~self.abstention.keep(frame)).astype(np.int64)
        for column in [] if groups is None else groups:
            values = groups[column].astype(object)
            further[GROUP + column] = values.where(values.notna(), "").map(str).to_numpy()
        return frame.assign(**further)

    @classmethod
    def undecided(cls, classes: Sequence[str], threshold: float = 0.5) -> Decision:
        """A fixed threshold and nothing else, for a run that decided nothing."""
        point = None
        if len(classes) == 2:
            point = OperatingPoint(threshold, "fixed", threshold, tuple(classes), None, None, None, None, 0, 0)
        reasons = {name: "not asked for: the run is of an older version" for name in NAMES}
        return cls(tuple(classes), VerdictRules.fixed(threshold), operating_point=point, reasons=reasons)

    def notices(self) -> list[str]:
        """What a reader has to know of parts that could not be fitted, in one line or none."""
        wanted = {name: why for name, why in self.reasons.items() if not why.startswith(("not asked for", CANNOT))}
        if not wanted:
            return []
        parts = "; ".join(f"{NAMES[name]}: {why}" for name, why in wanted.items())
        return [f"fitted on {self.fitted_on['n_images']:,} validation images, without: {parts}"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        strange = {"thresholds": dict(self.strangeness), "accepted": self.accepted} if self.strangeness else None
        views = self.views and {"views": self.views.to_dict(), "decision": self.averaged.to_dict()}
        return {
            "version": VERSION,
            "classes": list(self.classes),
            "fitted_on": dict(self.fitted_on),
            "rules": self.rules.to_dict(),
            "calibration": self.calibration and self.calibration.to_dict(),
            "operating_point": self.operating_point and self.operating_point.to_dict(),
            "abstention": self.abstention and self.abstention.to_dict(),
            "out_of_distribution": strange,
            "test_time_augmentation": views,
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "`values`") -> Decision:
        """From `to_dict`.

        Raises:
            InputError: if it is no decision, or one of another version.
        """
        if not isinstance(values, Mapping) or values.get("version") != VERSION:
            received = values.get("version") if isinstance(values, Mapping) else type(values).__name__
            raise InputError(f"{source} must be a decision of version {VERSION}. Received: {received!r}")
        try:
            strange, views = values["out_of_distribution"] or {}, values["test_time_augmentation"]
            part = {"calibration": Calibration, "operating_point": OperatingPoint, "abstention": Abstention}
            return cls(
                classes=tuple(values["classes"]),
                rules=VerdictRules(**values["rules"]),
                **{
                    name: kind.from_dict(values[name], f"{source}: `{name}`") if values[name] else None
                    for name, kind in part.items()
                },
                strangeness={name: float(value) for name, value in strange.get("thresholds", {}).items()},
                accepted=strange.get("accepted"),
                views=TestTimeAugmentation.from_dict(views["views"], f"{source}: `views`") if views else None,
                averaged=cls.from_dict(views["decision"], f"{source}: `decision`") if views else None,
                reasons=dict(values["reasons"]),
                fitted_on=dict(values["fitted_on"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{source} must be a decision of this version. Received: {error!r}") from error

    def write(self, path: str | os.PathLike) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: str | os.PathLike) -> Decision:
        """Read what `write` wrote.

        Raises:
            InputError: as of `from_dict`.
            RunError: if the file is missing or is not JSON.
        """
        return cls.from_dict(read_json(path), f"`{path}`")


def fit_decision(
    table: pd.DataFrame,
    probabilities: np.ndarray,
    classes: Sequence[str],
    rules: VerdictRules = VerdictRules(),
    scores: Mapping[str, np.ndarray] | None = None,
    *,
    without: Mapping[str, str] | None = None,
) -> Decision:
    """Fit every part to the validation images.

    The threshold and the abstention are chosen on calibrated probabilities.

    Args:
        table, probabilities, scores: of the validation images, as of `Decision.apply`.
        classes: names in the order of the label index.
        rules: what is wanted.
        without: part -> why it cannot be had, whatever the images; begins with `CANNOT`.

    Raises:
        InputError: if a probability is no number in [0, 1], or shapes disagree.
    """
    classes = tuple(classes)
    raw = make_predictions(table, probabilities, classes)
    reasons = dict(without or {})
    subjects = set(raw["subject"])
    fitted_on = {"n_images": len(raw), "n_subjects": None if "" in subjects else len(subjects)}
    parts: dict[str, Any] = {}

    if rules.calibration == "none":
        reasons["calibration"] = "not asked for"
    else:
        parts["calibration"] = _try("calibration", reasons, lambda: fit_calibration(raw, classes, rules.calibration))
    calibration = parts.get("calibration")
    frame = calibration.apply_to(raw) if calibration else raw

    if len(classes) == 2:
        rule, target = parse_operating_point(rules.operating_point)
        point = _try("operating_point", reasons, lambda: choose_operating_point(frame, classes, rule, target=target))
        if point is None:
            reasons["operating_point"] += "; the threshold is .5"
            point = choose_operating_point(frame, classes, "fixed", target=0.5) if (raw["label"] != "").any() else None
        parts["operating_point"] = point
        frame = point.apply(frame) if point else frame
    else:
        reasons["operating_point"] = "not asked for: above two classes the most probable class is predicted"

    parts["abstention"] = _try("abstention", reasons, lambda: choose_abstention(frame, classes, rules.target_risk))
    strange: dict[str, float] = {}
    flagged = np.zeros(len(raw), dtype=bool)
    for name, values in (scores or {}).items():
        threshold = _try("out_of_distribution", reasons, lambda: ood_threshold(values, rules.accepted))
        if threshold is not None:
            strange[name] = threshold
            flagged |= np.asarray(values) > threshold
    accepted = float(1.0 - flagged.mean()) if strange else None
    if rules.tta == "none":
        reasons["test_time_augmentation"] = "not asked for"
    return Decision(
        classes, rules, **parts, strangeness=strange, accepted=accepted, reasons=reasons, fitted_on=fitted_on
    )


def _try(part: str, reasons: dict[str, str], fit):
    """What ``fit`` gives, or None with the reason written down."""
    try:
        return fit()
    except InputError as error:
        reasons[part] = " ".join(str(error).replace("`", "").split())
        return None


def add_views(
    decision: Decision, table: pd.DataFrame, probabilities: np.ndarray, names: Sequence[str]
) -> Decision:
    """``decision`` with test-time augmentation, fitted to the views of the validation images.

    The average gets a calibration and an operating point of its own: its probabilities are others than those of the
    image alone.

    Args:
        decision: of `fit_decision`, whose rules ask for views.
        table: of the validation images.
        probabilities: [V, N, C], [V, N, 1] or [V, N], as the model gives them, view by view.
        names: of the views.
    """
    reasons = dict(decision.reasons)
    views = equal_views(decision.classes, names)
    if decision.rules.tta == "d4_learnt":
        labels = pd.Categorical(table["label"], decision.classes).codes.astype(np.int64)
        known = labels >= 0
        views = _try(
            "test_time_augmentation",
            reasons,
            lambda: fit_views(np.asarray(probabilities)[:, known], labels[known], decision.classes, names),
        )
    if views is None:
        return dataclasses.replace(decision, reasons=reasons)
    averaged = fit_decision(table, views.apply(probabilities), decision.classes, decision.rules)
    return dataclasses.replace(decision, views=views, averaged=averaged, reasons=reasons)
