"""Two or more models on the same test images: differences with paired intervals, tests, and one family correction.

Intervals of two models may overlap although one is clearly better on the same images: what they share cancels in the
difference. So the difference is resampled, with the same subjects (or images) drawn for both.
"""

from __future__ import annotations

from itertools import combinations
from typing import Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import Arrays, labelled_arrays
from leukemia_tf.evaluation.bootstrap import iter_counts, percentile_interval, sampling_units
from leukemia_tf.evaluation.metrics import METRICS, evaluate_resamples
from leukemia_tf.evaluation.paired_tests import delong_test, holm, mcnemar_exact

COLUMNS = (
    "metric", "first", "second", "value_first", "value_second", "difference", "low", "high",
    "p_bootstrap", "p_mcnemar", "p_delong", "test", "p_value", "p_holm", "unit", "n_units", "n_images",
)  # fmt: skip
"""Columns of the table of differences."""


class Comparison(NamedTuple):
    """What `compare_models` found.

    Attributes:
        values: one row a metric and model: ``metric``, ``model``, ``value``, ``low``, ``high``.
        differences: one row a metric and pair, with `COLUMNS`.
    """

    values: pd.DataFrame
    differences: pd.DataFrame


def compare_predictions(frames: Mapping[str, pd.DataFrame], classes: Sequence[str], **options) -> pd.DataFrame:
    """The differences of `compare_models`, which has the same arguments."""
    return compare_models(frames, classes, **options).differences


