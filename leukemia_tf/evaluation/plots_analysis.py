"""Plots of calibration and of abstention, in the style of `plots`."""

from __future__ import annotations

import os
import warnings
from typing import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from leukemia_tf.evaluation.plots import _DPI, GREY, _figure, _legend, _palette, _plain, _unit_square
from leukemia_tf.files import atomic_path


def plot_reliability(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Observed frequency against mean probability with Wilson intervals; below, how many images each bin holds.

    Args:
        curves: frames of `reliability_curve` under the names for the legend, such as "before" and "after".
    """
    figure, (axes, counts) = _figure(5.6, 6.6, 1, 2)
    axes.get_gridspec().set_height_ratios([4, 1])
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="calibrated")
    for color, (name, curve) in zip(_palette(len(curves)), curves.items()):
        below = curve["frequency"] - curve["frequency_low"]
        above = curve["frequency_high"] - curve["frequency"]
        axes.errorbar(
            curve["probability"],
            curve["frequency"],
            yerr=np.clip([below, above], 0.0, None),
            color=color,
            marker="o",
            markersize=4,
            linewidth=1.5,
            elinewidth=1.0,
            capsize=2,
            label=_plain(name, 24),
        )
        # Bins of equal mass have all widths; a point at the mean shows each.
        counts.plot(curve["probability"], curve["images"], color=color, marker="o", markersize=3, linewidth=1.0)
    _unit_square(axes)
    axes.set_ylabel("Observed frequency")
    axes.set_title("Reliability")
    _legend(axes, "upper left", len(curves))
    counts.set_xlim(-0.01, 1.01)
    counts.set_ylim(bottom=0)
    counts.set_xlabel("Mean predicted probability")
    counts.set_ylabel("Images")
    return figure


def plot_risk_coverage(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Share of errors among the images that are kept, against the share that is kept.

    Args:
        curves: tables of `risk_coverage_curve` under the names for the legend.
    """
    figure, axes = _figure(6.0, 4.4)
    for color, (name, curve) in zip(_palette(len(curves)), curves.items()):
        marker = "o" if len(curve) < 30 else ""
        axes.plot(curve["coverage"], curve["risk"], color=color, marker=marker, markersize=3, label=_plain(name, 24))
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("Images kept (coverage)")
    axes.set_ylabel("Errors among them (risk)")
    axes.set_title("Risk and coverage")
    axes.grid(color="#e4e8ec", linewidth=0.8)
    _legend(axes, "upper left", len(curves))
    return figure


def save_figure(path: str | os.PathLike, figure: Figure) -> None:
    """Write a figure as PNG, atomically.

    Raises:
        RunError: if the folder cannot be written.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
