"""Splits: no subject and no image on two sides, every class in each, the same for the same seed."""

import hashlib
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.split import assert_disjoint, split_hash, split_table
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


def images(count_a, count_b):
    return cohort({"a": [count_a], "b": [count_b]}, subject="")


def subjects_of(table):
    return {split: set(group) for split, group in table.groupby("split")["subject"]}


subject_sizes = st.lists(st.integers(1, 12), min_size=3, max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(subject_sizes, min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    order=st.randoms(use_true_random=False),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.15, 0.15), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33)]),
)
def test_any_cohort(sizes, seed, order, fractions):
    table = cohort({f"c{n}": counts for n, counts in enumerate(sizes)})
    split = split_table(table, seed=seed, fractions=fractions)
    assert (split.groupby("subject")["split"].nunique() == 1).all()
    assert (split.groupby("split")["label"].nunique() == len(sizes)).all() and split["split"].nunique() == 3
    rows = list(range(len(table)))
    order.shuffle(rows)
    shuffled = table.iloc[rows]
    again = split_table(shuffled, seed=seed, fractions=fractions)
    assert list(again["path"]) == list(shuffled["path"])
    assert dict(zip(again["path"], again["split"])) == dict(zip(split["path"], split["split"]))
    assert split_hash(again) == split_hash(split)


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(12, 60),
    copies=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=15),
    people=st.integers(4, 20),
    seed=st.integers(0, 1000),
)
def test_patients_with_cells_of_several_classes_and_copied_images(count, copies, people, seed):
    random = np.random.default_rng(seed)
    table = cohort({"a": [count], "b": [count]})
    table["subject"] = [f"p{n}" for n in random.integers(0, people, len(table))]
    hashes = list(table["sha256"])
    for one, two in copies:
        hashes[one % count] = hashes[two % count]
    table["sha256"] = hashes
    try:
        split = split_table(table, seed=seed)
    except InputError as error:
        assert "subjects" in str(error)  # everybody is linked to everybody by the copies
        return
    assert (split.groupby("subject")["split"].nunique() == 1).all()
    assert (split.groupby("sha256")["split"].nunique() == 1).all()
    assert (split.groupby("split")["label"].nunique() == 2).all() and split["split"].nunique() == 3


def test_by_subject_fractions_are_roughly_met():
    random = np.random.default_rng(0)
    table = cohort({"HEM": random.integers(50, 200, 26), "ALL": random.integers(50, 250, 47)})
    for seed in range(3):
        split = split_table(table, seed=seed)
        assert split.attrs["split_level"] == "subject"
        shares = split.groupby("label")["split"].value_counts(normalize=True).unstack()
        np.testing.assert_allclose(shares[["train", "val", "test"]], [[0.6, 0.2, 0.2]] * 2, atol=0.05)


def test_seeds_give_different_splits():
    table = cohort({"a": range(5, 20), "b": range(4, 16)})
    assert len({split_hash(split_table(table, seed=seed)) for seed in range(10)}) > 3


def test_subjects_that_share_an_image_stay_together():
    table = cohort({"a": [4] * 6, "b": [4] * 6})
    hashes = table["sha256"].tolist()
    # a0, a1 and a2 form a chain: each shares an image with the next.
    hashes[4], hashes[8] = hashes[0], hashes[5]
    for seed in range(8):
        split = split_table(table.assign(sha256=hashes), seed=seed)
        assert split[split["subject"].isin(["a0", "a1", "a2"])]["split"].nunique() == 1


def test_cnmc_as_published(shared):
    # The published list has hashes, so the split of the real data is known without its pixels.
    listed = pd.read_csv(shared / "data" / "cnmc2019_file_list.csv.gz")
    manifest = load_manifest("cnmc2019")
    listed["label"] = listed["path"].str.extract(manifest.label_from)["label"].map(manifest.label_names)
    listed["subject"] = listed["path"].str.extract(manifest.subject_from)["subject"]
    listed = listed.dropna()
    table = make_table(listed[["path", "label", "subject", "sha256"]].to_dict("records"), "cnmc2019")
    split = split_table(table, seed=0)
    counts = split.groupby(["label", "split"]).size().unstack()
    shares = counts.div(counts.sum(axis=1), axis=0)[["train", "val", "test"]]
    np.testing.assert_allclose(shares, [[0.6, 0.2, 0.2]] * 2, atol=0.06)
    # These share byte-identical images, so that they cannot be told apart as people.
    for linked in (["20", "21"], ["51", "75", "78"], ["H2", "H4", "H5", "H6"], ["H10", "h3"]):
        assert split[split["subject"].isin(linked)]["split"].nunique() == 1


def test_three_subjects_of_a_class_are_just_enough():
    for seed in range(5):
        found = subjects_of(split_table(cohort({"a": [1, 30, 2], "b": [5, 5, 5]}), seed=seed))
        assert sorted(len(subjects) for subjects in found.values()) == [2, 2, 2]
    with pytest.raises(InputError, match=r"class `a` needs at least 3 subjects .*; received 2"):
        split_table(cohort({"a": [10, 30], "b": [5, 5, 5]}))


def test_by_image_is_stratified_exactly(caplog):
    table = images(100, 50)
    split = split_table(table, seed=3)
    counts = split.groupby(["label", "split"]).size().unstack()
    assert counts.loc["a"].to_dict() == {"train": 60, "val": 20, "test": 20}
    assert counts.loc["b"].to_dict() == {"train": 30, "val": 10, "test": 10}
    assert split.attrs["split_level"] == "image"
    assert "no subject is known" in caplog.text