def compare_models(
    frames: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    *,
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "auc"),
    baseline: str | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Metrics of models and their differences on the same labelled images.

    Args:
        frames: predictions (of `make_predictions`) under the names of the models, two or more. They must hold the
            same images with the same labels and subjects, in any order.
        classes: names in the order of the label index.
        metrics: some of `METRICS`.
        baseline: name of a model; then only it is compared with each other one, else every pair.
        bootstrap: number of resamples, of subjects where all are known and there is more than one, else of images.
        seed: of the resampling.
        confidence: of the percentile intervals, of values and of differences.

    Returns:
        Values and differences. ``difference`` is second minus first. ``p_bootstrap`` is twice the share of resampled
        differences beyond 0, ``p_mcnemar`` (accuracy) takes images as independent, ``p_delong`` (AUC of two classes)
        allows for subjects where they are the ``unit``; NaN where a test does not apply. ``p_value`` is that of the
        ``test`` that suits: ``mcnemar`` for accuracy of independent images, ``delong`` for AUC of two classes, else
        ``bootstrap``. ``p_holm`` corrects it for all rows of the table; the intervals are not corrected.

    Raises:
        InputError: if there are fewer than two models, a frame is malformed, images, labels or subjects differ, or an
            option is unknown or out of range.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not len(metrics):
        raise InputError(f"`metrics` must name some of {', '.join(METRICS)}; received {', '.join(unknown) or 'none'}")
    if baseline is not None and baseline not in frames:
        raise InputError(f"`baseline` must be one of {', '.join(frames)}; received {baseline!r}")
    percentile_interval(np.zeros(1), confidence)  # raises for a confidence out of range
    models = align_models(frames, tuple(classes))
    shared = next(iter(models.values()))
    unit, units = sampling_units(shared.subjects)
    n_units = int(units.max()) + 1

    def evaluate(arrays: Arrays, counts) -> dict[str, np.ndarray]:
        return evaluate_resamples(arrays.labels, arrays.probabilities, arrays.predictions, counts, units)

    ones = np.ones((1, n_units), dtype=np.uint16)
    points = {name: evaluate(arrays, iter([ones])) for name, arrays in models.items()}
    resamples = bootstrap if n_units > 1 else 0
    # The same seed draws the same units for every model: that is the pairing.
    draws = {name: evaluate(arrays, iter_counts(n_units, resamples, seed)) for name, arrays in models.items()}
    values = []
    for metric in metrics:
        for name in models:
            low, high = percentile_interval(draws[name][metric], confidence) or (np.nan, np.nan)
            value = float(points[name][metric][0])
            values.append({"metric": metric, "model": name, "value": value, "low": low, "high": high})
    pairs = list(combinations(models, 2)) if baseline is None else [(baseline, n) for n in models if n != baseline]
    rows = []
    for metric in metrics:
        for first, second in pairs:
            before, after = (float(points[name][metric][0]) for name in (first, second))
            sampled = draws[second][metric] - draws[first][metric]
            low, high = percentile_interval(sampled, confidence) or (np.nan, np.nan)
            rows.append(
                {
                    "metric": metric,
                    "first": first,
                    "second": second,
                    "value_first": before,
                    "value_second": after,
                    "difference": after - before,
                    "low": low,
                    "high": high,
                    **_tests(metric, models[first], models[second], sampled, unit),
                    "p_holm": np.nan,
                    "unit": unit,
                    "n_units": n_units,
                    "n_images": len(shared.labels),
                }
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["p_holm"] = holm(table["p_value"].to_numpy())
    return Comparison(pd.DataFrame(values), table)


def _tests(metric: str, first: Arrays, second: Arrays, sampled: np.ndarray, unit: str) -> dict[str, float | str]:
    """The p value of each test that applies, and which of them suits."""
    p_values = {"bootstrap": _two_sided(sampled), "mcnemar": np.nan, "delong": np.nan}
    if metric == "accuracy":
        right = [model.predictions == model.labels for model in (first, second)]
        p_values["mcnemar"] = mcnemar_exact(*right).p_value
    if metric == "auc" and first.probabilities.shape[1] == 2:
        p_values["delong"] = _delong(first, second, unit)
    test = "bootstrap"
    if metric == "accuracy" and unit == "image":
        test = "mcnemar"
    elif not np.isnan(p_values["delong"]):
        test = "delong"
    return {**{f"p_{name}": value for name, value in p_values.items()}, "test": test, "p_value": p_values[test]}


def align_models(
    frames: Mapping[str, pd.DataFrame], classes: tuple[str, ...], *, argument: str = "frames"
) -> dict[str, Arrays]:
    """Arrays of the labelled images of each model, sorted by path.

    Args:
        frames, classes: as of `compare_models`.
        argument: what the messages call ``frames``.

    Raises:
        InputError: for fewer than two models, or unless images, labels and subjects are the same.
    """
    if len(frames) < 2:
        raise InputError(f"`{argument}` must hold two models or more; received {len(frames)}")
    models: dict[str, Arrays] = {}
    for name, frame in frames.items():
        arrays = labelled_arrays(frame, classes, f"`{argument}`, model `{name}`")
        order = np.argsort(arrays.paths.astype(str), kind="stable")
        arrays = Arrays(*(values[order] for values in arrays))
        repeated = arrays.paths[1:][arrays.paths[1:] == arrays.paths[:-1]]
        if len(repeated):
            raise InputError(f"`{argument}`: model `{name}` must have each image once; received `{repeated[0]}` again")
        models[name] = arrays
    reference, shared = next(iter(models.items()))
    for name, arrays in models.items():
        only_here = sorted(set(arrays.paths) - set(shared.paths))
        only_there = sorted(set(shared.paths) - set(arrays.paths))
        if only_here or only_there:
            raise InputError(
                f"`{argument}`: the models must have the same labelled images; received {len(only_here)} that only "
                f"`{name}` has and {len(only_there)} that only `{reference}` has, such as "
                f"`{(only_here or only_there)[0]}`"
            )
        for what in ("labels", "subjects"):
            differ = np.flatnonzero(getattr(arrays, what) != getattr(shared, what))
            if len(differ):
                raise InputError(
                    f"`{argument}`: the models must have the same {what}; received others in `{name}` than in "
                    f"`{reference}` for {len(differ)} images, such as `{arrays.paths[differ[0]]}`"
                )
    return models


def _two_sided(differences: np.ndarray) -> float:
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    # Sums in another order miss 0 by a rounding error.
    below, above = (defined < 1e-12).sum(), (defined > -1e-12).sum()
    return float(min(1.0, 2.0 * (min(below, above) + 1) / (len(defined) + 1)))


def _delong(first: Arrays, second: Arrays, unit: str) -> float:
    positive = first.labels == 1
    subjects = first.subjects if unit == "subject" else np.arange(len(positive))
    if min(len(set(subjects[positive])), len(set(subjects[~positive]))) < 2:
        return float("nan")
    scores = (first.probabilities[:, 1], second.probabilities[:, 1])
    return delong_test(positive, *scores, subjects if unit == "subject" else None).p_value
