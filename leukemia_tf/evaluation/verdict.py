"""All figures of a run from its predictions and its decision, as JSON values that can be computed again.

To the figures of `compute_metrics` come calibration before and after, the operating point on images that did not
choose it, subjects, subgroups, selective prediction, strange images and test-time augmentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.calibration_metrics import measure_calibration
from leukemia_tf.evaluation.decision import Decision
from leukemia_tf.evaluation.intervals import proportion
from leukemia_tf.evaluation.metrics import METRICS, compute_metrics
from leukemia_tf.evaluation.predictions import GROUP, PREFIX, RAW, plain_columns
from leukemia_tf.evaluation.rules import parse_subgroup
from leukemia_tf.evaluation.selective import area_under_risk_coverage, risk_coverage_curve
from leukemia_tf.evaluation.subgroups import subgroup_report
from leukemia_tf.evaluation.subjects import AGGREGATIONS, blast_fractions, subject_metrics

CURVE_POINTS = 60
MIN_IMAGES = 10
"""A subgroup of fewer images is shown and not compared."""


def compute_verdict(
    frame: pd.DataFrame,
    decision: Decision,
    *,
    views: np.ndarray | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Every figure of the labelled images.

    Args:
        frame: of `Decision.apply`, or read back by `read_details`.
        decision: that made it.
        views: float [V, N, C], for test-time augmentation.
        bootstrap, seed, confidence: as of `compute_metrics`.

    Returns:
        The dictionary of `compute_metrics` and ``calibration``, ``operating_point``, ``subjects``, ``subgroups``,
        ``selective``, ``out_of_distribution``, ``test_time_augmentation``. A part that has no figures is
        ``{"reason": ...}``.

    Raises:
        InputError: if the frame is malformed or no image has a label.
    """
    classes = decision.classes
    plain = frame[plain_columns(classes)]
    options = {"bootstrap": bootstrap, "seed": seed, "confidence": confidence}
    metrics = compute_metrics(plain, classes, **options)
    return {
        **metrics,
        "calibration": _calibration(frame, plain, decision, options),
        "operating_point": _operating_point(metrics, plain, decision, confidence),
        "subjects": _subjects(plain, decision, options),
        "subgroups": _subgroups(frame, plain, decision, options),
        "selective": _selective(plain, decision),
        "out_of_distribution": _strange(frame, decision),
        "test_time_augmentation": _views(plain, decision, views, options),
    }


