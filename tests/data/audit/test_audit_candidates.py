"""Candidates of the search for copies: in blocks as at once, against brute force, and in bounded memory."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data.audit import candidates
from leukemia_tf.data.audit.candidates import LikeliestPairs, among_first, find_candidates
from leukemia_tf.data.audit.copies import find_copies
from leukemia_tf.data.audit.index import _smallest
from leukemia_tf.data.audit.reading import make_thumbnail
from tests.data.audit.audit_pictures import draw


@pytest.fixture(scope="module")
def pictures():
    images = [draw(number) for number in range(100)]
    turned = [np.ascontiguousarray(image[::-1]) for image in images[:9]]
    return np.stack([make_thumbnail(image) for image in [*images, *turned]])


def test_blocks_of_any_size_give_the_same_candidates(pictures, monkeypatch):
    at_once = by_pair(find_candidates(pictures, progress=False))
    monkeypatch.setattr(candidates, "_CHUNK", 25)
    monkeypatch.setattr(candidates, "_WAITING", 0)
    in_blocks = by_pair(find_candidates(pictures, progress=False, block=1))
    # Products of matrices of another height are rounded in another way, which may turn two of nearly one distance.
    both = at_once.index.intersection(in_blocks.index)
    assert len(both) > 0.99 * max(len(at_once), len(in_blocks)) > 300
    np.testing.assert_allclose(at_once.loc[both, "distance"], in_blocks.loc[both, "distance"], rtol=1e-3, atol=1e-3)


def by_pair(found):
    pairs = [np.minimum(found["first"], found["second"]), np.maximum(found["first"], found["second"])]
    return found.set_index(pd.MultiIndex.from_arrays(pairs))


def test_only_the_images_that_are_asked_for_are_compared(pictures):
    rows = np.setdiff1d(np.arange(len(pictures)), [1, 104])
    found = find_copies(pictures, rows, progress=False)
    assert {tuple(sorted(pair)) for pair in zip(found["first"], found["second"])} == {
        (number, 100 + number) for number in range(9) if number not in (1, 4)
    }


def finds(count, size):
    random = np.random.default_rng(5)
    first, second = random.integers(0, count, (2, size))
    keep = first != second
    columns = {"first": first, "second": second, "kind": random.integers(0, 7, size)}
    columns |= {"first_point": random.integers(0, 4, size), "second_point": random.integers(0, 5000, size)}
    columns["distance"] = random.integers(0, 28, size).astype(np.float32)  # many are equal
    return {name: values[keep] for name, values in columns.items()}


def test_each_point_votes_once():
    columns = finds(12, 800)
    found = candidates._vote(columns)
    best = {}
    for row in range(len(columns["first"])):
        pair = int(columns["first"][row]), int(columns["second"][row])
        points = best.setdefault(pair, {})
        point, distance = columns["first_point"][row], columns["distance"][row]
        points[point] = min(points.get(point, np.inf), distance)
    assert len(found["first"]) == len(best) > 100
    for row, pair in enumerate(zip(found["first"].tolist(), found["second"].tolist())):
        assert found["distance"][row] == min(best[pair].values())
        assert found["votes"][row] == sum(candidates.RADIUS - value for value in best[pair].values())
        same = [columns[name] == found[name][row] for name in columns]
        assert np.logical_and.reduce(same).any()  # one of the finds, as it was
    assert len(candidates._vote(finds(12, 0))["votes"]) == 0


def brute_force(columns, most):
    """The way round of each pair that has most votes; then what is among the first of one of its images."""
    best, kept, seen = {}, {}, {}
    for row, (one, two) in enumerate(zip(columns["first"], columns["second"])):
        pair = (min(one, two), max(one, two))
        rank = (-columns["votes"][row], columns["distance"][row], one)
        best[pair] = min(best.get(pair, rank), rank)
    for pair in sorted(best, key=lambda pair: (best[pair][0], pair)):
        if any(seen.get(image, 0) < most for image in pair):
            kept[pair] = best[pair]
        for image in pair:
            seen[image] = seen.get(image, 0) + 1
    return kept


@pytest.mark.parametrize("waiting, portions", [(10**9, 1), (0, 50), (300, 7)])
def test_likeliest_pairs_are_those_of_brute_force(waiting, portions):
    columns = finds(40, 4000)
    columns["votes"] = np.random.default_rng(7).integers(0, 60, len(columns["first"])).astype(np.float32)
    likeliest = LikeliestPairs(40, most=3, waiting=waiting)
    for part in np.array_split(np.random.default_rng(6).permutation(len(columns["first"])), portions):
        likeliest.add({name: values[part] for name, values in columns.items()})
    found = likeliest.result()
    pairs = zip(np.minimum(found["first"], found["second"]), np.maximum(found["first"], found["second"]))
    ranks = zip(-found["votes"], found["distance"], found["first"])
    assert dict(zip(pairs, ranks)) == brute_force(columns, 3)
    assert len(likeliest._parts[0]["first"]) <= 40 * 3 or portions == 1


def test_among_first_counts_both_images():
    first, second = np.array([0, 0, 3, 0, 2]), np.array([1, 2, 1, 3, 3])
    assert among_first(first, second, 1).tolist() == [True, True, True, False, False]
    assert among_first(first, second, 2).tolist() == [True, True, True, True, True]
    assert among_first(first[:0], second[:0], 2).tolist() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), max_size=60), st.integers(1, 4))
def test_the_smallest_of_each_group_are_what_sorting_begins_with(pairs, count):
    pairs = sorted(pairs, key=lambda pair: pair[0])
    groups, values = np.array([one for one, _ in pairs], int), np.array([two for _, two in pairs], np.float32)
    order = np.lexsort((values, groups))
    rank = np.arange(len(pairs)) - np.searchsorted(groups, groups)
    np.testing.assert_array_equal(_smallest(values, groups, count), order[rank < count])
