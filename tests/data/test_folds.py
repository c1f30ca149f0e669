"""Folds: no subject on two sides, every image tested once, class shares, the same for the same seed."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data.folds import leave_one_source_out, make_folds, official_folds
from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.split import split_hash, split_table
from leukemia_tf.data.table import make_table
from leukemia_tf.errors import InputError, RunError


def cohort(sizes, **columns):
    """Return a table from {class: [images of each subject]}; subjects are called by class and number."""
    rows = [
        {"path": f"{label}/{label}{s}_{i}.png", "label": label, "subject": f"{label}{s}"}
        for label, subjects in sizes.items()
        for s, count in enumerate(subjects)
        for i in range(count)
    ]
    table = make_table(rows, "test")
    table["sha256"] = [hashlib.sha256(path.encode()).hexdigest() for path in table["path"]]
    return table.assign(**columns)


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 12), min_size=6, max_size=12), min_size=2, max_size=3),
    folds=st.integers(2, 4),
    seed=st.integers(0, 2**32 - 1),
    order=st.randoms(use_true_random=False),
)
def test_any_cohort(sizes, folds, seed, order):
    table = cohort({f"c{n}": counts for n, counts in enumerate(sizes)})
    made = make_folds(table, folds, seed=seed)
    assert len(made) == folds
    # Each image is tested exactly once, and no subject lies on two sides.
    tested = pd.concat(part[part["split"] == "test"] for part in made)
    assert sorted(tested["path"]) == sorted(table["path"])
    for part in made:
        assert (part.groupby("subject")["split"].nunique() == 1).all()
        assert (part.groupby("split")["label"].nunique() == len(sizes)).all() and part["split"].nunique() == 3
        # Whole subjects can miss the ideal share by the size of the largest; two of them here, as the engine is shown
        # a part of each.
        for label, group in part.groupby("label"):
            largest = group.groupby("subject").size().max()
            assert abs((group["split"] == "test").sum() - len(group) / folds) <= 2 * largest
    rows = list(range(len(table)))
    order.shuffle(rows)
    again = make_folds(table.iloc[rows], folds, seed=seed)
    assert [split_hash(part) for part in again] == [split_hash(part) for part in made]


@settings(max_examples=8, deadline=None)
@given(count=st.integers(20, 60), pairs=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=12))
def test_near_duplicates_stay_together(count, pairs):
    table = cohort({"a": [1] * count, "b": [1] * count})
    groups = {}
    for number, (one, two) in enumerate(pairs):
        for place in (one % count, two % count):
            groups.setdefault(table["path"].iat[place], f"g{number}")
    for known in (True, False):
        given_table = table if known else table.assign(subject="")
        for part in [*make_folds(given_table, 3, groups=groups), split_table(given_table, groups=groups)]:
            named = part["path"].map(groups)
            assert (part["split"][named.notna()].groupby(named[named.notna()]).nunique() == 1).all()


def test_cnmc_shares_and_linked_subjects(shared):
    table = cnmc(shared)
    linked = (["20", "21"], ["51", "75", "78"], ["H2", "H4", "H5", "H6"], ["H10", "h3"])
    made = make_folds(table, 5, repeats=2, seed=1)
    assert [(part.attrs["repeat"], part.attrs["fold"]) for part in made] == [
        (r, str(f)) for r in (0, 1) for f in range(5)
    ]
    for part in made:
        counts = part[part["split"] == "test"]["label"].value_counts() / table["label"].value_counts()
        np.testing.assert_allclose(counts, 0.2, atol=0.02)
        for group in linked:
            assert part[part["subject"].isin(group)]["split"].nunique() == 1
    # The second partition is another one.
    assert not {split_hash(part) for part in made[:5]} & {split_hash(part) for part in made[5:]}


def test_official_folds_of_cnmc(shared, caplog):
    table = cnmc(shared)
    made = official_folds(load_manifest("cnmc2019"), table)
    tested = [part[part["split"] == "test"]["label"].value_counts().to_dict() for part in made]
    assert tested == [{"ALL": 2397, "HEM": 1130}, {"ALL": 2418, "HEM": 1163}, {"ALL": 2457, "HEM": 1096}]
    assert all((part.groupby("subject")["split"].nunique() == 1).all() for part in made)
    assert "lie byte-identical in more than one split" in caplog.text


def cnmc(shared):
    manifest = load_manifest("cnmc2019")
    listed = pd.read_csv(shared / "data" / "cnmc2019_file_list.csv.gz")
    listed["label"] = listed["path"].str.extract(manifest.label_from)["label"].map(manifest.label_names)
    listed["subject"] = listed["path"].str.extract(manifest.subject_from)["subject"]
    return make_table(listed.dropna()[["path", "label", "subject", "sha256"]].to_dict("records"), "cnmc2019")


def test_official_folds_leave_out_what_lies_in_none():
    manifest = load_manifest("cnmc2019")
    names = [(f"fold_{f}/x/UID_{10 * f + s}_1_1_all.bmp", "ALL", str(10 * f + s)) for f in range(3) for s in range(2)]
    names += [
        (f"fold_{f}/x/UID_H{10 * f + s}_1_1_hem.bmp", "HEM", f"H{10 * f + s}") for f in range(3) for s in range(2)
    ]
    names += [("prelim/1.bmp", "ALL", "99")]
    table = make_table([dict(zip(("path", "label", "subject"), row)) for row in names], "cnmc2019")
    made = official_folds(manifest, table, val_fraction=0)
    assert [part.attrs["fold"] for part in made] == ["0", "1", "2"]
    for number, part in enumerate(made):
        assert "prelim/1.bmp" not in set(part["path"]) and len(part) == 12
        assert set(part["path"][part["split"] == "test"].str[:6]) == {f"fold_{number}"}
        assert set(part["split"]) == {"train", "test"}
    table["subject"] = table["subject"].replace("10", "0")
    with pytest.raises(RunError, match="subject `0` lies in train, test"):
        official_folds(manifest, table, val_fraction=0)
    with pytest.raises(InputError, match="received 'pbc' with 0"):
        official_folds(load_manifest("pbc"), table)


def test_by_image_is_stratified_exactly_and_needs_permission_where_subjects_are_known():
    table = cohort({"a": [1] * 40, "b": [1] * 20})
    for part in make_folds(table.assign(subject=""), 4, val_fraction=0.25):
        assert part.groupby(["label", "split"]).size().unstack().loc["a"].tolist() == [10, 22, 8]
        assert part.groupby(["label", "split"]).size().unstack().loc["b"].tolist() == [5, 11, 4]
        assert not part.attrs["leakage"]
    with pytest.raises(InputError, match="--allow-leakage"):
        make_folds(table, 4, level="image")
    assert all(part.attrs["leakage"] for part in make_folds(table, 4, level="image", allow_leakage=True))


def test_one_source_is_left_out():
    table = cohort({"a": [2] * 9, "b": [2] * 9})
    table["source"] = [f"s{number % 6 // 2}" for number in range(len(table))]
    made = leave_one_source_out(table)
    assert [part.attrs["fold"] for part in made] == ["s0", "s1", "s2"]
    for part in made:
        assert ((part["split"] == "test") == (part["source"] == part.attrs["fold"])).all()
        assert (part.groupby("subject")["split"].nunique() == 1).all()
        assert set(part["split"]) == {"train", "val", "test"}


def test_equal_ids_in_two_sources_are_two_people():
    table = cohort({"a": [2] * 4, "b": [2] * 4})
    table = pd.concat([table, table.assign(path="x/" + table["path"], source="other", sha256="")], ignore_index=True)
    made = leave_one_source_out(table, val_fraction=0)
    assert len(made) == 2 and set(made[0]["subject"]) == {
        f"{s}/{c}{n}" for s in ("test", "other") for c in "ab" for n in range(4)
    }
    # Within one data set the same id at two sites is one person.
    with pytest.raises(RunError, match="subject `a0` lies in train, test"):
        leave_one_source_out(table.rename(columns={"source": "site"}), "site", val_fraction=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "one"}, "have two values or more; received 'one'"),
        ({"source": [""] + ["x"] * 23}, "must be filled in"),
        ({"source": ["one"] * 12 + ["two"] * 12}, "class `a` must occur in two values of `source` or more"),
    ],
)
def test_sources_at_fault(change, says):
    with pytest.raises(InputError, match=says):
        leave_one_source_out(cohort({"a": [3] * 4, "b": [3] * 4}, **change))
    with pytest.raises(InputError, match="`column` must be one of path, .*; received 'hospital'"):
        leave_one_source_out(cohort({"a": [3] * 4, "b": [3] * 4}), "hospital")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 1}, "`folds` must be a whole number of 2 or more; received 1"),
        ({"repeats": 0}, "`repeats`"),
        ({"seed": -1}, "`seed`"),
        ({"seed": True}, "`seed`"),
        ({"val_fraction": 1}, "`val_fraction`"),
        ({"level": "official"}, "`level` must be one of auto, subject, image"),
        ({"folds": 6}, "class `a` needs 6 subjects .* for 6 folds .*; received 4"),
    ],
)
def test_arguments_at_fault(options, says):
    with pytest.raises(InputError, match=says):
        make_folds(cohort({"a": [3] * 4, "b": [3] * 8}), **options)


def test_tables_at_fault():
    table = cohort({"a": [3] * 6, "b": [3] * 6})
    with pytest.raises(InputError, match="`a/a0_0.png` twice"):
        make_folds(pd.concat([table, table]))
    # Three people with two classes each: whoever is alone in a fold lacks the third class there.
    table = cohort({"a": [1] * 4, "b": [1] * 4, "c": [1] * 4})
    table["subject"] = [f"p{n}" for n in (0, 0, 1, 1, 0, 0, 2, 2, 1, 1, 2, 2)]
    with pytest.raises(InputError, match="no way was found to give each of 2 folds every class"):
        make_folds(table, 2, val_fraction=0)
