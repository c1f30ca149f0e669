"""Small pictures for the audit's tests: different cells, and copies of them."""

from __future__ import annotations

import cv2
import numpy as np


def draw(number: int, size: int = 96) -> np.ndarray:
    """A picture with a dark cell among paler ones, another for each number: uint8 RGB."""
    random = np.random.default_rng(1000 + number)
    image = np.full((size, size, 3), random.integers(200, 230, 3), np.uint8)
    for _ in range(9):
        centre = tuple(int(v) for v in random.integers(0, size, 2))
        axes = tuple(int(v) for v in random.integers(size // 12, size // 6, 2))
        colour = tuple(int(v) for v in random.integers(110, 190, 3))
        cv2.ellipse(image, centre, axes, float(random.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    centre = tuple(int(v) for v in random.integers(size * 2 // 5, size * 3 // 5, 2))
    for share in (1.0, 0.6):
        axes = tuple(int(v * share) for v in random.integers(size // 8, size // 4, 2))
        colour = tuple(int(v) for v in random.integers(20, 110, 3))
        cv2.ellipse(image, centre, axes, float(random.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0) + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    size = len(image)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (size, size))


def crop(image: np.ndarray, share: float, left: float = 0.5, top: float = 0.5) -> np.ndarray:
    size = len(image)
    side = round(size * share)
    x, y = round((size - side) * left), round((size - side) * top)
    return cv2.resize(image[y : y + side, x : x + side], (size, size))


def save(path, image: np.ndarray, quality: int = 92) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
