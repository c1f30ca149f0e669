"""Metrics of each group of images (a source, a slide, a scanner, an age band), and which group comes off worst."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.intervals import metric_intervals, proportion
from leukemia_tf.evaluation.predictions import check_predictions

UNKNOWN = "(unknown)"
"""Name of the group of images without a value."""


def subgroup_report(
    frame: pd.DataFrame,
    classes: Sequence[str],
    table: pd.DataFrame,
    column: str,
    *,
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "auc"),
    worst_by: str = "accuracy",
    min_images: int = 30,
    bins: int | None = None,
    method: str = "percentile",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Metrics with intervals of each group of the labelled images, the groups made by a column of the table.

    Args:
        frame: of `make_predictions`.
        classes: names in the order of the label index.
        table: one row an image, with ``path`` and ``column``; it may hold other images besides. ``frame`` itself will
            do, for its columns ``subject`` or ``label``.
        column: what divides the images. Missing and empty values are the group "(unknown)".
        metrics: some of `METRICS`.
        worst_by: the metric of ``metrics`` whose lowest value names the worst group.
        min_images: a group of fewer is shown, named in ``too_small``, and not compared.
        bins: cut a column of numbers into so many groups of about equal size.
        method, bootstrap, seed, confidence: as of `metric_intervals`; the accuracy of images whose subjects are not
            known, or of one subject, has Wilson's interval.

    Returns:
        JSON values: ``column``, ``min_images``, ``groups`` (each ``group``, ``images``, ``subjects`` (null if unknown),
        ``too_small`` and under each metric the `Interval.to_dict`), in order; ``too_small``: names;
        ``worst``: ``metric``, ``group``, ``value``, ``low``, ``high``, ``images``, ``difference`` (from all images),
        or null where no group can be compared; ``overall``: the metrics of all labelled images.

    Raises:
        InputError: if a frame is malformed, ``column`` or an image is missing in ``table``, or an option is out of
            range.
    """
    if worst_by not in metrics:
        raise InputError(f"`worst_by` must be one of the `metrics` {', '.join(metrics)}; received {worst_by!r}")
    if min_images < 1:
        raise InputError(f"`min_images` must be 1 or more; received {min_images!r}")
    check_predictions(frame, classes, "`frame`")
    labelled = frame[frame["label"] != ""]
    groups, order = _groups(labelled, table, column, bins)
    options = {"method": method, "bootstrap": bootstrap, "seed": seed, "confidence": confidence}

    def measure(rows: pd.DataFrame) -> dict[str, Any]:
        intervals = metric_intervals(rows, classes, metrics=metrics, **options)
        if "accuracy" in intervals and intervals["accuracy"].unit == "image":
            # Of images, and of a group in which all or none are right, resampling would give an interval of no width.
            right = rows["label"] == rows["prediction"]
            intervals["accuracy"] = proportion(int(right.sum()), len(rows), confidence)
        known = bool((rows["subject"] != "").all())
        return {
            "images": len(rows),
            "subjects": int(rows["subject"].nunique()) if known else None,
            **{name: interval.to_dict() for name, interval in intervals.items()},
        }

    overall = measure(labelled)
    entries = []
    for name in order:
        rows = labelled[groups == name]
        entries.append({"group": name, "too_small": len(rows) < min_images, **measure(rows)})
    compared = [entry for entry in entries if not entry["too_small"] and entry[worst_by]["value"] is not None]
    worst = None
    if compared:
        lowest = min(compared, key=lambda entry: entry[worst_by]["value"])
        figure = lowest[worst_by]
        worst = {
            "metric": worst_by,
            "group": lowest["group"],
            "images": lowest["images"],
            **{key: figure[key] for key in ("value", "low", "high")},
            "difference": figure["value"] - overall[worst_by]["value"],
        }
    return {
        "column": column,
        "min_images": min_images,
        "overall": overall,
        "groups": entries,
        "too_small": [entry["group"] for entry in entries if entry["too_small"]],
        "worst": worst,
    }


def _groups(labelled: pd.DataFrame, table: pd.DataFrame, column: str, bins: int | None) -> tuple[np.ndarray, list[str]]:
    """Name of the group of each row, object [N], and the names in order, "(unknown)" last."""
    if column not in table or "path" not in table:
        raise InputError(f"`column` must be one of {', '.join(map(str, table.columns))}; received {column!r}")
    paths = table["path"].astype(str)
    repeated = paths[paths.duplicated()]
    if len(repeated):
        raise InputError(f"`table` must have each path once; received `{repeated.iloc[0]}` several times")
    values = pd.Series(table[column].to_numpy(), index=paths.to_numpy())
    missing = labelled["path"][~labelled["path"].isin(values.index)]
    if len(missing):
        raise InputError(
            f"`table` must hold every image of `frame`; received none for {len(missing)}, such as `{missing.iloc[0]}`"
        )
    own = values.loc[labelled["path"].to_numpy()].reset_index(drop=True)
    known = own.notna() & (own.astype(str) != "")
    if bins is None:
        names = own.astype(str)
        order = sorted(set(names[known]))
    else:
        numbers = pd.to_numeric(own.where(known), errors="coerce")
        if bins < 2 or numbers[known].isna().any():
            kind = "2 or more" if bins < 2 else f"for a column of numbers; `{column}` is none"
            raise InputError(f"`bins` must be {kind}; received {bins!r}")
        ranges = pd.qcut(numbers, bins, duplicates="drop")
        names = ranges.astype(str)
        order = [str(interval) for interval in ranges.cat.categories]
    return names.where(known, UNKNOWN).to_numpy(dtype=object), order + [UNKNOWN] * (not known.all())
