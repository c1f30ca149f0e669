"""Descriptors of small grey pictures that flips, rotations, brightness, cropping and re-encoding hardly change.

Around each of a few salient points (and around the centre) the picture is sampled on rings. The magnitudes of the
Fourier coefficients along a ring do not change when the picture is turned by any angle or mirrored (Reddy and
Chatterji, IEEE Trans. Image Processing 5:1266, 1996, use the same idea for whole images), subtracting the mean and
dividing by the deviation removes brightness and contrast, and points move with the content, so that a crop has many of
them. What other changes do to the numbers is learned from altered pictures of the data set itself (`fit_metric`).
"""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import scipy.linalg

from leukemia_tf.data.audit.reading import SIZE
from leukemia_tf.data.threads import map_threads

POINTS = 8
RINGS, ANGLES, ORDERS = 10, 32, 8
RADIUS = 16
# Radii at which a picture is compared with others' radius of 16: where it shows more, the other one is a crop of it.
SCALES = (1.0, 0.93, 0.865, 0.8, 0.74)
# From this scale on the points are those of a finer scale, because what is cropped is also enlarged.
FINE_FROM = 2
CENTRE_RADIUS = 30
PAD = 4
WIDTH = SIZE + 2 * PAD


@dataclasses.dataclass(frozen=True)
class Points:
    """Where a batch of pictures is described.

    Attributes:
        pictures: uint8 [B, WIDTH * WIDTH], slightly blurred, with a margin of PAD pixels.
        coarse: int [B, POINTS], positions in a padded picture (y * WIDTH + x); the centre where there are too few.
        fine: the same for a finer scale.
    """

    pictures: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray


def find_points(thumbnails: np.ndarray) -> Points:
    """Blur and find the most salient blobs (extremes of a difference of Gaussians) of uint8 [B, SIZE, SIZE]."""
    pictures = thumbnails.astype(np.float32)
    half = pictures.reshape(-1, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4))
    coarse = _extremes(np.abs(_widen(half, 2.2) - _widen(half, 3.6)))
    fine = _extremes(np.abs(_widen(half, 1.8) - _widen(half, 2.95)))
    return Points(find_blurred(thumbnails), coarse, fine)


def describe(pictures: np.ndarray, points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return float32 [B * P, RINGS * ORDERS], invariant to rotation, mirroring, brightness and contrast.

    Args:
        pictures: uint8 [B, WIDTH * WIDTH] of `Points`.
        points: int [B, P].
        offsets: of `ring_offsets`.
    """
    rings = sample_rings(pictures, points, offsets)
    cosine, sine = _fourier()
    real, imaginary = rings @ cosine, rings @ sine
    size = np.sqrt(real * real + imaginary * imaginary)
    size[..., 0] = np.abs(real[..., 0])
    size = np.sqrt(size)
    # The mean of a ring has a sign: darker or brighter than the whole.
    size[..., 0] *= np.sign(real[..., 0])
    return size.reshape(len(rings), -1)


def sample_rings(pictures: np.ndarray, points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return float32 [B * P, RINGS, ANGLES]: mean 0 and deviation 1 over the disc, each ring times root radius."""
    start = points + (np.arange(len(pictures)) * pictures.shape[1])[:, None]
    rings = pictures.reshape(-1).take(start[:, :, None] + offsets).reshape(-1, RINGS, ANGLES).astype(np.float32)
    return _normalise(rings)


def ring_offsets(radius: float, *, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return int [RINGS * ANGLES]: where to sample, relative to a point of a padded picture."""
    radii = (np.arange(RINGS) + 0.7) / RINGS * (radius - 0.5)
    angles = angle + np.arange(ANGLES) * 2 * np.pi / ANGLES
    x = np.rint(radii[:, None] * np.cos(angles) + shift[0]).astype(np.int64)
    y = np.rint(radii[:, None] * np.sin(angles) + shift[1]).astype(np.int64)
    return (y * WIDTH + x).ravel()


def centre_points(count: int) -> np.ndarray:
    """The middle of each padded picture: int [count, 1]."""
    return np.full((count, 1), WIDTH // 2 * WIDTH + WIDTH // 2, np.int64)


def point_xy(points: np.ndarray) -> np.ndarray:
    """Positions in padded pictures as float [..., 2] (x, y) in the thumbnail."""
    return np.stack([points % WIDTH - PAD, points // WIDTH - PAD], -1).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A linear map after which copies are about as far apart in all directions, and different images far."""

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, descriptors: np.ndarray) -> np.ndarray:
        return (descriptors - self.mean) @ self.matrix


def fit_metric(
    thumbnails: np.ndarray, *, radius: float, dimensions: int = 24, rounds: int = 6, seed: int = 0
) -> Metric:
    """Learn from altered pictures of the data set which differences mean nothing (linear discriminant analysis).

    Args:
        thumbnails: uint8 [B, SIZE, SIZE], some hundred images of the data set.
        radius: of the rings; RADIUS uses the salient points, CENTRE_RADIUS the middle.
        dimensions: of the result.
        rounds: altered pictures of each image.
        seed: of the alterations.
    """
    random = np.random.default_rng(seed)
    found = find_points(thumbnails)
    points = centre_points(len(thumbnails)) if radius > RADIUS else found.coarse
    base = describe(found.pictures, points, ring_offsets(radius))
    # Drawn before the threads start, so that the result does not depend on which is first.
    seeds = random.integers(2**31, size=rounds)

    def scatter(one_seed: int) -> np.ndarray:
        own = np.random.default_rng(one_seed)
        altered = np.stack([_alter(picture, own) for picture in thumbnails])
        offsets = ring_offsets(
            radius * own.uniform(0.965, 1.035),
            angle=own.uniform(0, 2 * np.pi),
            shift=(own.uniform(-0.9, 0.9), own.uniform(-0.9, 0.9)),
        )
        difference = (describe(find_blurred(altered), points, offsets) - base).astype(np.float64)
        return difference.T @ difference / len(difference)

    within = sum(map_threads(scatter, seeds))
    within /= rounds
    mean = base.mean(0)
    centred = (base - mean).astype(np.float64)
    between = centred.T @ centred / max(1, len(base) - 1)
    within += np.eye(len(within)) * (0.01 * np.trace(within) / len(within) + 1e-6)
    _, vectors = scipy.linalg.eigh(between, within)
    return Metric(mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :dimensions], np.float32))


