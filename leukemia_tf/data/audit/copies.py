"""Find pairs of images of which one was made from the other: flipped, turned, brightened, cropped, encoded again.

Two stages. Descriptors that such changes leave alone are looked up in an index (`CellIndex`), which gives a few
candidates an image, whatever the number of images. Each candidate pair is then registered and compared
(`Registration`), and only what agrees in its edges and texture is a copy.
"""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from leukemia_tf.data.audit import descriptors as d
from leukemia_tf.data.audit.index import CellIndex
from leukemia_tf.data.audit.register import (
    Match,
    Registration,
    correlate_rings,
    describe_match,
    initial_matrices,
    scale_matrices,
)
from leukemia_tf.data.progress import track
from leukemia_tf.data.threads import map_threads

log = logging.getLogger(__name__)

# Squared distance after `fit_metric`, at which copies are still found; measured by experiments/benchmarks/audit.py.
RADIUS = 28.0
# Correlation of the rings that a copy reaches, exactly aligned or not.
RINGS_AGREE = 0.40

_CHUNK = 256
_TRAINING = 400
_CANDIDATES = 5  # pairs an image may bring to the comparison of rings
_AGREE = 0.46  # what they must agree in before they are registered
_REGISTERED = 2  # the pairs an image may bring to registration
_AGREE_SECOND = 0.6  # what all but the best of them must agree in

# Kinds of descriptors: name, radius, which points, scale.
_CENTRE = len(d.SCALES)
# The same of the picture made brighter until it clips, as it looks to a copy that was overexposed.
_OVEREXPOSED = _CENTRE + 1
_EXPOSURE = 1.3


def find_copies(thumbnails: np.ndarray, *, progress: bool = True, seed: int = 0) -> pd.DataFrame:
    """Find pairs that show the same.

    Args:
        thumbnails: uint8 [N, SIZE, SIZE], each image once (of byte-identical ones, one).
        progress: show progress on a terminal, log lines otherwise.
        seed: of what is drawn to learn the metric and the cells.

    Returns:
        One row a pair, best first: first, second (rows), score (correlation of edges and texture, 0 to 1), coarse
        (correlation of grey levels), overlap (share of the image compared) and transformation (in words). Blank
        images (no structure) are never in a pair.
    """
    # The threads are ours: BLAS or OpenMP with threads of their own inside each only makes them wait for each other.
    with threadpool_limits(1):
        pairs, pictures = candidates(thumbnails, progress=progress, seed=seed)
        pairs = _compare_rings(pictures, pairs, progress)
        return _register(thumbnails, pairs, progress)


def candidates(thumbnails: np.ndarray, *, progress: bool = True, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """First stage: pairs whose descriptors are near, with the points, scale and distance of each.

    Returns:
        The pairs, and the pictures that were described (`Points.pictures`).
    """
    if len(thumbnails) < 2:
        columns = ["first", "second", "kind", "first_point", "second_point", "distance"]
        return pd.DataFrame(columns=columns), d.find_blurred(thumbnails)
    rows = _describe_all(thumbnails, _fit(thumbnails, seed), progress)
    pictures = rows.pop("pictures")
    return look_up(rows, len(thumbnails), seed=seed), pictures


def look_up(rows: dict[str, np.ndarray], count: int, *, seed: int = 0) -> pd.DataFrame:
    """Look every descriptor up among those of all images, and keep the nearest pairs of each image.

    Args:
        rows: vector float32 [n, dimensions], and of each its image, point and kind: int [n]. The kinds 0 to
            len(SCALES) - 1 are rings around points at each scale, then come the centre and the overexposed centre.
        count: number of images.
        seed: of the cells.
    """
    found = []
    for is_centre in (False, True):
        known = rows["kind"][(rows["kind"] >= _CENTRE) == is_centre]
        base = _CENTRE if is_centre else 0
        chosen = np.flatnonzero(rows["kind"] == base)
        index = CellIndex(rows["vector"][chosen], rows["image"][chosen], seed=seed)
        for kind in np.unique(known):
            asked = np.flatnonzero(rows["kind"] == kind)
            query, hit, distance = index.search(rows["vector"][asked], rows["image"][asked], radius=RADIUS)
            query, hit = asked[query], chosen[hit]
            found.append(
                pd.DataFrame(
                    {
                        "first": rows["image"][query],
                        "second": rows["image"][hit],
                        "kind": np.full(len(query), kind, np.int8),
                        "first_point": rows["point"][query],
                        "second_point": rows["point"][hit],
                        "distance": distance,
                    }
                )
            )
    return _thin(pd.concat(found, ignore_index=True), count)


def _fit(thumbnails: np.ndarray, seed: int) -> dict[bool, d.Metric]:
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(thumbnails), min(len(thumbnails), _TRAINING), replace=False))
    rounds = 5 if len(chosen) > 100 else 20
    return {
        False: d.fit_metric(thumbnails[chosen], radius=d.RADIUS, rounds=rounds, seed=seed),
        True: d.fit_metric(thumbnails[chosen], radius=d.CENTRE_RADIUS, rounds=rounds, seed=seed),
    }


