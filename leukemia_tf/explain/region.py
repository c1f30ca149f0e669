"""How much of a map lies in a place, such as the corner with a burned-in scale bar."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.attribution import check_maps


class RegionShare(NamedTuple):
    """``share``: float64 (N,), of the positive attribution of each map; not a number where a map has none.
    ``area``: share of the image, which is what a map that does not care would have."""

    share: np.ndarray
    area: float


def region_mask(region: np.ndarray | Sequence[float], size: int) -> np.ndarray:
    """bool (size, size): the pixels of a region.

    Args:
        region: a mask (h, w), true within, which is brought to ``size``; or left, top, right and bottom of a rectangle
            as shares of width and height, as the audit's prints have them.
        size: side in pixels.

    Raises:
        InputError: for anything else, or a region without a pixel.
    """
    given = np.asarray(region)
    if given.dtype == bool and given.ndim == 2:
        mask = cv2.resize(given.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)
    elif given.shape == (4,) and given.dtype.kind in "iuf" and (given >= 0).all() and (given <= 1).all():
        left, top, right, bottom = (int(round(size * float(side))) for side in given)
        mask = np.zeros((size, size), bool)
        mask[top:bottom, left:right] = True
    else:
        raise InputError(
            "`region` must be a mask of true and false (h, w), or left, top, right and bottom from 0 to 1. "
            f"Received: {region!r}"
        )
    if not mask.any():
        raise InputError(f"`region` must hold a pixel of {size} x {size}. Received: {region!r}")
    return mask


def share_in_region(maps: np.ndarray, region: np.ndarray | Sequence[float]) -> RegionShare:
    """The share of the positive attribution that lies in a region.

    Args:
        maps: (N, S, S), or one (S, S).
        region: see `region_mask`.

    Raises:
        InputError: for another shape or region.
    """
    maps = check_maps(maps).astype(np.float64)
    mask = region_mask(region, maps.shape[1])
    positive = np.maximum(maps, 0)
    total = positive.sum(axis=(1, 2))
    inside = positive[:, mask].sum(axis=1)
    share = np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)
    return RegionShare(share, float(mask.mean()))
