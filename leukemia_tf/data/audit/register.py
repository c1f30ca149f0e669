"""Verify that two pictures show the same: find the transformation between them and compare what they share."""

from __future__ import annotations

import collections
import dataclasses

import cv2
import numpy as np


from leukemia_tf.data.audit.descriptors import ANGLES, RINGS
from leukemia_tf.data.audit.halve import halve
from leukemia_tf.data.audit.reading import SIZE
from leukemia_tf.data.threads import map_threads

_FINE_ANGLES = 2 * ANGLES
_INNER = 8
_MIDDLE = (SIZE - 1) / 2
_SHAPE, _SMALL = (SIZE, SIZE), (SIZE // 2, SIZE // 2)
_ZERO = np.float32(128)
_BACK = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_BACK_NEAREST = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
_LEAST_OVERLAP = 0.2
_PROMISING = 0.78
_WHITE = 251
_CLIPPED = 0.05
_GOOD = 0.9
_PLAIN, _RICH = 400.0, 700.0
_COPY_PLAIN, _COPY_RICH, _COPY_COARSE, _EXACT_BONUS = 0.95, 0.93, 0.85, 0.08


@dataclasses.dataclass(frozen=True)
class Match:
    """How well a picture, transformed, agrees with another.

    Attributes:
        score: correlation of the middle frequencies (edges and texture; brightness does not matter), -1 to 1.
        coarse: correlation of the grey levels.
        overlap: share of the picture in which they are compared.
        structure: number of pixels that carry the edges of the plainer of the two (participation ratio of the squared
            middle frequencies): a lone round cell has 300, a crowded field 1,000.
        matrix: float64 [2, 3], from (x, y) of the second thumbnail to that of the first.
        gain: contrast of the second relative to the first.
        offset: grey levels added to the second.
    """

    score: float
    coarse: float
    overlap: float
    structure: float
    matrix: np.ndarray
    gain: float
    offset: float

    @property
    def is_copy(self) -> bool:
        """Whether the agreement is more than two images of different cells reach.

        Measured on blood smears (experiments/benchmarks/audit.py): lone round cells agree up to 0.94 by chance,
        fields with much structure not even to 0.90. Where one lies exactly on the other, at most flipped and turned
        by right angles, less will do: chance does not choose right angles.
        """
        rich = np.clip((self.structure - _PLAIN) / (_RICH - _PLAIN), 0.0, 1.0)
        enough = _COPY_PLAIN + (_COPY_RICH - _COPY_PLAIN) * rich - (_EXACT_BONUS if _is_exact(self.matrix) else 0.0)
        return bool(self.score >= enough and self.coarse >= min(_COPY_COARSE, enough))


def correlate_rings(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best correlation of pairs of ring samples over all rotations, with and without mirroring.

    Args:
        first: float32 [P, RINGS, ANGLES] of `sample_rings`.
        second: the same shape.

    Returns:
        Correlation [P] (-1 to 1), angle [P] in radians and mirrored [P] (bool): the first is the second turned by the
        angle, after it was mirrored.
    """
    a, b = np.fft.rfft(first), np.fft.rfft(second)
    a[..., -1] *= 0.5  # the highest frequency has a partner of its own on the finer grid
    turned = np.fft.irfft((a * b.conj()).sum(1), _FINE_ANGLES)
    mirrored = np.fft.irfft((a * b).sum(1), _FINE_ANGLES)
    both = np.concatenate([turned, mirrored], 1) * (_FINE_ANGLES / ANGLES) / (RINGS * ANGLES)
    best = both.argmax(1)
    line, half = np.arange(len(both)), best // _FINE_ANGLES * _FINE_ANGLES
    peak = both[line, best]
    before = both[line, half + (best - half - 1) % _FINE_ANGLES]
    after = both[line, half + (best - half + 1) % _FINE_ANGLES]
    # The top of the parabola through the highest value and its neighbours.
    bend = np.minimum(before + after - 2 * peak, -1e-6)
    angle = (best - half + np.clip((before - after) / (2 * bend), -0.5, 0.5)) * 2 * np.pi / _FINE_ANGLES
    return peak, angle, half > 0


def initial_matrices(
    first_points: np.ndarray, second_points: np.ndarray, scale: np.ndarray, angle: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """The transformations that lay points of second pictures [P, 2] on those of first ones: float32 [P, 2, 3]."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    sign = np.where(mirrored, -1.0, 1.0)
    linear = np.stack([np.stack([cosine, -sine * sign], -1), np.stack([sine, cosine * sign], -1)], -2)
    shift = first_points - (linear @ second_points[:, :, None])[:, :, 0]
    return np.concatenate([linear, shift[:, :, None]], -1).astype(np.float32)


def scale_matrices(matrices: np.ndarray, factor: float) -> np.ndarray:
    """The same transformations [..., 2, 3] for pictures enlarged by a factor (pixel centres lie at whole numbers)."""
    result = matrices.copy()
    shift = (factor - 1) / 2
    # x' = f x + s on both sides: the shift of the origin passes through the linear part.
    result[..., 2] = factor * matrices[..., 2] + shift - shift * matrices[..., :2].sum(-1)
    return result


class Registration:
    """Registers pairs of thumbnails; nothing changes after it was made, so that threads can share it.

    Args:
        thumbnails: uint8 [N, SIZE, SIZE].
    """

    def __init__(self, thumbnails: np.ndarray):
        self.thumbnails = thumbnails
        y, x = np.mgrid[:SIZE, :SIZE]
        distance = np.hypot(x - _MIDDLE, y - _MIDDLE)
        # Corners that a rotation filled are outside, and what blurring carries inwards from them.
        self._disc = (distance <= SIZE / 2 - 4).astype(np.uint8)
        half = SIZE // 2
        self._small_disc = cv2.resize(self._disc, (half, half), interpolation=cv2.INTER_AREA)
        self._small_bands = np.empty((len(thumbnails), half, half), np.uint8)
        self._white = np.empty(len(thumbnails))

        def fill(start: int) -> None:
            for row in range(start, min(start + 256, len(thumbnails))):
                self._small_bands[row] = halve(_band(thumbnails[row]))
                self._white[row] = cv2.countNonZero(cv2.inRange(thumbnails[row], _WHITE, 255)) / SIZE**2

        collections.deque(map_threads(fill, range(0, len(thumbnails), 256)), maxlen=0)

    def agreement(self, first: int, second: int, small: np.ndarray) -> float:
        """Correlation of the middle frequencies where both pictures are, without any refinement; 0 where too little.

        Measured at half the size: only what is well above it deserves `refine`.

        Args:
            first: row of the picture that is transformed.
            second: row of the picture it should agree with.
            small: float32 [2, 3] for pictures of half the size (`scale_matrices(matrix, 0.5)`).
        """
        return self._agreement(self._small_bands[first], self._small_bands[second], small)

    def _agreement(self, one: np.ndarray, two: np.ndarray, small: np.ndarray) -> float:
        warped = cv2.warpAffine(one, small, _SMALL, flags=_BACK, borderValue=128)
        shared = cv2.warpAffine(self._small_disc, small, _SMALL, flags=_BACK_NEAREST)
        mask = (shared & self._small_disc).ravel()
        if cv2.countNonZero(mask) < _LEAST_OVERLAP * mask.size:
            return 0.0
        # Bands have the mean 0 (stored as 128), so that three products are all it takes.
        a = (warped.ravel() - _ZERO) * mask
        b = (two.ravel() - _ZERO) * mask
        return float(a @ b) / max(float(a @ a) * float(b @ b), 1.0) ** 0.5

    def refine(self, first: int, second: int, matrix: np.ndarray) -> Match | None:
        """Refine a transformation (affine, by maximising the correlation; Evangelidis and Psarakis, IEEE TPAMI
        30:1858, 2008) and measure the agreement.

        Args:
            first: row of the picture that is transformed.
            second: row of the picture it should agree with.
            matrix: float32 [2, 3], where to begin.

        Returns:
            None if the transformation is no likely one, or leaves too little to compare.
        """
        one, two = self.thumbnails[first], self.thumbnails[second]
        bands = self._small_bands[first], self._small_bands[second]
        brighter = self._white[first] - self._white[second]
        if abs(brighter) > _CLIPPED:
            # One of them was overexposed: the other is made to look like it before their edges are compared.
            one, two = (one, _tone(two, one, self._disc)) if brighter > 0 else (_tone(one, two, self._disc), two)
            bands = halve(_band(one)), halve(_band(two))
        small = scale_matrices(matrix, 0.5)
        agreement = self._agreement(*bands, small)
        # Two steps already tell copies from others.
        better = _maximise(halve(one), halve(two), small, _INNER // 2, 2)
        if better is not None and _likely(better) and (improved := self._agreement(*bands, better)) > agreement:
            agreement, matrix = improved, scale_matrices(better, 2.0)
        if agreement < _PROMISING:
            return None
        full = _maximise(one, two, matrix, _INNER, 15)
        match = self._compare(first, second, full) if full is not None and _likely(full) else None
        if match is None or match.score < _GOOD:
            others = (match, self._compare(first, second, matrix))
            match = max((one for one in others if one is not None), key=lambda one: one.score, default=None)
        return match

    def _compare(self, first: int, second: int, matrix: np.ndarray) -> Match | None:
        warped = cv2.warpAffine(self.thumbnails[first], matrix, _SHAPE, flags=_BACK, borderMode=cv2.BORDER_REPLICATE)
        shared = cv2.warpAffine(self._disc, matrix, _SHAPE, flags=_BACK_NEAREST) & self._disc
        count = cv2.countNonZero(shared)
        if count < _LEAST_OVERLAP * SIZE * SIZE:
            return None
        mask = shared.ravel().astype(np.float32)
        two = self.thumbnails[second]
        gain, offset, clipped = _brightness(warped.ravel(), two.ravel(), mask)
        if clipped > _CLIPPED:
            # Overexposure is no straight line: the curve that clipped the one is laid on the other too. Not otherwise,
            # because that makes lone round cells a little more alike.
            warped = _tone(warped, two, shared)
        else:
            warped = cv2.addWeighted(warped, gain, warped, 0.0, offset)
        coarse = _correlate(warped.ravel() * mask, two.ravel() * mask, mask)[0]
        fine = _correlate(_band(warped).ravel() * mask, _band(two).ravel() * mask, mask)[0]
        structure = 0.0
        if fine >= _COPY_RICH - _EXACT_BONUS:  # below it cannot be a copy, whatever its structure
            structure = min(self._structure(self.thumbnails[row]) for row in (first, second))
        return Match(fine, coarse, count / (SIZE * SIZE), structure, matrix.astype(np.float64), gain, offset)

    def _structure(self, picture: np.ndarray) -> float:
        energy = (_band(picture)[self._disc.view(bool)].astype(np.float32) - 128) ** 2
        return float(energy.sum() ** 2 / max(float((energy * energy).sum()), 1.0))


def describe_match(match: Match) -> str:
    """Say in words how the second picture came from the first; turns are clockwise."""
    linear = match.matrix[:, :2]
    determinant = float(np.linalg.det(linear))
    scale = float(np.sqrt(abs(determinant)))
    mirrored = determinant < 0
    turned = linear @ np.diag([1.0, -1.0]) if mirrored else linear
    angle = float(np.degrees(np.arctan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1])))
    quarter = round(angle / 90) * 90
    rest = angle - quarter
    words = []
    if mirrored:
        words.append({0: "flipped top to bottom", 180: "flipped left to right"}.get(quarter % 360, "transposed"))
        if words == ["transposed"] and quarter % 360 == 270:
            words = ["transposed the other way"]
    elif quarter % 360:
        words.append(f"turned by {-quarter % 360} degrees")
    if abs(rest) >= 2:
        words.append(f"rotated by {abs(rest):.0f} degrees")
    middle = np.array([_MIDDLE, _MIDDLE])
    shift = np.abs(match.matrix @ np.append(middle, 1.0) - middle).max()
    if scale < 0.975:
        words.append(f"cropped to {100 * scale:.0f} %")
    elif scale > 1.025:
        words.append(f"the first is a crop to {100 / scale:.0f} % of it")
    elif shift > 1.5:
        words.append(f"shifted by {100 * shift / SIZE:.0f} %")
    if abs(match.gain - 1) > 0.06 or abs(match.offset + 127 * (match.gain - 1)) > 8:
        words.append("other brightness or contrast")
    return ", ".join(words) or "the same picture, encoded again or resized"


def _is_exact(matrix: np.ndarray) -> bool:
    """Whether nothing but flips and quarter turns lies between two pictures, to about half a pixel."""
    linear = matrix[:, :2]
    nearest = np.rint(linear)
    if np.abs(linear - nearest).max() > 0.02 or not np.array_equal(nearest @ nearest.T, np.eye(2)):
        return False
    middle = np.array([_MIDDLE, _MIDDLE])
    return bool(np.abs(matrix @ np.append(middle, 1.0) - middle).max() < 0.5)


def _likely(matrix: np.ndarray) -> bool:
    """Whether a transformation could be an augmentation: not too large, no strong shear or stretch."""
    stretch = np.linalg.svd(matrix[:, :2].astype(np.float64), compute_uv=False)
    return bool(0.5 < stretch[1] and stretch[0] < 2.0 and stretch[0] / stretch[1] < 1.35)


def _maximise(one: np.ndarray, two: np.ndarray, matrix: np.ndarray, margin: int, iterations: int) -> np.ndarray | None:
    """The affine transformation with the highest correlation near one; None if the search does not converge.

    Only the inner part of the second picture counts: its corners may be what a rotation left empty.
    """
    corner = np.float32([margin, margin])
    start = matrix.copy()
    start[:, 2] += matrix[:, :2] @ corner
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-4)
    try:
        end = cv2.findTransformECC(
            two[margin:-margin, margin:-margin], one, start, cv2.MOTION_AFFINE, criteria, None, 3
        )[1]
    except cv2.error:
        return None
    end[:, 2] -= end[:, :2] @ corner
    return end