def test_by_image_keeps_copies_together_and_small_classes_everywhere():
    table = images(40, 3)
    table["sha256"] = ["x"] * 15 + list(table["sha256"][15:])
    for seed in range(5):
        split = split_table(table, seed=seed)
        assert split["split"][:15].nunique() == 1
        assert set(split["split"][split["label"] == "b"]) == {"train", "val", "test"}
    with pytest.raises(InputError, match="class `b` needs at least 3 different images"):
        split_table(images(40, 2))


def test_forced_by_image_is_loud_and_can_be_told_apart(caplog):
    table = cohort({"a": [10] * 4, "b": [10] * 4})
    with pytest.raises(InputError, match='--allow-leakage .* received "image" with 8 known subjects'):
        split_table(table, level="image")
    split = split_table(table, level="image", allow_leakage=True)
    assert split.attrs["leakage"] and not split_table(table).attrs["leakage"]
    assert "ALTHOUGH SUBJECTS ARE KNOWN" in caplog.text
    assert split.groupby("subject")["split"].nunique().max() > 1
    assert_disjoint(split)  # says so in the log, because the split was made by image
    split.attrs.clear()
    with pytest.raises(RunError, match="subject `a0` lies in train, val, test"):
        assert_disjoint(split)
    assert_disjoint(split, level="image")


def test_official_splits_are_kept():
    table = cohort({"a": [3] * 4, "b": [3] * 4})
    table["split"] = ["train"] * 6 + ["val"] * 3 + ["test"] * 3 + ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    split = split_table(table, seed=5)
    pd.testing.assert_frame_equal(split, table)
    assert split.attrs["split_level"] == "official"


@pytest.mark.parametrize("missing", ["val", "test"])
@pytest.mark.parametrize("known", [True, False])
def test_a_missing_part_is_cut_from_train(missing, known, caplog):
    table = cohort({"a": [3] * 10, "b": [3] * 10})
    given = "test" if missing == "val" else "val"
    table["split"] = (["train"] * 24 + [given] * 6) * 2
    if not known:
        table["subject"] = ""
    split = split_table(table, fractions=(0.6, 0.2, 0.2))
    assert (split["split"][table["split"] == given] == given).all()
    # 20 of 80 parts, of 24 images in each class.
    assert split.groupby(["label", "split"]).size().unstack()[missing].tolist() == [6, 6]
    assert f"the official split has no {missing}" in caplog.text


def test_train_alone_is_cut_into_three():
    table = images(20, 20).assign(split="train")
    assert split_table(table)["split"].value_counts().to_dict() == {"train": 24, "val": 8, "test": 8}


def test_faults_of_official_splits(caplog):
    table = cohort({"a": [3] * 3, "b": [3] * 3})
    table["split"] = ["train", "val", "test"] * 6
    with pytest.raises(RunError) as error:
        split_table(table)
    assert len(str(error.value).splitlines()) == 7
    table["subject"] = ""
    table["sha256"] = ["x", "x"] + list(table["sha256"][2:])
    split = split_table(table)
    assert "1 images lie byte-identical in more than one split" in caplog.text
    split.attrs.clear()
    with pytest.raises(RunError, match="byte-identical in more than one split; first `a/a0_0.png`, `a/a0_1.png`"):
        assert_disjoint(split)
    table.loc[0, "split"] = ""
    with pytest.raises(InputError, match="received 17 of 18"):
        split_table(table)
    with pytest.raises(InputError, match="must name train"):
        split_table(table.assign(split="test"))


def test_level_subject_replaces_an_official_split(caplog):
    table = cohort({"a": [3] * 5, "b": [3] * 5}, split="train")
    assert split_table(table, level="subject").attrs["split_level"] == "subject"
    assert "is not used" in caplog.text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": "cell"}, "`level` must be one of auto, subject, image, official; received 'cell'"),
        ({"seed": -1}, "`seed`"),
        ({"seed": 1.5}, "`seed`"),
        ({"fractions": (0.8, 0.2)}, "`fractions`"),
        ({"fractions": (0.8, 0.2, 0.0)}, "`fractions`"),
        ({"fractions": (0.5, 0.2, 0.2)}, "`fractions`"),
    ],
)
def test_arguments_at_fault(options, says):
    with pytest.raises(InputError, match=says):
        split_table(images(9, 9), **options)


def test_tables_at_fault():
    table = images(9, 9)
    with pytest.raises(InputError, match="`a/a0_0.png` twice"):
        split_table(pd.concat([table, table]))
    table.loc[0, "subject"] = "x"
    with pytest.raises(InputError, match="received 1 of 18"):
        split_table(table)
    with pytest.raises(InputError, match="received 0 of 18"):
        split_table(images(9, 9), level="subject")


def test_one_line_says_what_was_done(caplog):
    with caplog.at_level(logging.INFO):
        split_table(cohort({"a": [3] * 5, "b": [3] * 5}), seed=4)
    assert caplog.messages == [
        "split by subject (seed 4): train 18 images of 6 subjects, val 6 images of 2 subjects, "
        "test 6 images of 2 subjects"
    ]


def test_hash_by_hand():
    table = images(1, 1).assign(split=["val", "train"])
    expected = hashlib.sha256(b"a/a0_0.png\tval\nb/b0_0.png\ttrain\n").hexdigest()
    assert split_hash(table) == split_hash(table.iloc[::-1]) == expected
    assert split_hash(table.assign(split="train")) != expected
