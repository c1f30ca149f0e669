"""Find pairs of images of which one was made from the other: flipped, turned, brightened, cropped, encoded again.

Two stages. Descriptors that such changes leave alone are looked up in an index (`CellIndex`), which gives a few
candidates an image, whatever the number of images. Each candidate pair is then registered and compared
(`Registration`), and only what agrees in its edges and texture is a copy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from leukemia_tf.data.audit import descriptors as d
from leukemia_tf.data.audit.candidates import find_candidates, radii
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

# Correlation of the rings that a copy reaches, exactly aligned or not.
RINGS_AGREE = 0.40

_CHUNK = 256
_RINGS = 2048
_AGREE = 0.46  # what they must agree in before they are registered
_REGISTERED = 2  # the pairs an image may bring to registration
_AGREE_SECOND = 0.6  # what all but the best of them must agree in


def find_copies(
    thumbnails: np.ndarray, rows: np.ndarray | None = None, *, progress: bool = True, seed: int = 0
) -> pd.DataFrame:
    """Find pairs that show the same.

    Args:
        thumbnails: uint8 [N, SIZE, SIZE]; may be mapped from a file.
        rows: the images to compare, in order (of byte-identical ones, one); all by default.
        progress: show progress on a terminal, log lines otherwise.
        seed: of what is drawn to learn the metric and the cells.

    Returns:
        One row a pair, best first: first, second (rows), score (correlation of edges and texture, 0 to 1), coarse
        (correlation of grey levels), overlap (share of the image compared) and transformation (in words). Blank
        images (no structure) are never in a pair.
    """
    # The threads are ours: BLAS or OpenMP with threads of their own inside each only makes them wait for each other.
    with threadpool_limits(1):
        pairs = find_candidates(thumbnails, rows, progress=progress, seed=seed)
        pairs = _compare_rings(thumbnails, pairs, progress)
        return _register(thumbnails, pairs, progress)


def _compare_rings(thumbnails: np.ndarray, pairs: pd.DataFrame, progress: bool) -> pd.DataFrame:
    """Second stage, first half: correlation of the rings over all rotations; keeps what agrees."""
    offsets = np.stack([d.ring_offsets(radius) for radius in radii()])
    base = np.array([d.RADIUS] * len(d.SCALES) + [d.CENTRE_RADIUS] * 2)
    base_offsets = np.stack([d.ring_offsets(radius) for radius in base])
    columns = {name: pairs[name].to_numpy() for name in ("first", "second", "kind", "first_point", "second_point")}

    def compare(start: int) -> tuple[np.ndarray, ...]:
        part = {name: values[start : start + _RINGS] for name, values in columns.items()}
        rows, place = np.unique(np.concatenate([part["first"], part["second"]]), return_inverse=True)
        pictures = d.find_blurred(thumbnails[rows])  # again, for those of all images are larger than all else
        count = len(part["first"])
        first = d.sample_at(pictures, place[:count], part["first_point"], offsets[part["kind"]])
        second = d.sample_at(pictures, place[count:], part["second_point"], base_offsets[part["kind"]])
        return correlate_rings(first, second)

    starts = range(0, len(pairs), _RINGS)
    results = list(track(map_threads(compare, starts), len(starts), "comparing candidates (batches)", progress))
    if not results:
        return pairs.assign(scale=0.0, angle=0.0, mirrored=False)
    rings, angle, mirrored = (np.concatenate(parts) for parts in zip(*results))
    kept = np.flatnonzero(rings >= RINGS_AGREE)
    kind = columns["kind"][kept]
    pairs = pairs.iloc[kept].reset_index(drop=True)
    return pairs.assign(scale=radii()[kind] / base[kind], angle=angle[kept], mirrored=mirrored[kept])


def _register(thumbnails: np.ndarray, pairs: pd.DataFrame, progress: bool) -> pd.DataFrame:
    """Second stage, second half: register what is left, and keep what agrees in its edges."""
    columns = ["first", "second", "score", "coarse", "overlap", "transformation"]
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
