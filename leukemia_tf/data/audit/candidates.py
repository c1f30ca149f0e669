"""Which pairs of images deserve a closer look: descriptors that flips, turns and the like leave alone, in an index.

Images are described and looked up some thousands at a time. What stays in memory of all of them is one descriptor for
each point, which the index needs, and the nearest pairs of each image.
"""

from __future__ import annotations

from typing import Iterable, Iterator

import cv2
import numpy as np
import pandas as pd

from leukemia_tf.data.audit import descriptors as d
from leukemia_tf.data.audit.index import CellIndex
from leukemia_tf.data.progress import track
from leukemia_tf.data.threads import map_threads

# Squared distance after `fit_metric`, at which copies are still found; measured by experiments/benchmarks/audit.py.
RADIUS = 28.0
# Kinds of descriptors: rings around points at each of d.SCALES, then around the centre, and around the centre of the
# picture made brighter until it clips, as it looks to a copy that was overexposed.
CENTRE = len(d.SCALES)
OVEREXPOSED = CENTRE + 1
KINDS = CENTRE + 2

_EXPOSURE = 1.3
_CHUNK = 256
_BLOCK = 64 * _CHUNK
_TRAINING = 400
# Pairs of an image that are compared: those that most of its points speak for. Among many images some are nearer to
# one, at one point, than its copy is; at several points they are not. Of the copies that
# experiments/benchmarks/audit.py plants among 100,000 images, 92 in a hundred are among the five pairs of an image
# with the nearest descriptors, and 99 among the five with most votes.
MOST = 7
# Those that the centre speaks for, which alone knows overexposed copies, count apart, for it has but one voice.
MOST_CENTRE = 2
# Pairs that wait to be sorted, beside those that were kept.
_WAITING = 4_000_000
_COLUMNS = {
    "first": np.int32, "second": np.int32, "kind": np.int8, "first_point": np.int16, "second_point": np.int16,
    "distance": np.float32, "votes": np.float32,
}  # fmt: skip

Rows = dict[str, np.ndarray]


