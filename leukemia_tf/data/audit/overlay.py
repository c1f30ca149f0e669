"""Print burned into images: text, scale bars and boxes, found because they recur at the same place.

Platelets, granules and gaps between cells also make thin dark or bright strokes, but at another place in every image.
A stroke that lies at the same place of the outer part in many images was put there by a program.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from leukemia_tf.data.audit.halve import halve

GRID = 96
_CONTRAST = 50
_KERNEL = np.ones((5, 5), np.uint8)
# The middle, where single cells lie, is not searched: there strokes recur because the cell does.
_MARGIN = 0.25
_AROUND = 21
_LEAST_SHARE = 0.06
_LEAST_PIXELS = 6
_MAX_PRINTS = 4


@dataclasses.dataclass(frozen=True)
class Print:
    """Strokes that recur at one place.

    Attributes:
        mask: bool [GRID, GRID], where.
        share: of the images that show it.
        box: left, top, right and bottom, as shares of width and height.
    """

    mask: np.ndarray
    share: float
    box: tuple[float, float, float, float]


def find_print(image: np.ndarray) -> np.ndarray:
    """Mark thin strokes, dark in any channel or bright in all: uint8 [GRID * GRID / 8], packed bits.

    Args:
        image: uint8 RGB [height, width, 3]; strokes of up to four pixels are thin, so it should be of 100 to 400
            pixels (`leukemia_tf.data.audit.reading` sees to that).
    """
    red, green, blue = cv2.split(image)
    darkest = cv2.min(cv2.min(red, green), blue)
    closed = cv2.morphologyEx(darkest, cv2.MORPH_CLOSE, _KERNEL)
    opened = cv2.morphologyEx(darkest, cv2.MORPH_OPEN, _KERNEL)
    stroke = cv2.max(cv2.subtract(closed, darkest), cv2.subtract(darkest, opened))
    mask = cv2.threshold(stroke, _CONTRAST, 255, cv2.THRESH_BINARY)[1]
    while min(mask.shape) >= 2 * GRID:
        mask = halve(mask)
    method = cv2.INTER_LINEAR if min(mask.shape) > GRID else cv2.INTER_NEAREST
    return np.packbits(cv2.resize(mask, (GRID, GRID), interpolation=method) > 60)


def recurring_prints(masks: np.ndarray, labels: np.ndarray) -> tuple[list[Print], np.ndarray]:
    """Find what recurs, class by class (so that a rare class counts), and which images show it.

    Args:
        masks: uint8 [N, GRID * GRID / 8] of `find_print`.
        labels: [N], class of each image.

    Returns:
        Up to a few prints, most frequent first, and bool [N, prints], which image shows which.
    """
    prints: list[Print] = []
    shown: list[np.ndarray] = []
    taken = np.zeros((GRID, GRID), bool)
    left = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    for _ in range(3 * _MAX_PRINTS):
        found = [_most_frequent(masks[rows]) for rows in left.values() if len(rows) >= 20]
        found = [mask for mask in found if mask is not None]
        if not found or len(prints) == _MAX_PRINTS:
            break
        mask = max(found, key=lambda one: int(one.sum()))
        hits = _shows(masks, mask)
        if hits.mean() < 0.005:
            break
        rows, columns = np.nonzero(mask)
        box = (columns.min() / GRID, rows.min() / GRID, (columns.max() + 1) / GRID, (rows.max() + 1) / GRID)
        prints.append(Print(mask, float(hits.mean()), tuple(round(float(value), 3) for value in box)))
        shown.append(hits)
        taken |= mask
        left = {label: rows[~hits[rows]] for label, rows in left.items()}
    order = np.argsort([-one.share for one in prints])
    return [prints[k] for k in order], (
        np.stack([shown[k] for k in order], 1) if prints else np.zeros((len(masks), 0), bool)
    )


def frequency(masks: np.ndarray) -> np.ndarray:
    """Share of the images that have a stroke at each place: float32 [GRID, GRID]."""
    total = np.zeros(GRID * GRID, np.int64)
    for start in range(0, len(masks), 4096):
        total += np.unpackbits(masks[start : start + 4096], axis=1).sum(0, dtype=np.int64)
    return (total / max(1, len(masks))).astype(np.float32).reshape(GRID, GRID)


def outer() -> np.ndarray:
    """The part that is searched: bool [GRID, GRID], all but the middle half of width and height."""
    edge = round(_MARGIN * GRID)
    part = np.ones((GRID, GRID), bool)
    part[edge:-edge, edge:-edge] = False
    return part


def _most_frequent(masks: np.ndarray) -> np.ndarray | None:
    """The places where strokes are many times as frequent as around them, as one patch of print; or None."""
    share = frequency(masks)
    around = cv2.blur(share, (_AROUND, _AROUND), borderType=cv2.BORDER_REFLECT)
    # Chance alone: a share of n images has a deviation of sqrt(p / n).
    noise = np.sqrt(np.maximum(around, 1 / len(masks)) / len(masks))
    mask = outer() & (share - around > np.maximum(_LEAST_SHARE, np.maximum(8 * noise, 2 * around)))
    # Letters lie close together; the largest patch of them is one print.
    near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8))
    count, numbers = cv2.connectedComponents(near)
    sizes = np.bincount(numbers[mask], minlength=count)
    if sizes.max(initial=0) < _LEAST_PIXELS:
        return None
    return mask & (numbers == sizes.argmax())


def _shows(masks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Which images have strokes on at least half of the mask."""
    places = np.flatnonzero(mask.ravel())
    hits = np.zeros(len(masks), bool)
    for start in range(0, len(masks), 4096):
        part = np.unpackbits(masks[start : start + 4096], axis=1)[:, places]
        hits[start : start + 4096] = part.mean(1) >= 0.5
    return hits