def _alter(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, blur and compression, as copies have them."""
    level = random.uniform(0, 255)
    result = (picture.astype(np.float32) - level) * random.uniform(0.8, 1.25) + level
    result = np.clip(result * random.uniform(0.75, 1.3), 0, 255).astype(np.uint8)
    if random.random() < 0.3:
        result = cv2.GaussianBlur(result, (0, 0), random.uniform(0.4, 0.9))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 95))]
    return cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_GRAYSCALE)


def _extremes(strength: np.ndarray) -> np.ndarray:
    """The POINTS strongest local maxima of float32 [B, SIZE, SIZE] that have room for the rings."""
    reach = 2
    area = strength[:, RADIUS - reach : SIZE - RADIUS + reach, RADIUS - reach : SIZE - RADIUS + reach]
    side = SIZE - 2 * RADIUS
    highest = functools.reduce(np.maximum, [area[:, k : k + side] for k in range(2 * reach + 1)])
    highest = functools.reduce(np.maximum, [highest[:, :, k : k + side] for k in range(2 * reach + 1)])
    inner = area[:, reach:-reach, reach:-reach]
    peaks = np.where(inner >= highest, inner, 0).reshape(len(strength), -1)
    best = np.argpartition(-peaks, POINTS, axis=1)[:, :POINTS]
    y, x = best // side + RADIUS + PAD, best % side + RADIUS + PAD
    weak = np.take_along_axis(peaks, best, 1) <= 0.25
    return np.where(weak, WIDTH // 2 * WIDTH + WIDTH // 2, y * WIDTH + x)


def _widen(half: np.ndarray, sigma: float) -> np.ndarray:
    """Blur pictures of half the size (sigma in pixels of the full one) and enlarge them again."""
    matrix = _enlarge() @ _gaussian(SIZE // 2, sigma / 2)
    return np.matmul(np.matmul(matrix, half), matrix.T)


def _normalise(rings: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the disc; each ring weighs as much as its area."""
    area = _ring_area()
    rings -= (rings.mean(2) @ area)[:, None, None]
    deviation = np.sqrt(np.einsum("bra,bra->br", rings, rings) @ area / ANGLES)
    # Two grey levels more, so that noise on a blank picture is no structure.
    rings *= (np.sqrt(area * RINGS)[None, :] / (deviation + 2.0)[:, None])[:, :, None].astype(np.float32)
    return rings


@functools.cache
def _gaussian(size: int, sigma: float) -> np.ndarray:
    """Blurring along one axis as a matrix."""
    return np.stack(
        [
            cv2.GaussianBlur(row[None], (0, 0), sigmaX=sigma, sigmaY=1e-6, borderType=cv2.BORDER_REFLECT)[0]
            for row in np.eye(size, dtype=np.float32)
        ],
        axis=1,
    )


@functools.cache
def _enlarge() -> np.ndarray:
    """Linear interpolation from SIZE / 2 to SIZE along one axis as a matrix."""
    rows = [
        cv2.resize(row[None], (SIZE, 1), interpolation=cv2.INTER_LINEAR)[0] for row in np.eye(SIZE // 2, dtype="f4")
    ]
    return np.stack(rows, axis=1)


@functools.cache
def _fourier() -> tuple[np.ndarray, np.ndarray]:
    phase = 2 * np.pi * np.outer(np.arange(ANGLES), np.arange(ORDERS)) / ANGLES
    return (np.cos(phase) / ANGLES).astype(np.float32), (np.sin(phase) / ANGLES).astype(np.float32)


@functools.cache
def _ring_area() -> np.ndarray:
    area = np.arange(RINGS) + 0.7
    return (area / area.sum()).astype(np.float32)


def find_blurred(thumbnails: np.ndarray) -> np.ndarray:
    """The `pictures` of `find_points` alone."""
    result = np.empty((len(thumbnails), WIDTH, WIDTH), np.uint8)
    for picture, thumbnail in zip(result, thumbnails):
        blurred = cv2.GaussianBlur(thumbnail, (5, 5), 0.9)
        cv2.copyMakeBorder(blurred, PAD, PAD, PAD, PAD, cv2.BORDER_REPLICATE, dst=picture)
    return result.reshape(len(thumbnails), WIDTH * WIDTH)


def sample_at(pictures: np.ndarray, rows: np.ndarray, points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`sample_rings` at one point a row, each with its own offsets.

    Args:
        pictures: uint8 [B, WIDTH * WIDTH].
        rows: int [P], the picture of each.
        points: int [P].
        offsets: int [P, RINGS * ANGLES].
    """
    places = (rows.astype(np.int64) * pictures.shape[1] + points)[:, None] + offsets
    return _normalise(pictures.reshape(-1).take(places).reshape(-1, RINGS, ANGLES).astype(np.float32))