def raw_frame(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """The frame with the probabilities as the model gave them, in the columns of `make_predictions`."""
    raw = frame[plain_columns(classes)].copy()
    for name in classes:
        raw[PREFIX + name] = frame[RAW + name]
    return raw


def _calibration(frame, plain, decision, options) -> dict[str, Any]:
    """Calibration errors and reliability before and after; the same where nothing was fitted."""
    if RAW + decision.classes[0] not in frame:
        return {"reason": "the probabilities before calibration are not known"}
    before = measure_calibration(raw_frame(frame, decision.classes), decision.classes, **options)
    fitted = decision.calibration
    return {
        "method": fitted.method if fitted else "none",
        "reason": decision.reasons.get("calibration"),
        "before": before,
        "after": measure_calibration(plain, decision.classes, **options) if fitted else None,
    }


def _operating_point(metrics, plain, decision, confidence) -> dict[str, Any]:
    """The threshold, what it gave where it was chosen, and what it gives here; Wilson's interval where images can be
    taken as independent."""
    point = decision.operating_point
    if point is None:
        return {"reason": decision.reasons["operating_point"]}
    chosen = {key: value for key, value in point.to_dict().items() if key != "classes"}
    labels, right = plain["label"], plain["label"] == plain["prediction"]
    subjects = plain["subject"][labels != ""]
    several = bool((subjects != "").all()) and bool(subjects.duplicated().any())
    here: dict[str, Any] = {}
    for name, label in (("sensitivity", decision.classes[1]), ("specificity", decision.classes[0])):
        of_class = labels == label
        here[name] = metrics[name]
        here[f"{name}_counts"] = [int(right[of_class].sum()), int(of_class.sum())]
        if not several and of_class.any():
            here[f"{name}_wilson"] = proportion(*here[f"{name}_counts"], confidence).to_dict()
    note = "images of one subject are not independent: Wilson's interval does not apply" if several else None
    return {"reason": decision.reasons.get("operating_point"), "chosen": chosen, "test": here, "note": note}


def _subjects(plain, decision, options) -> dict[str, Any]:
    """One vote a subject, by each aggregation, with Wilson's interval; and each subject's share of positive images."""
    labelled = plain[plain["label"] != ""]
    if (labelled["subject"] == "").any():
        return {"reason": "subjects are not known"}
    binary = len(decision.classes) == 2
    by_method, reason = {}, None
    for method in AGGREGATIONS if binary else AGGREGATIONS[:1]:
        try:
            found = subject_metrics(
                labelled, decision.classes, method, threshold=decision.threshold, **options
            )
        except InputError as error:
            reason = " ".join(str(error).replace("`", "").split())
            break
        # Only the mean is on the scale that the threshold was chosen on; the others can be ranked, no more.
        shown = METRICS if method == "mean_logit" else ("auc", "average_precision")
        by_method[method] = {name: found[name] for name in shown}
        if method == "mean_logit":
            matrix = np.array(found["confusion_matrix"])
            main = {"n_subjects": found["n_images"], "confusion_matrix": found["confusion_matrix"]}
            shares = {"accuracy": (int(np.trace(matrix)), int(matrix.sum()))}
            if binary:
                shares["sensitivity"] = (int(matrix[1, 1]), int(matrix[1].sum()))
                shares["specificity"] = (int(matrix[0, 0]), int(matrix[0].sum()))
            main["wilson"] = {
                name: proportion(*counts, options["confidence"]).to_dict()
                for name, counts in shares.items()
                if counts[1]
            }
    if reason:
        return {"reason": reason}
    fractions = blast_fractions(labelled, decision.classes, confidence=options["confidence"]) if binary else None
    return {
        **main,
        "threshold": decision.threshold if binary else None,
        "methods": by_method,
        "fractions": None if fractions is None else fractions.to_dict(orient="records"),
    }


def _subgroups(frame, plain, decision, options) -> list[dict[str, Any]]:
    """A report for each column that divides the images."""
    table = pd.DataFrame({"path": frame["path"], "subject": frame["subject"], "label": frame["label"]})
    for column in frame:
        if column.startswith(GROUP):
            table[column.removeprefix(GROUP)] = frame[column]
    reports = []
    for text in decision.rules.subgroups:
        column, bins = parse_subgroup(text)
        if column in table and table[column][table["label"] != ""].nunique() > 1:
            reports.append(
                subgroup_report(plain, decision.classes, table, column, bins=bins, min_images=MIN_IMAGES, **options)
            )
    return reports


def _selective(plain, decision) -> dict[str, Any]:
    """Risk-coverage curve (at most 60 of its points), its area, and what the abstention gives."""
    curve = risk_coverage_curve(plain, decision.classes)
    rows = np.unique(np.linspace(0, len(curve) - 1, min(CURVE_POINTS, len(curve))).round().astype(int))
    abstention = decision.abstention
    return {
        "area": area_under_risk_coverage(plain, decision.classes),
        "curve": curve.iloc[rows].to_dict(orient="records"),
        "reason": decision.reasons.get("abstention"),
        "chosen": abstention and {k: v for k, v in abstention.to_dict().items() if k != "classes"},
        "test": abstention and abstention.evaluate(plain),
    }


def _strange(frame, decision) -> dict[str, Any]:
    """Share of the images that each score flags, and how often flagged and other images are right."""
    if "out_of_distribution" not in frame:
        return {"reason": decision.reasons.get("out_of_distribution", "no scores")}
    flagged = frame["out_of_distribution"].to_numpy() == 1
    right = (frame["label"] == frame["prediction"]).to_numpy()
    labelled = (frame["label"] != "").to_numpy()
    accuracy = {}
    for name, part in (("flagged", flagged & labelled), ("others", ~flagged & labelled)):
        accuracy[name] = proportion(int(right[part].sum()), int(part.sum())).to_dict() if part.any() else None
    return {
        "reason": decision.reasons.get("out_of_distribution"),
        "thresholds": dict(decision.strangeness),
        "accepted_on_validation": decision.accepted,
        "n_images": len(frame),
        "flagged": int(flagged.sum()),
        "share": float(flagged.mean()),
        "by_score": {
            name: float((frame[name] > threshold).mean()) for name, threshold in decision.strangeness.items()
        },
        "accuracy": accuracy,
    }


def _views(plain, decision, views, options) -> dict[str, Any]:
    """The figures of the averaged views, at an operating point of their own, and their cost."""
    if views is None or decision.views is None:
        return {"reason": decision.reasons.get("test_time_augmentation", "no views were predicted")}
    averaged = decision.averaged.apply(plain, decision.views.apply(views))
    metrics = compute_metrics(averaged[plain_columns(decision.classes)], decision.classes, **options)
    return {
        "views": list(decision.views.views),
        "weights": list(decision.views.weights),
        "learnt": decision.views.n_images > 0,
        "cost": decision.views.cost,
        "threshold": decision.averaged.threshold if len(decision.classes) == 2 else None,
        "calibration": _calibration(
            averaged, averaged[plain_columns(decision.classes)], decision.averaged, options
        ),
        **{name: metrics[name] for name in METRICS},
        "confusion_matrix": metrics["confusion_matrix"],
    }