def find_candidates(
    thumbnails: np.ndarray, rows: np.ndarray | None = None, *, progress: bool = True, seed: int = 0, block: int = _BLOCK
) -> pd.DataFrame:
    """Pairs whose descriptors are near.

    Args:
        thumbnails: uint8 [N, SIZE, SIZE].
        rows: the images to compare; all by default.
        progress: show progress on a terminal, log lines otherwise.
        seed: of what is drawn to learn the metric and the cells.
        block: images that are looked up at a time. It bounds the memory and changes nothing but rounding.

    Returns:
        first, second (rows of `thumbnails`), kind, first_point, second_point (in padded pictures), distance: of each
        pair the nearest find; votes: how much nearer than RADIUS the points of the first are, summed. Sorted by first.
    """
    rows = np.arange(len(thumbnails)) if rows is None else rows
    if len(rows) < 2:
        return pd.DataFrame({name: np.empty(0, kind) for name, kind in _COLUMNS.items()})
    metrics = _fit(thumbnails, rows, seed)
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    described = map_threads(lambda chunk: _describe(thumbnails, chunk, metrics, (0, CENTRE)), chunks)
    base = _join(track(described, len(chunks), "describing images (batches)", progress))

    def blocks() -> Iterator[Rows]:
        others = [kind for kind in range(KINDS) if kind not in (0, CENTRE)]
        per_block = max(1, block // _CHUNK)
        for start in track(range(0, len(chunks), per_block), -(-len(chunks) // per_block), "looking up", progress):
            part = chunks[start : start + per_block]
            low, high = np.searchsorted(base["image"], [part[0][0], part[-1][-1] + 1])
            known = {name: values[low:high] for name, values in base.items()}
            yield _join([known, *map_threads(lambda chunk: _describe(thumbnails, chunk, metrics, others), part)])

    return look_up(base, blocks(), len(thumbnails), seed=seed)


def look_up(base: Rows, blocks: Iterable[Rows], count: int, *, seed: int = 0) -> pd.DataFrame:
    """Look descriptors up among those of all images, and keep the likeliest pairs of each image.

    Args:
        base: what is looked up in: vector float32 [n, dimensions], and of each its image, point and kind: int [n];
            kinds 0 and CENTRE.
        blocks: what is looked up, in the same form: all of an image in one block.
        count: images are numbered below this.
        seed: of the cells.

    Returns:
        As of `find_candidates`.
    """
    indices = {}
    for kind in (0, CENTRE):
        chosen = np.flatnonzero(base["kind"] == kind)
        indices[kind] = CellIndex(base["vector"][chosen], base["image"][chosen], seed=seed), chosen
    likeliest = {0: LikeliestPairs(count), CENTRE: LikeliestPairs(count, most=MOST_CENTRE)}
    for rows in blocks:
        finds: dict[int, list[Rows]] = {0: [], CENTRE: []}
        for kind in np.unique(rows["kind"]):
            base_kind = CENTRE if kind >= CENTRE else 0
            index, chosen = indices[base_kind]
            asked = np.flatnonzero(rows["kind"] == kind)
            query, hit, distance = index.search(rows["vector"][asked], rows["image"][asked], radius=RADIUS)
            query, hit = asked[query], chosen[hit]
            finds[base_kind].append(
                {
                    "first": rows["image"][query], "second": base["image"][hit], "kind": np.full(len(query), kind),
                    "first_point": rows["point"][query], "second_point": base["point"][hit], "distance": distance,
                }
            )  # fmt: skip
        for base_kind, parts in finds.items():
            if parts:
                likeliest[base_kind].add(_vote(_join(parts)))
    found = _join([likeliest[0].result(), likeliest[CENTRE].result()])
    pair = _pair(found, count)
    order = np.lexsort((found["distance"], pair))
    order = order[np.diff(pair[order], prepend=-1) != 0]
    order = order[np.argsort(found["first"][order], kind="stable")]
    return pd.DataFrame({name: values[order] for name, values in found.items()})


def _pair(found: Rows, count: int) -> np.ndarray:
    """A number for each pair of images, the same both ways round."""
    first, second = found["first"].astype(np.int64), found["second"].astype(np.int64)
    return np.minimum(first, second) * count + np.maximum(first, second)


def _vote(finds: Rows) -> Rows:
    """The nearest find of each first and second, and the votes of the first one's points, each of which has one."""
    order = np.lexsort((finds["kind"], finds["distance"], finds["first_point"], finds["second"], finds["first"]))
    finds = {name: values[order] for name, values in finds.items()}
    pair = finds["first"].astype(np.int64) << 32 | finds["second"]
    finds["begins"] = np.diff(pair, prepend=-1) != 0
    # The nearest of each point stands before its others.
    best = finds["begins"] | (np.diff(finds["first_point"], prepend=-1) != 0)
    finds = {name: values[best] for name, values in finds.items()}
    begins = np.flatnonzero(finds.pop("begins"))
    if not len(begins):
        return {**finds, "votes": np.empty(0, np.float32)}
    votes = np.add.reduceat(RADIUS - finds["distance"], begins)
    number = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(finds["distance"])))
    order = np.lexsort((finds["distance"], number))
    return {**{name: values[order[begins]] for name, values in finds.items()}, "votes": votes}


class LikeliestPairs:
    """Each pair once, that way round which has most votes, of those pairs that have most votes of either image.

    Pairs can be added in any portions: a pair that is not among the first of its images in some of the pairs is not
    among their first in all.

    Args:
        count: images are numbered below this.
        most: pairs that count for an image.
        waiting: finds after which they are sorted.
    """

    def __init__(self, count: int, *, most: int = MOST, waiting: int = _WAITING):
        self._count, self._most, self._room = count, most, waiting
        self._parts: list[Rows] = [{name: np.empty(0, kind) for name, kind in _COLUMNS.items()}]
        self._size, self._limit = 0, waiting

    def add(self, columns: Rows) -> None:
        """Add finds: the columns of `find_candidates`."""
        self._parts.append({name: columns[name].astype(kind) for name, kind in _COLUMNS.items()})
        self._size += len(columns["first"])
        if self._size > self._limit:
            kept = self.result()
            self._parts, self._size = [kept], len(kept["first"])
            self._limit = 2 * self._size + self._room

    def result(self) -> Rows:
        """What is kept of all that was added."""
        found = _join(self._parts)
        pair = _pair(found, self._count)
        order = np.lexsort((found["first"], found["distance"], -found["votes"], pair))
        order = order[np.diff(pair[order], prepend=-1) != 0]
        # Equal votes in the order of pairs, so that portions make no difference.
        order = order[np.argsort(-found["votes"][order], kind="stable")]
        order = order[among_first(found["first"][order], found["second"][order], self._most)]
        return {name: values[order] for name, values in found.items()}


def among_first(first: np.ndarray, second: np.ndarray, most: int) -> np.ndarray:
    """Which of some pairs, best first, are among the `most` best of the one image or the other: bool [n]."""
    images = np.stack([first, second], axis=1).ravel()
    order = np.argsort(images, kind="stable")
    begins = np.diff(images[order], prepend=-1) != 0
    place = np.arange(len(images))
    rank = np.empty(len(images), np.int64)
    rank[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return (rank.reshape(-1, 2) < most).any(axis=1)


def radii() -> np.ndarray:
    """Radius of the rings of each kind of descriptor."""
    return np.array([d.RADIUS * scale for scale in d.SCALES] + [d.CENTRE_RADIUS] * 2)


def _join(parts: Iterable[Rows]) -> Rows:
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _fit(thumbnails: np.ndarray, rows: np.ndarray, seed: int) -> dict[bool, d.Metric]:
    random = np.random.default_rng(seed)
    chosen = thumbnails[rows[np.sort(random.choice(len(rows), min(len(rows), _TRAINING), replace=False))]]
    rounds = 5 if len(chosen) > 100 else 20
    return {
        False: d.fit_metric(chosen, radius=d.RADIUS, rounds=rounds, seed=seed),
        True: d.fit_metric(chosen, radius=d.CENTRE_RADIUS, rounds=rounds, seed=seed),
    }


def _describe(thumbnails: np.ndarray, rows: np.ndarray, metrics: dict[bool, d.Metric], kinds: Iterable[int]) -> Rows:
    found = d.find_points(thumbnails[rows])
    parts = []
    sizes = radii()
    for kind in kinds:
        pictures = found.pictures
        if kind >= CENTRE:
            points = d.centre_points(len(pictures))
        else:
            points = found.coarse if kind < d.FINE_FROM else found.fine
        if kind == OVEREXPOSED:
            pictures = cv2.convertScaleAbs(pictures, alpha=_EXPOSURE)
        parts.append(
            {
                "vector": metrics[kind >= CENTRE](d.describe(pictures, points, d.ring_offsets(sizes[kind]))),
                "image": np.repeat(rows.astype(np.int32), points.shape[1]),
                "point": points.ravel().astype(np.int16),
                "kind": np.full(points.size, kind, np.int8),
            }
        )
    return _join(parts)
