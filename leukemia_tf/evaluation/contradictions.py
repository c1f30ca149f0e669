"""Whether a published confusion matrix and the figures reported with it can both be true.

Only what cannot be is flagged: every reported figure is given the benefit of its rounding (or truncation). The idea of
asking which counts a rounded share allows is that of the GRIM test (Brown and Heathers, Social Psychological and
Personality Science 8, 2017).
"""

from __future__ import annotations

import math
import re
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
from scipy.stats import chi2_contingency

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation import confusion

_OF_MATRIX = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1_macro", "f1_weighted",
    "precision_macro", "precision_weighted", "recall_macro", "recall_weighted",
)  # fmt: skip
_OF_CLASS = ("precision", "recall", "f1")
REPORTED = (*_OF_MATRIX, *_OF_CLASS, "auc", "support")
"""Keys of ``reported`` that `check_confusion` knows."""

_NUMBER = re.compile(r"(\d*)\.?(\d*)\s*(%?)")
_SLACK = 1e-9


class _Figure(NamedTuple):
    """A reported figure and the values that it may have been rounded or truncated from."""

    text: str
    low: float
    high: float

    def may_be(self, value: float) -> bool:
        return math.isnan(value) or self.low - _SLACK <= value <= self.high + _SLACK


def check_confusion(
    matrix: Sequence[Sequence[float]] | None,
    n: int | None = None,
    reported: Mapping[str, Any] | None = None,
) -> list[str]:
    """Contradictions between a confusion matrix, a number of images and reported figures.

    Args:
        matrix: counts [C, C], rows are true classes; ``None`` if it was not published.
        n: number of images that the report states.
        reported: figures under the keys of `REPORTED`. A figure is a number in [0, 1] or per cent above 1; as text
            (".9350", "93.50 %") it keeps its last zeros, which say how exact it is. ``precision``, ``recall`` and
            ``f1`` are a list, one a class, or one figure whose average is not stated (any average, or that of any
            class, may explain it). ``sensitivity`` and ``specificity`` of two classes take the second as positive.
            ``support`` is a list of counts, the images of each class.

    Returns:
        One line for each contradiction; empty where everything can be true. What is looked for: entries that are no
        counts; a sum that is not n; figures that do not follow from the matrix; an accuracy that no number of right
        images out of n gives; an F1 above the mean of precision and recall; a weighted recall (of any weights, if
        classes are of equal size) unlike the accuracy; an AUC that no ROC curve through the matrix's point has; and
        predictions that do not depend on the labels at all (chi-squared test, p > 0.05, 100 images or more).

    Raises:
        InputError: if ``matrix`` is no square of numbers, ``n`` no count, a key of ``reported`` is unknown or a figure
            no number.
    """
    if n is not None and (n < 1 or n != int(n)):
        raise InputError(f"`n` must be a whole number of 1 or more; received {n!r}")
    figures, lists, support = _read(reported or {})
    lines: list[str] = []
    if matrix is not None:
        try:
            counts = np.asarray(matrix, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"`matrix` must hold numbers, rows of equal length; received {matrix!r}") from None
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
            raise InputError(f"`matrix` must be square, [C, C] of 2 classes or more; received {list(counts.shape)}")
        for key, values in (*lists.items(), *([("support", support)] if support else [])):
            if len(values) != len(counts):
                raise InputError(
                    f"`reported`: `{key}` must list one figure for each of {len(counts)} classes; "
                    f"received {len(values)}"
                )
        broken = (counts < 0) | (counts != np.floor(counts)) | ~np.isfinite(counts)
        if broken.any():
            return [f"the matrix holds {counts[broken][0]:g}, which is no count"]
        lines += _check_matrix(counts, n, figures, lists, support)
    if support and n is not None and sum(support) != n:
        lines.append(f"the reported images of each class sum to {sum(support)}, not to n = {n}")
    lines += _check_figures(n, figures, lists, support)
    return lines


def _check_matrix(counts, n, figures, lists, support) -> list[str]:
    lines = []
    total = int(counts.sum())
    if n is not None and total != n:
        lines.append(f"the matrix sums to {total}, not to n = {n}")
    rows = [int(row) for row in counts.sum(axis=1)]
    if support and rows != support:
        lines.append(f"the matrix has {rows} images of each class, reported are {support}")
    if not total:
        return [*lines, "the matrix holds no image"]
    right = int(np.trace(counts))
    for key in _OF_MATRIX:
        if key in figures:
            value = _of_matrix(counts, key)
            if not figures[key].may_be(value):
                ratio = f"{right} / {total} = " if key == "accuracy" else ""
                lines.append(f"{key} is reported as {figures[key].text}, the matrix gives {ratio}{100 * value:.2f} %")
    for key in _OF_CLASS:
        values = getattr(confusion, key)(counts)
        for index, figure in enumerate(lists.get(key, [])):
            if not figure.may_be(values[index]):
                lines.append(
                    f"{key} of class {index} is reported as {figure.text}, the matrix gives {100 * values[index]:.2f} %"
                )
        if key in figures:
            weighted = _of_matrix(counts, f"{key}_weighted")
            every = [*values, float(np.nanmean(values)), weighted]
            if not any(figures[key].may_be(value) for value in every):
                shown = ", ".join(f"{100 * value:.2f}" for value in every)
                lines.append(
                    f"{key} is reported as {figures[key].text}, the matrix gives (classes, macro, weighted) {shown} %"
                )
    if len(counts) == 2 and "auc" in figures:
        lines += _check_auc(counts, figures["auc"])
    used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if total >= 100 and min(used.shape) > 1:
        p_value = float(chi2_contingency(used, correction=False).pvalue)
        if p_value > 0.05:
            lines.append(
                f"the predictions do not depend on the labels (chi-squared test, p = {p_value:.2f}): "
                "as if they were paired at random"
            )
    return lines