def _describe_all(thumbnails: np.ndarray, metrics: dict[bool, d.Metric], progress: bool) -> dict[str, np.ndarray]:
    offsets = [d.ring_offsets(radius) for radius in _radii()]

    def describe(start: int) -> dict[str, np.ndarray]:
        found = d.find_points(thumbnails[start : start + _CHUNK])
        parts: dict[str, list[np.ndarray]] = {"vector": [], "image": [], "point": [], "kind": []}
        for kind, offset in enumerate(offsets):
            pictures = found.pictures
            if kind >= _CENTRE:
                points = d.centre_points(len(pictures))
            else:
                points = found.coarse if kind < d.FINE_FROM else found.fine
            if kind == _OVEREXPOSED:
                pictures = cv2.convertScaleAbs(pictures, alpha=_EXPOSURE)
            vectors = metrics[kind >= _CENTRE](d.describe(pictures, points, offset))
            parts["vector"].append(vectors)
            parts["image"].append(np.repeat(np.arange(start, start + len(points), dtype=np.int32), points.shape[1]))
            parts["point"].append(points.ravel().astype(np.int32))
            parts["kind"].append(np.full(points.size, kind, np.int8))
        return {**{name: np.concatenate(values) for name, values in parts.items()}, "pictures": found.pictures}

    starts = range(0, len(thumbnails), _CHUNK)
    chunks = list(track(map_threads(describe, starts), len(starts), "describing images (batches)", progress))
    return {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in list(chunks[0])}


def _radii() -> np.ndarray:
    """Radius of the rings of each kind of descriptor."""
    return np.array([d.RADIUS * scale for scale in d.SCALES] + [d.CENTRE_RADIUS] * 2)


def _thin(found: pd.DataFrame, count: int) -> pd.DataFrame:
    """Keep the nearest find of each pair, and the nearest pairs of each image."""
    low, high = np.minimum(found["first"], found["second"]), np.maximum(found["first"], found["second"])
    found = found.assign(pair=low.to_numpy(np.int64) * count + high).sort_values("distance", kind="stable")
    found = found.drop_duplicates("pair")
    keep = (found.groupby("first").cumcount() < _CANDIDATES) | (found.groupby("second").cumcount() < _CANDIDATES)
    return found[keep].drop(columns="pair").reset_index(drop=True)


def _compare_rings(pictures: np.ndarray, pairs: pd.DataFrame, progress: bool) -> pd.DataFrame:
    """Second stage, first half: correlation of the rings over all rotations; keeps what agrees."""
    radii = _radii()
    offsets = np.stack([d.ring_offsets(radius) for radius in radii])
    base = np.array([d.RADIUS] * len(d.SCALES) + [d.CENTRE_RADIUS] * 2)
    base_offsets = np.stack([d.ring_offsets(radius) for radius in base])
    pairs = pairs.sort_values("first", kind="stable").reset_index(drop=True)
    columns = {name: pairs[name].to_numpy() for name in ("first", "second", "kind", "first_point", "second_point")}

    def compare(start: int) -> tuple[np.ndarray, ...]:
        part = {name: values[start : start + 2048] for name, values in columns.items()}
        return correlate_rings(
            d.sample_at(pictures, part["first"], part["first_point"], offsets[part["kind"]]),
            d.sample_at(pictures, part["second"], part["second_point"], base_offsets[part["kind"]]),
        )

    starts = range(0, len(pairs), 2048)
    results = list(track(map_threads(compare, starts), len(starts), "comparing candidates (batches)", progress))
    if not results:
        return pairs.assign(rings=0.0, angle=0.0, mirrored=False)
    rings, angle, mirrored = (np.concatenate(parts) for parts in zip(*results))
    scale = radii[columns["kind"]] / base[columns["kind"]]
    return pairs.assign(rings=rings, angle=angle, mirrored=mirrored, scale=scale)


def _register(thumbnails: np.ndarray, pairs: pd.DataFrame, progress: bool) -> pd.DataFrame:
    """Second stage, second half: register what is left, and keep what agrees in its edges."""
    columns = ["first", "second", "score", "coarse", "overlap", "transformation"]
    pairs = pairs[pairs["rings"] >= RINGS_AGREE] if len(pairs) else pairs
    if not len(pairs):
        return pd.DataFrame(columns=columns)
    registration = Registration(thumbnails)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    starts = initial_matrices(
        d.point_xy(pairs["first_point"].to_numpy()),
        d.point_xy(pairs["second_point"].to_numpy()),
        pairs["scale"].to_numpy(),
        pairs["angle"].to_numpy(),
        pairs["mirrored"].to_numpy(),
    )

    small = scale_matrices(starts, 0.5)

    def agree(start: int) -> list[float]:
        rows = range(start, min(start + _CHUNK, len(pairs)))
        return [registration.agreement(first[row], second[row], small[row]) for row in rows]

    agreement = np.concatenate([*map_threads(agree, range(0, len(pairs), _CHUNK))])
    order = np.argsort(-agreement, kind="stable")
    order = order[agreement[order] >= _AGREE]
    ranked = pd.DataFrame({"first": first[order], "second": second[order]})
    rank = np.minimum(ranked.groupby("first").cumcount(), ranked.groupby("second").cumcount()).to_numpy()
    chosen = order[(rank == 0) | ((rank < _REGISTERED) & (agreement[order] >= _AGREE_SECOND))]

    def register(start: int) -> list[tuple[int, int, Match | None]]:
        part = chosen[start : start + 64]
        return [(first[row], second[row], registration.refine(first[row], second[row], starts[row])) for row in part]

    batches = range(0, len(chosen), 64)
    matches = track(map_threads(register, batches), len(batches), "registering candidates (batches)", progress)
    rows = [
        (int(one), int(two), match.score, match.coarse, match.overlap, describe_match(match))
        for batch in matches
        for one, two, match in batch
        if match is not None and match.is_copy
    ]
    result = pd.DataFrame(rows, columns=columns)
    return result.sort_values(["score", "first"], ascending=[False, True], kind="stable").reset_index(drop=True)
