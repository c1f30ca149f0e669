"""What every method of explanation gives: one map an image."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from leukemia_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Maps of the images that were explained.

    Attributes:
        method: its name.
        maps: float32 (N, S, S), a number a pixel of the image: above 0 speaks for the class, below 0 against it.
            Methods that know only "for" have no negative numbers.
        classes: int64 (N,), the class that each map explains.
        unit: of the numbers.
        parts: maps as they were before they were brought to the size of the image, float32 (N, h, w), by the name of
            their layer.
        figures: what else the method knows of each image, float64 (N,), by name.
    """

    method: str
    maps: np.ndarray
    classes: np.ndarray
    unit: str
    parts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    figures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def signed(self) -> bool:
        """Whether a number is below 0."""
        return bool((self.maps < 0).any())


def enlarge(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (N, h, w) at (N, size, size), bilinear, pixel centres on pixel centres; float32."""
    resized = [cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in np.asarray(maps, np.float32)]
    return np.stack(resized) if resized else np.zeros((0, size, size), np.float32)


def up_to_one(maps: np.ndarray) -> np.ndarray:
    """Each map (N, h, w) divided by its largest absolute value; zero throughout stays zero."""
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return (maps / np.where(largest > 0, largest, 1)).astype(np.float32)


def check_maps(maps: np.ndarray, images: int | None = None) -> np.ndarray:
    """Maps as float32 (N, S, S); one map (S, S) is taken as one of one.

    Raises:
        InputError: for another shape or number, or values that are not finite.
    """
    maps = np.asarray(maps, np.float32)
    maps = maps[None] if maps.ndim == 2 else maps
    wanted = "N" if images is None else images
    if maps.ndim != 3 or (images is not None and len(maps) != images):
        raise InputError(f"`maps` must have the shape ({wanted}, S, S). Received: {maps.shape}")
    if not np.isfinite(maps).all():
        raise InputError("`maps` must be finite numbers. Received: others")
    return maps
