"""Groups of copies and what is said of them, counted by hand."""

import numpy as np
import pandas as pd

from leukemia_tf.data.audit.faults import table_findings
from leukemia_tf.data.audit.groups import exact_pairs, group_findings, near_pairs, number_groups
from leukemia_tf.data.audit.result import _components


def table(rows):
    return pd.DataFrame(rows, columns=["path", "label", "subject", "split"])


def pairs(rows):
    return pd.DataFrame(rows, columns=["first", "second", "kind", "score", "overlap", "transformation"])


def kinds(findings):
    return sorted((finding["kind"], finding["severity"]) for finding in findings)


def test_exact_pairs_join_later_copies_with_the_first():
    found = exact_pairs(pd.Series(["x", "", "y", "x", "", "x", "y"]))
    assert sorted(zip(found["first"], found["second"])) == [(0, 3), (0, 5), (2, 6)]
    assert set(found["kind"]) == {"exact"}


def test_groups_are_connected_components():
    numbers = number_groups(8, pairs([(1, 2, "exact", 1, 1, ""), (4, 2, "near", 1, 1, ""), (7, 0, "near", 1, 1, "")]))
    assert list(numbers) == [1, 2, 2, 0, 2, 0, 0, 1]
    assert list(number_groups(3, pairs([]))) == [0, 0, 0]


def test_a_small_shared_part_is_an_overlap():
    found = pd.DataFrame(
        {
            "first": [0, 1, 2], "second": [3, 4, 5], "score": 0.98, "overlap": [0.25, 0.3, 0.55],
            "transformation": ["shifted by 40 %", "rotated by 5 degrees", "shifted by 4 %"],
        }
    )  # fmt: skip
    assert list(near_pairs(found)["kind"]) == ["overlap", "near", "near"]


def test_copies_in_one_split_warn_and_across_splits_leak():
    rows = [("a", "x", "", "train"), ("b", "x", "", "train"), ("c", "x", "", "test"), ("d", "x", "", "")]
    within = pairs([(0, 1, "exact", 1.0, 1.0, "identical bytes")])
    found = group_findings(table(rows), within, number_groups(4, within))
    assert kinds(found) == [("exact copies", "warning")]
    across = pairs([(0, 1, "exact", 1.0, 1.0, "identical bytes"), (1, 2, "near", 0.97, 1.0, "flipped")])
    found = group_findings(table(rows), across, number_groups(4, across))
    assert kinds(found) == [("near copies across splits", "leak")]
    assert (found[0]["path"], found[0]["other"], found[0]["score"]) == ("b", "c", 0.97)
    assert found[0]["detail"] == "3 images: 2 in train, 1 in test; flipped"
    # Without a split on one side nobody can tell.
    unknown = pairs([(2, 3, "exact", 1.0, 1.0, "identical bytes")])
    assert kinds(group_findings(table(rows), unknown, number_groups(4, unknown))) == [("exact copies", "warning")]


def test_conflicts_and_shared_subjects():
    rows = [("a", "x", "1", ""), ("b", "y", "2", ""), ("c", "x", "1", "")]
    both = pairs([(0, 1, "exact", 1.0, 1.0, "identical bytes"), (0, 2, "near", 0.99, 1.0, "flipped")])
    found = group_findings(table(rows), both, number_groups(3, both))
    assert kinds(found) == [
        ("copies under several subjects", "warning"), ("label conflict", "error"), ("near copies", "warning"),
    ]  # fmt: skip
    conflict = next(finding for finding in found if finding["kind"] == "label conflict")
    assert {conflict["path"], conflict["other"]} == {"a", "b"} and "2 x, 1 y" in conflict["detail"]


def test_subjects_and_balance():
    rows = [(f"{k}", "x" if k % 5 else "y", str(k % 7), "test" if k % 2 else "train") for k in range(20)]
    rows += [("alone", "x", "alone", "train")]
    found = table_findings(table(rows))
    assert sum(finding["kind"] == "subject across splits" for finding in found) == 7
    assert all(finding["severity"] == "leak" for finding in found if finding["kind"] == "subject across splits")
    balance = next(finding for finding in found if finding["kind"] == "class imbalance")
    assert balance["score"] == 17 / 4 and balance["severity"] == "warning" and "x 17, y 4" in balance["detail"]
    lacking = table_findings(table([("a", "x", "", "train"), ("b", "y", "", "train"), ("c", "x", "", "test")]))
    assert any("test has no y" in finding["detail"] for finding in lacking)
    assert not np.isnan(balance["score"])


def test_components_are_those_of_a_search():
    random = np.random.default_rng(1)
    pairs = pd.DataFrame(random.choice([f"{k}.png" for k in range(60)], (35, 2)), columns=["path", "other"])
    neighbours = {}
    for one, two in pairs.itertuples(index=False):
        neighbours.setdefault(one, set()).add(two)
        neighbours.setdefault(two, set()).add(one)
    expected = set()
    for start in neighbours:
        reached, left = set(), [start]
        while left:
            path = left.pop()
            if path not in reached:
                reached.add(path)
                left += neighbours[path]
        expected.add(frozenset(reached))
    found = _components(pairs)
    assert {frozenset(paths) for paths in found} == expected and len(found) == len(expected) > 5
    assert _components(pairs[:0]) == []