def _brightness(one: np.ndarray, two: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """Gain and offset from the first to the second where neither is clipped, and the share where one is."""
    clear = mask * ((one > 4) & (one < 251) & (two > 4) & (two < 251))
    left = float(clear.sum()) / float(mask.sum())
    if left < 0.1:
        clear = mask
    _, gain, offset = _correlate(one * clear, two * clear, clear)
    return (gain, offset, 1 - left) if 0.2 < gain < 5.0 else (1.0, 0.0, 1 - left)


def _tone(one: np.ndarray, two: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give the first picture the grey levels of the second, rank for rank (histogram matching)."""
    first = np.cumsum(cv2.calcHist([one], [0], mask, [256], [0, 256]).ravel())
    second = np.cumsum(cv2.calcHist([two], [0], mask, [256], [0, 256]).ravel())
    table = np.minimum(np.searchsorted(second, first - 0.5), 255).astype(np.uint8)
    return table[one]


def _band(picture: np.ndarray) -> np.ndarray:
    """Middle frequencies, what remains between a blur of 1 and one of 4 pixels: uint8, 128 for none."""
    fine = cv2.GaussianBlur(picture, (7, 7), 1.0)
    return cv2.addWeighted(fine, 1.0, cv2.blur(picture, (9, 9)), -1.0, 128.0)


def _correlate(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """Correlation of two masked float32 vectors, and gain and offset of the second to the first."""
    count = float(mask.sum())
    mean_a, mean_b = float(a.sum()) / count, float(b.sum()) / count
    aa = float(a @ a) / count - mean_a * mean_a
    bb = float(b @ b) / count - mean_b * mean_b
    ab = float(a @ b) / count - mean_a * mean_b
    if aa < 0.25 or bb < 0.25:
        return 0.0, 1.0, 0.0
    gain = ab / aa
    return ab / np.sqrt(aa * bb), gain, mean_b - gain * mean_a
