"""Maps laid over their images, for people to look at."""

from __future__ import annotations

import os
import textwrap
from typing import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from leukemia_tf.files import atomic_path

NOTICE = "Research use only: not a medical device, not for diagnosis."
TITLES = {
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "attention": "Attention",
    "occlusion": "Occlusion",
    "integrated_gradients": "Integrated gradients",
}
_DPI = 130
_INK = "#1f2933"
_FOR, _BOTH = "plasma", "RdBu_r"
_OPACITY, _RISE = 0.8, 0.8


def draw_explanation(
    image: np.ndarray, map_: np.ndarray, *, title: str, method: str, unit: str, box: Sequence[float] | None = None
) -> Figure:
    """An image beside its map, with the scale of the map.

    Args:
        image: (S, S, 3), RGB in [0, 255].
        map_: (S, S) of an `Attribution`.
        title: what was predicted.
        method: name of the method, for the heading of the map.
        unit: of the map's numbers.
        box: left, top, right and bottom of a region to be framed, as shares of width and height.
    """
    # Fixed places: working out a layout takes longer than everything else.
    figure = Figure(figsize=(8.4, 4.5), dpi=_DPI)
    FigureCanvasAgg(figure)
    left = figure.add_axes((0.01, 0.06, 0.44, 0.8))
    right = figure.add_axes((0.46, 0.06, 0.44, 0.8))
    left.imshow(np.asarray(image).astype(np.uint8))
    left.set_title("image", fontsize=10, color=_INK)
    scale = _show_map(right, image, map_, method)
    right.set_title(TITLES.get(method, method), fontsize=10, color=_INK)
    bar = figure.colorbar(scale, cax=figure.add_axes((0.91, 0.13, 0.015, 0.66)))
    bar.set_label(_unit(unit, scale), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    for axes in (left, right):
        _frame(axes, box, len(image))
    figure.text(0.5, 0.985, "\n".join(textwrap.wrap(_plain(title), 110)), fontsize=9, color=_INK, ha="center", va="top")
    figure.text(0.5, 0.015, NOTICE, fontsize=8, color="#5b6670", ha="center")
    return figure


def draw_sheet(
    images: Sequence[np.ndarray], maps: Sequence[dict[str, np.ndarray]], titles: Sequence[str]
) -> Figure:
    """A row an image, a column a method.

    Args:
        images: each (S, S, 3), RGB in [0, 255].
        maps: for each image, method -> map (S, S).
        titles: of the rows.
    """
    methods = list(dict.fromkeys(method for one in maps for method in one))
    width, height = 2.2 * (1 + len(methods)), 2.75 * len(images) + 0.4
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(images), 1 + len(methods), squeeze=False)
    figure.subplots_adjust(0.01, 0.3 / height, 0.99, 1 - 0.6 / height, wspace=0.03, hspace=0.3)
    for row, image, of_methods, title in zip(grid, images, maps, titles):
        row[0].imshow(np.asarray(image).astype(np.uint8))
        row[0].set_title("\n".join(textwrap.wrap(_plain(title), 34)), fontsize=7, color=_INK, loc="left")
        for axes, method in zip(row[1:], methods):
            if method in of_methods:
                _show_map(axes, image, of_methods[method], method)
            axes.set_title(TITLES.get(method, method), fontsize=9, color=_INK)
        for axes in row:
            _frame(axes, None, len(image))
    figure.text(0.5, 0.1 / height, NOTICE, fontsize=8, color="#5b6670", ha="center")
    return figure


def save_picture(path: str | os.PathLike, figure: Figure) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def overlay(
    image: np.ndarray, map_: np.ndarray, *, smooth: float = 0.0, top: float = 0.0
) -> tuple[np.ndarray, ScalarMappable]:
    """The map in colour over the image in grey, the more opaque the more it says, and the scale of its colours.

    Args:
        image: (S, S, 3), RGB in [0, 255].
        map_: (S, S). With numbers below 0, red speaks for the class and blue against it, and the scale is symmetric;
            else it begins at 0.
        smooth: standard deviation in pixels of a blur before drawing, for maps that are noise to the eye.
        top: the scale goes up to this at least, so that a map without preferences does not look as if it had some.

    Returns:
        uint8 (S, S, 3), and the mapping from numbers to colours.
    """
    values = np.asarray(map_, np.float32)
    if smooth:
        values = cv2.GaussianBlur(values, (0, 0), smooth)
    largest = max(float(np.abs(values).max()), top) or 1.0
    both = bool((values < 0).any())
    norm = Normalize(-largest if both else 0.0, largest)
    scale = ScalarMappable(norm, matplotlib.colormaps[_BOTH if both else _FOR])
    strength = np.abs(values) / largest
    grey = cv2.cvtColor(np.asarray(image).astype(np.uint8), cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    opacity = (_OPACITY * strength**_RISE)[..., None]
    mixed = (1 - opacity) * grey + opacity * 255 * scale.to_rgba(values)[..., :3]
    return mixed.round().astype(np.uint8), scale


def _show_map(axes: Axes, image: np.ndarray, map_: np.ndarray, method: str) -> ScalarMappable:
    smooth = len(image) / 64 if method == "integrated_gradients" else 0.0
    # Attention is a multiple of even attention: 1 everywhere is the middle of the scale.
    mixed, scale = overlay(image, map_, smooth=smooth, top=2.0 if method == "attention" else 0.0)
    axes.imshow(mixed)
    return scale


def _frame(axes: Axes, box: Sequence[float] | None, size: int) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if box is not None:
        left, top, right, bottom = (size * side - 0.5 for side in box)
        axes.add_patch(
            matplotlib.patches.Rectangle(
                (left, top), right - left, bottom - top, fill=False, edgecolor="#00c2a8", linewidth=1.6
            )
        )


def _unit(unit: str, scale: ScalarMappable) -> str:
    return f"{unit} (red: for, blue: against)" if scale.get_clim()[0] < 0 else unit


def _plain(text: str) -> str:
    """Text without the dollar signs that matplotlib takes for mathematics."""
    return text.replace("$", r"\$")
