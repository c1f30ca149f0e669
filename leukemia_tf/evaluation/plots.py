"""Plots of a run as matplotlib figures, without pyplot state, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import math
import os
import pathlib
import warnings
from typing import Any, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from leukemia_tf.evaluation.predictions import PREFIX
from leukemia_tf.files import atomic_path

BLUE, ORANGE, GREY = "#0b5c8a", "#d1620b", "#8a949e"
_INK = "#1f2933"
_MAX_SUBJECTS = 40
_DPI = 130


def plot_confusion(metrics: dict[str, Any]) -> Figure:
    """Confusion matrix: counts, and the share of each true class, which also sets the colour.

    Args:
        metrics: dictionary of `compute_metrics`.
    """
    matrix = np.array(metrics["confusion_matrix"], dtype=float)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    names = [_plain(name, 24) for name in metrics["classes"]]
    cells = [[f"{int(n):,}\n{100 * s:.1f} %" if n else "0" for n, s in zip(*pair)] for pair in zip(matrix, shares)]
    side = max(4.2, 0.62 * len(names) + 1.6)
    figure, axes = _figure(side + 0.8, side)
    seaborn.heatmap(
        shares,
        ax=axes,
        annot=np.array(cells),
        fmt="",
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
        square=True,
        linewidths=1.0,
        linecolor="white",
        xticklabels=names,
        yticklabels=names,
        annot_kws={"fontsize": 11 if len(names) < 4 else 8},
        cbar_kws={"format": PercentFormatter(1.0), "shrink": 0.8},
    )
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    axes.tick_params(length=0)
    turned = {"rotation": 40, "ha": "right"} if len(names) > 3 else {}
    axes.set_xticks(axes.get_xticks(), axes.get_xticklabels(), **turned)
    axes.set_yticks(axes.get_yticks(), axes.get_yticklabels(), rotation=0)
    axes.set_title("Counts and share of each true class")
    return figure


def plot_roc(predictions: pd.DataFrame, metrics: dict[str, Any]) -> Figure | None:
    """ROC curve; above two classes one for each class against the rest. ``None`` where no class has one.

    Args:
        predictions: frame of `make_predictions`.
        metrics: dictionary of `compute_metrics`, or of `compute_verdict`, whose operating point is marked.
    """
    figure, axes = _figure(6.0, 5.4)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance")
    drawn = 0
    for style, positive, scores, name, entry in _curves(predictions, metrics, "auc"):
        false_rate, true_rate, _ = roc_curve(positive, scores)
        axes.plot(false_rate, true_rate, label=f"{name}AUC {_interval(entry)}", **style)
        drawn += 1
    point = (metrics.get("operating_point") or {}).get("chosen")
    if drawn and point:
        place = (1 - metrics["specificity"]["value"], metrics["sensitivity"]["value"])
        label = f"operating point, threshold {point['threshold']:.3g}"
        axes.plot(*place, "o", color=ORANGE, markersize=8, markeredgecolor="white", zorder=3, label=label)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("Sensitivity")
    _unit_square(axes)
    axes.set_title("ROC" + _positive(metrics))
    _legend(axes, "lower right", drawn)
    return figure if drawn else None


def plot_precision_recall(predictions: pd.DataFrame, metrics: dict[str, Any]) -> Figure | None:
    """Precision against recall, arguments as of `plot_roc`. The dotted line is the share of the positive class."""
    figure, axes = _figure(6.0, 5.4)
    drawn = 0
    for style, positive, scores, name, entry in _curves(predictions, metrics, "average_precision"):
        precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
        label = f"{name}AP {_interval(entry)}"
        axes.plot(recall, precision, drawstyle="steps-post", label=label, **style)
        drawn += 1
        if len(metrics["classes"]) == 2:
            axes.axhline(positive.mean(), color=GREY, linestyle=":", linewidth=1.2, label="chance")
    axes.set_xlabel("Recall (sensitivity)")
    axes.set_ylabel("Precision")
    _unit_square(axes)
    axes.set_title("Precision and recall" + _positive(metrics))
    _legend(axes, "lower left", drawn)
    return figure if drawn else None


def plot_history(history: pd.DataFrame) -> Figure | None:
    """Learning curves, a panel each for loss, accuracy and learning rate where ``history`` has them.

    Args:
        history: one row an epoch, in order; columns ``phase`` and any of ``loss``, ``accuracy`` (with ``val_`` twins)
            and ``learning_rate``. A vertical line stands between phases.
    """
    known = ("loss", "accuracy", "learning_rate")
    panels = [name for name in known if _has(history, name) or _has(history, "val_" + name)]
    if not panels:
        return None
    figure, grid = _figure(4.1 * len(panels), 3.7, len(panels))
    epochs = np.arange(1, len(history) + 1)
    marker = "o" if len(epochs) <= 30 else ""
    phases = history["phase"].astype(str).to_numpy() if "phase" in history else np.full(len(history), "")
    borders = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    for axes, name in zip(np.atleast_1d(grid), panels):
        for column, label, color in ((name, "training", BLUE), ("val_" + name, "validation", ORANGE)):
            if _has(history, column):
                values = history[column].to_numpy(dtype=float)
                axes.plot(epochs, values, color=color, marker=marker, markersize=3, linewidth=1.6, label=label)
        for border in borders:
            axes.axvline(border + 0.5, color=GREY, linestyle="--", linewidth=1.0)
        for start, end in zip([0, *borders], [*borders, len(phases)] if borders else []):
            place = {"ha": "center", "va": "bottom", "transform": axes.get_xaxis_transform()}
            axes.text((start + end + 1) / 2, 1.01, _plain(phases[start], 14), fontsize=8, color=GREY, **place)
        axes.set_title(name.replace("_", " ").capitalize(), pad=16 if borders else 6)
        axes.set_xlabel("Epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.grid(color="#e4e8ec", linewidth=0.8)
        if name == "learning_rate":
            if (history[name].to_numpy(dtype=float) > 0).all():
                axes.set_yscale("log")
        else:
            axes.legend(frameon=False, fontsize=9)
    return figure


def plot_subjects(predictions: pd.DataFrame, classes: Sequence[str]) -> Figure | None:
    """Accuracy of each subject, worst first (at most 40), dots larger for more images, coloured by its main class.

    ``None`` unless every labelled image has a subject and there are two subjects or more.
    """
    labelled = predictions[predictions["label"] != ""]
    if not len(labelled) or (labelled["subject"] == "").any() or labelled["subject"].nunique() < 2:
        return None
    right = (labelled["label"] == labelled["prediction"]).astype(float)
    groups = right.groupby(labelled["subject"].to_numpy())
    rows = pd.DataFrame({"accuracy": groups.mean(), "images": groups.size()})
    rows["label"] = labelled.groupby("subject")["label"].agg(lambda names: names.value_counts().index[0])
    rows = rows.sort_values(["accuracy", "images"], kind="stable")
    shown = rows.iloc[:_MAX_SUBJECTS].iloc[::-1]
    figure, axes = _figure(6.6, max(2.6, 0.23 * len(shown) + 1.5))
    places = np.arange(len(shown))
    sizes = 24 + 150 * np.sqrt(shown["images"] / rows["images"].max())
    axes.hlines(places, 0, 1, color="#e4e8ec", linewidth=1.0, zorder=0)
    for name, color in zip(classes, _palette(len(classes))):
        of_class = (shown["label"] == name).to_numpy()
        if of_class.any():
            axes.scatter(
                shown["accuracy"][of_class],
                places[of_class],
                s=sizes[of_class],
                color=color,
                alpha=0.85,
                edgecolors="white",
                label=_plain(name, 24),
            )
    overall = float(right.mean())
    axes.axvline(overall, color=_INK, linestyle="--", linewidth=1.0, label=f"all images: {100 * overall:.1f} %")
    axes.set_yticks(places, [f"{_plain(s, 18)} ({n:,})" for s, n in zip(shown.index, shown["images"])], fontsize=8)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("Accuracy")
    axes.set_ylabel("Subject (images)")
    which = f"the {_MAX_SUBJECTS} lowest of {len(rows):,} subjects" if len(rows) > _MAX_SUBJECTS else "each subject"
    axes.set_title(f"Accuracy of {which}")
    # Below the axes: a legend within them would hide subjects.
    below = (0.4, -0.55 / figure.get_figheight())
    legend = axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=below)
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([40])
    return figure


def plot_errors(images: Sequence[tuple[np.ndarray, str]]) -> Figure | None:
    """Gallery of images with captions, four a row.

    Args:
        images: pairs of uint8 [H, W, 3] and a caption, such as `most_confident_errors` gives.
    """
    if not len(images):
        return None
    columns = min(4, len(images))
    rows = math.ceil(len(images) / columns)
    figure, grid = _figure(2.5 * columns, 3.0 * rows, columns, rows)
    for axes in np.atleast_1d(grid).ravel():
        axes.set_axis_off()
    for axes, (pixels, caption) in zip(np.atleast_1d(grid).ravel(), images):
        axes.imshow(np.asarray(pixels, dtype=np.uint8))
        lines = [_plain(line, 34) for line in str(caption).split("\n")[:3]]
        axes.set_title("\n".join(lines), fontsize=8)
    return figure


def most_confident_errors(predictions: pd.DataFrame, count: int = 12) -> pd.DataFrame:
    """The wrong predictions that the model was surest of.

    Args:
        predictions: frame of `make_predictions`.
        count: how many at most.

    Returns:
        Columns ``row`` (position in ``predictions``), ``path``, ``label``, ``prediction``, ``confidence`` (probability
        of the predicted class) and ``caption``; surest first.
    """
    names = [column for column in predictions.columns if column.startswith(PREFIX)]
    position = {name.removeprefix(PREFIX): i for i, name in enumerate(names)}
    is_wrong = (predictions["label"] != "") & (predictions["label"] != predictions["prediction"])
    wrong = np.flatnonzero(is_wrong.to_numpy())
    chosen = predictions["prediction"].iloc[wrong].map(position).to_numpy(dtype=np.int64)
    confidence = predictions[names].to_numpy(dtype=float)[wrong, chosen]
    order = np.argsort(-confidence, kind="stable")[:count]
    result = predictions.iloc[wrong[order]][["path", "label", "prediction"]].reset_index(drop=True)
    result.insert(0, "row", wrong[order])
    result["confidence"] = confidence[order]
    result["caption"] = [
        f"true {row.label}\npredicted {row.prediction} ({row.confidence:.3f})\n{pathlib.PurePosixPath(row.path).name}"
        for row in result.itertuples()
    ]
    return result


def save_plots(
    folder: str | os.PathLike,
    *,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    history: pd.DataFrame | None = None,
    error_images: Sequence[tuple[np.ndarray, str]] | None = None,
) -> dict[str, pathlib.Path]:
    """Draw every plot that the inputs allow and write it as ``<name>.png``, atomically.

    Args:
        folder: usually ``plots/`` of the run.
        predictions: frame of `make_predictions`.
        metrics: dictionary of `compute_metrics` for it.
        history: see `plot_history`.
        error_images: see `plot_errors`.

    Returns:
        Path of each plot under its name: ``confusion``, ``roc``, ``precision_recall``, ``learning_curves``,
        ``subjects``, ``errors``, and of metrics of `compute_verdict` ``reliability`` and ``risk_coverage``; only those
        that were drawn.

    Raises:
        RunError: if the folder cannot be written.
    """
    from leukemia_tf.evaluation.plots_analysis import plot_reliability, plot_risk_coverage  # builds on this module

    paths = {}
    calibration, selective = metrics.get("calibration") or {}, metrics.get("selective")
    fitted = [name for name in ("before", "after") if calibration.get(name)]
    curves = {name: pd.DataFrame(calibration[name]["reliability"]) for name in fitted}
    with warnings.catch_warnings():
        # Class names may be in a script that the default font lacks; the tables of the report spell them out.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figures = {
            "confusion": plot_confusion(metrics),
            "roc": plot_roc(predictions, metrics),
            "precision_recall": plot_precision_recall(predictions, metrics),
            "learning_curves": plot_history(history) if history is not None and len(history) else None,
            "subjects": plot_subjects(predictions, metrics["classes"]),
            "errors": plot_errors(error_images or []),
            "reliability": plot_reliability(curves) if curves else None,
            "risk_coverage": plot_risk_coverage({"test": pd.DataFrame(selective["curve"])}) if selective else None,
        }
        for name, figure in figures.items():
            if figure is not None:
                paths[name] = pathlib.Path(folder) / f"{name}.png"
                with atomic_path(paths[name]) as temporary:
                    figure.savefig(temporary, format="png", dpi=_DPI)
    return paths


def three_digits(value: float) -> str:
    """``value`` in [0, 1] with three digits, without claiming 1.000 for what is not perfect."""
    return "> 0.999" if 0.9995 <= value < 1 else f"{value:.3f}"


def _figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns)
    for axes in np.atleast_1d(grid).ravel():
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    return figure, grid


def _curves(predictions: pd.DataFrame, metrics: dict[str, Any], key: str):
    """Yield (line style, positives, scores, legend prefix, metric entry) for each class that has a curve."""
    labelled = predictions[predictions["label"] != ""]
    classes = metrics["classes"]
    binary = len(classes) == 2
    colors = [BLUE] if binary else _palette(len(classes))
    for color, (index, name) in zip(colors, list(enumerate(classes))[1 if binary else 0 :]):
        entry = metrics[key] if binary else metrics["per_class"][index][key]
        if entry["value"] is not None:
            positive = (labelled["label"] == name).to_numpy()
            style = {"color": color, "linewidth": 1.8, "linestyle": "-" if index < 10 else "--"}
            yield style, positive, labelled[PREFIX + name].to_numpy(), "" if binary else f"{_plain(name, 20)}: ", entry


def _interval(entry: dict[str, Any]) -> str:
    text = three_digits(entry["value"])
    return text if entry["low"] is None else f"{text} ({three_digits(entry['low'])} to {three_digits(entry['high'])})"


def _positive(metrics: dict[str, Any]) -> str:
    if metrics["positive_class"] is None:
        return ", one class against the rest"
    return f" of class {_plain(metrics['positive_class'], 24)}"


def _palette(count: int) -> list:
    return list(seaborn.color_palette("colorblind", max(count, 1)))


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color="#e4e8ec", linewidth=0.8)


def _legend(axes: Axes, place: str, lines: int) -> None:
    if lines:
        axes.legend(loc=place, fontsize=9 if lines < 5 else 7, framealpha=0.9, edgecolor="#e4e8ec")


def _has(history: pd.DataFrame, column: str) -> bool:
    return column in history and history[column].notna().any()


def _plain(text: str, length: int) -> str:
    """``text`` on one line, shortened, without what matplotlib would read as mathematics or cannot draw."""
    text = " ".join(str(text).encode("utf-8", "replace").decode("utf-8").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    text = text if len(text) <= length else text[: length - 1] + "…"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # a legend leaves out labels that start with an underscore
