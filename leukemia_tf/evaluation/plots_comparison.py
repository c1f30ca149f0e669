"""Forest plots: models with their differences on one test set, and the spread of repeated runs."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from leukemia_tf.evaluation.plots import BLUE, GREY, ORANGE, _figure, _plain

_GRID = "#e4e8ec"
_ROW = 0.34
"""Height of a line, in inches."""


def plot_comparison(differences: pd.DataFrame, values: pd.DataFrame | None = None) -> Figure:
    """Each model's figure with its interval, and below them the paired differences; a column a metric.

    A difference is filled where its corrected p value is below .05.

    Args:
        differences: of `compare_models`.
        values: of `compare_models`; without them only the differences are drawn.
    """
    metrics = list(dict.fromkeys(differences["metric"]))
    heights = [int(differences.groupby("metric", sort=False).size().max())]
    if values is not None:
        heights.insert(0, int(values.groupby("metric", sort=False).size().max()))
    tall = sum(heights) * _ROW + 1.15 * len(heights)
    figure, grid = _figure(2.2 + 2.9 * len(metrics), tall, len(metrics), len(heights))
    grid = np.array(grid, dtype=object).reshape(len(heights), len(metrics))
    grid[0, 0].get_gridspec().set_height_ratios([height + 0.8 for height in heights])
    for column, metric in enumerate(metrics):
        name = metric.replace("_", " ")
        if values is not None:
            rows = values[values["metric"] == metric]
            _forest(grid[0, column], rows["value"], rows, rows["model"], column == 0)
            grid[0, column].set_title(name)
        axes, rows = grid[-1, column], differences[differences["metric"] == metric]
        names = [f"{_plain(row.second, 22)} − {_plain(row.first, 22)}" for row in rows.itertuples()]
        _forest(axes, rows["difference"], rows, names, column == 0, filled=(rows["p_holm"] < 0.05).to_numpy())
        axes.axvline(0.0, color=GREY, linestyle=":", linewidth=1.2)
        axes.set_title(name if values is None else "difference")
    return figure


def plot_spread(
    runs: pd.DataFrame, spread: Mapping[str, Mapping[str, Any]], pooled: Mapping[str, Any], metrics: Sequence[str]
) -> Figure:
    """Each repeated run as a dot, the mean with its t interval, and the pooled figure with its interval.

    Args:
        runs: one row a run, with a column for each metric.
        spread: `summarize_spread` of each metric.
        pooled: of `pooled_intervals`; empty where there is none.
        metrics: which, from top to bottom.
    """
    figure, axes = _figure(7.6, 0.62 * len(metrics) + 1.5)
    shift = np.linspace(-0.1, 0.1, len(runs)) if len(runs) > 1 else np.zeros(1)
    for place, metric in enumerate(reversed(metrics)):
        found = runs[metric].to_numpy(dtype=float)
        named = place == len(metrics) - 1
        axes.plot(found, place + 0.22 + shift, "o", color=GREY, markersize=3.5, alpha=0.7, label="a run" * named)
        lines = [(spread[metric], "mean", 0.0, BLUE, "mean of runs, t interval")]
        if pooled:
            lines.append((pooled[metric], "value", -0.24, ORANGE, f"pooled, interval over {pooled['unit']}s"))
        for entry, key, down, color, label in lines:
            if entry[key] is not None:
                axes.plot(entry[key], place + down, "D", color=color, markersize=5, label=label * named)
            if entry["low"] is not None:
                axes.hlines(place + down, entry["low"], entry["high"], color=color, linewidth=2.0)
    axes.set_yticks(range(len(metrics)), [name.replace("_", " ") for name in reversed(metrics)])
    axes.set_ylim(-0.6, len(metrics) - 0.4)
    left, right = axes.get_xlim()
    # Student's interval of few runs may leave [0, 1], where no metric lies.
    axes.set_xlim(max(left, -0.02), min(right, 1.02))
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    handles, labels = axes.get_legend_handles_labels()
    shown = [(handle, label) for handle, label in zip(handles, labels) if label]
    if shown:
        figure.legend(*zip(*shown), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _forest(
    axes: Axes,
    points: pd.Series,
    ends: pd.DataFrame,
    names: Sequence[str],
    first: bool,
    filled: np.ndarray | None = None,
) -> None:
    """One line a row from top to bottom; the names at the first column only."""
    last = len(points) - 1
    for row, (point, low, high) in enumerate(zip(points, ends["low"], ends["high"])):
        axes.hlines(last - row, low, high, color=BLUE, linewidth=2.0)
        face = BLUE if filled is None or filled[row] else "white"
        axes.plot(point, last - row, marker="o", markersize=7, color=BLUE, markerfacecolor=face)
    shown = [_plain(name, 48) for name in names][::-1] if first else [""] * len(points)
    axes.set_yticks(range(len(points)), shown, fontsize=9)
    axes.set_ylim(-0.7, last + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
