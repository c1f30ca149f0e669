"""Nearest neighbours among many descriptors without comparing all with all: an inverted file over k-means cells."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from leukemia_tf.data.threads import map_threads

# So many rows of distances stay in a processor's cache.
_BLOCK = 1 << 10
_QUERIES = 512
_TRAINING = 20_000
_CELLS = 4096


class CellIndex:
    """Vectors sorted into cells; a query is compared with the cells nearest to it only.

    With about sqrt(n) cells the work of n queries grows as n * sqrt(n).

    Args:
        vectors: float32 [n, d].
        owners: int [n], the image each vector belongs to; a query never finds vectors of its own image.
        seed: of the clustering.
    """

    def __init__(self, vectors: np.ndarray, owners: np.ndarray, *, seed: int = 0):
        count = int(np.clip(np.sqrt(len(vectors)), 1, _CELLS))
        if len(vectors) < 512:
            self.centres = vectors.mean(0, keepdims=True)
        else:
            training = min(len(vectors), max(_TRAINING, 20 * count))
            sample = np.random.default_rng(seed).choice(len(vectors), training, replace=False)
            engine = MiniBatchKMeans(
                count, init="random", n_init=1, max_iter=5, batch_size=4096, random_state=seed, reassignment_ratio=0.0
            )
            self.centres = engine.fit(vectors[sample]).cluster_centers_.astype(np.float32)
        cells = self._nearest_cells(vectors, 1)[:, 0]
        order = np.argsort(cells, kind="stable")
        self.bounds = np.searchsorted(cells[order], np.arange(len(self.centres) + 1))
        self.rows = order
        self.vectors = np.ascontiguousarray(vectors[order])
        self.owners = owners[order]

    def search(
        self, queries: np.ndarray, owners: np.ndarray, *, radius: float, probes: int = 4, per_cell: int = 2
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find vectors of other images within a distance.

        Args:
            queries: float32 [m, d].
            owners: int [m].
            radius: largest squared distance.
            probes: how many cells a query looks into.
            per_cell: how many it takes at most from each (one more where none is of its own image).

        Returns:
            Row of the query, row of the vector (as given to the index) and squared distance of each find.
        """
        cells = self._nearest_cells(queries, min(probes, len(self.centres)))
        order = np.argsort(cells, axis=None, kind="stable")
        bounds = np.searchsorted(cells.ravel()[order], np.arange(len(self.centres) + 1))
        asking = order // cells.shape[1]
        tasks = [
            (cell, asking[start : min(start + _QUERIES, bounds[cell + 1])])
            for cell in range(len(self.centres))
            if self.bounds[cell + 1] > self.bounds[cell]
            for start in range(bounds[cell], bounds[cell + 1], _QUERIES)
        ]

        def look(task: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            cell, rows = task
            return self._look(cell, rows, queries[rows], owners[rows], radius, per_cell)

        found = list(map_threads(look, tasks))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        return tuple(np.concatenate(parts) for parts in zip(*found))

    def _look(self, cell, rows, queries, owners, radius, per_cell):
        members = slice(self.bounds[cell], self.bounds[cell + 1])
        vectors, their_owners, their_rows = self.vectors[members], self.owners[members], self.rows[members]
        # Half the squared distance, without the query's own square, which does not change the order.
        distance = (vectors * vectors).sum(1) / 2 - queries @ vectors.T
        square = (queries * queries).sum(1)
        # Few are near enough: one pass over all, and the rest of the work on those alone.
        query, hit = np.divmod(np.flatnonzero(distance <= ((radius - square) / 2)[:, None]), len(vectors))
        value = 2 * distance[query, hit] + square[query]
        # One more than asked for: the nearest of all is mostly the query's own image, which does not count.
        nearest = _smallest(value, query, per_cell + 1)
        query, hit, value = query[nearest], hit[nearest], value[nearest]
        kept = their_owners[hit] != owners[query]
        return rows[query[kept]], their_rows[hit[kept]], np.maximum(value[kept], 0)

    def _nearest_cells(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The `count` nearest cells of each vector: int32 [m, count]."""
        half = (self.centres**2).sum(1) / 2

        def nearest(start: int) -> np.ndarray:
            distance = half - vectors[start : start + _BLOCK] @ self.centres.T
            if count == 1:
                return distance.argmin(1)[:, None].astype(np.int32)
            result = np.empty((len(distance), count), np.int32)
            line = np.arange(len(distance))
            for number in range(count):
                result[:, number] = distance.argmin(1)
                distance[line, result[:, number]] = np.inf
            return result

        return np.concatenate([*map_threads(nearest, range(0, len(vectors), _BLOCK))])


def _smallest(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` smallest values of each group, by group and value; of equal ones the first.

    What sorting all of them would begin with, in a few passes: among very many vectors hundreds are near a query.

    Args:
        values: float [n], finite.
        groups: int [n], in order.
        count: 1 or more.
    """
    if not len(values):
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    sizes = np.diff(begins, append=len(values))
    left = values.copy()
    found = []
    for _ in range(count):
        least = np.flatnonzero(left == np.repeat(np.minimum.reduceat(left, begins), sizes))
        least = least[np.isfinite(left[least])]
        least = least[np.diff(groups[least], prepend=groups[0] - 1) != 0]
        found.append(least)
        left[least] = np.inf
    found = np.concatenate(found)
    return found[np.argsort(groups[found], kind="stable")]