def _check_auc(counts: np.ndarray, figure: _Figure) -> list[str]:
    sensitivity, specificity = float(confusion.sensitivity(counts)), float(confusion.specificity(counts))
    if math.isnan(sensitivity) or math.isnan(specificity):
        return []
    # The lowest and the highest monotone curve from (0, 0) over (1 - specificity, sensitivity) to (1, 1).
    low = sensitivity * specificity
    high = 1.0 - (1.0 - specificity) * (1.0 - sensitivity)
    if low - _SLACK <= figure.high and figure.low <= high + _SLACK:
        return []
    return [
        f"auc is reported as {figure.text}; a ROC curve through the matrix's sensitivity {100 * sensitivity:.2f} % and "
        f"specificity {100 * specificity:.2f} % has {100 * low:.2f} to {100 * high:.2f} %, so the matrix does not come "
        "from one threshold on the scores that the AUC ranks"
    ]


def _check_figures(n, figures, lists, support) -> list[str]:
    """What contradicts itself without a matrix."""
    lines = []
    if n is not None and "accuracy" in figures:
        figure = figures["accuracy"]
        nearby = range(math.floor(figure.low * n), math.ceil(figure.high * n) + 1)
        if not any(figure.may_be(right / n) for right in nearby):
            lines.append(f"no number of right images out of {n} gives an accuracy of {figure.text}")
    for suffix in ("", "_macro", "_weighted"):
        precision, recall, f1 = (figures.get(key + suffix) for key in _OF_CLASS)
        if precision and recall and f1 and f1.low > (precision.high + recall.high) / 2 + _SLACK:
            both = f1.low > max(precision.high, recall.high)
            than = "both precision and recall" if both else "the mean of precision and recall"
            lines.append(
                f"f1{suffix} {f1.text} is above {than} ({precision.text} and {recall.text}), which no average allows"
            )
    equal = bool(support) and len(set(support)) == 1
    for key in ("recall_weighted", *(("recall", "recall_macro") if equal else ())):
        if key in figures and "accuracy" in figures and not _overlap(figures[key], figures["accuracy"]):
            why = "classes of equal size" if key != "recall_weighted" else "weights of the class sizes"
            lines.append(f"{key} {figures[key].text} must equal the accuracy {figures['accuracy'].text} ({why})")
    if "precision" in lists and "recall" in lists:
        derived = [
            _Figure("", _harmonic(p.low, r.low), _harmonic(p.high, r.high))
            for p, r in zip(lists["precision"], lists["recall"])
        ]
        for index, (figure, bound) in enumerate(zip(lists.get("f1", []), derived)):
            if not _overlap(figure, bound):
                lines.append(
                    f"f1 of class {index} is reported as {figure.text}; its precision and recall give "
                    f"{100 * bound.low:.2f} to {100 * bound.high:.2f} %"
                )
        low, high = (sum(getattr(bound, end) for bound in derived) / len(derived) for end in ("low", "high"))
        if "f1_macro" in figures and not _overlap(figures["f1_macro"], _Figure("", low, high)):
            lines.append(
                f"f1_macro is reported as {figures['f1_macro'].text}; precision and recall of the classes give "
                f"{100 * low:.2f} to {100 * high:.2f} %"
            )
    return lines


def _of_matrix(counts: np.ndarray, key: str) -> float:
    name, _, average = key.rpartition("_")
    if name in ("precision", "recall", "f1"):
        values, weights = getattr(confusion, name)(counts), confusion.support(counts)
        # A class that was never predicted has no precision; averages take it as 0, as scikit-learn does.
        values = np.nan_to_num(values, nan=0.0)
        return float(np.average(values, weights=weights if average == "weighted" else None))
    return float(getattr(confusion, key)(counts))


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0.0


def _overlap(a: _Figure, b: _Figure) -> bool:
    return a.low <= b.high + _SLACK and b.low <= a.high + _SLACK


def _read(reported: Mapping[str, Any]) -> tuple[dict[str, _Figure], dict[str, list[_Figure]], list[int]]:
    figures, lists, support = {}, {}, []
    for key, value in reported.items():
        if key not in REPORTED:
            raise InputError(f"`reported` must have keys of {', '.join(REPORTED)}; received {key!r}")
        listed = isinstance(value, (list, tuple, np.ndarray))
        if key == "support":
            if not listed or not all(float(count) == int(count) and count >= 0 for count in value):
                raise InputError(f"`reported`: `support` must be a list of counts; received {value!r}")
            support = [int(count) for count in value]
        elif not listed:
            figures[key] = _figure(key, value)
        elif key in _OF_CLASS:
            lists[key] = [_figure(key, item) for item in value]
        else:
            raise InputError(f"`reported`: `{key}` must be one figure; received {value!r}")
    return figures, lists, support


def _figure(key: str, value: Any) -> _Figure:
    text = str(value).strip()
    found = _NUMBER.fullmatch(text)
    if isinstance(value, bool) or not found or not (found[1] or found[2]):
        raise InputError(f"`reported`: `{key}` must be a share, as .935, 93.5 or '93.50 %'; received {value!r}")
    number, step = float(f"{found[1] or 0}.{found[2] or 0}"), 10.0 ** -len(found[2])
    scale = 0.01 if found[3] or number > 1.0 else 1.0
    if number * scale > 1.0:
        raise InputError(f"`reported`: `{key}` must lie between 0 and 100 %; received {value!r}")
    # Rounded to the nearest or cut off after the last digit.
    return _Figure(text, max(0.0, number - step / 2) * scale, min(1.0, (number + step) * scale))
