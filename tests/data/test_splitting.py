"""Split files written from a data set: hold-out, folds, repeats, one source left out; what is refused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.data.open import open_data
from leukemia_tf.data.splitting import split_data
from leukemia_tf.data.split_file import apply_split, read_split
from leukemia_tf.errors import InputError, RunError

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Twelve subjects of two hospitals, two images each; the last two images are equal."""
    folder = tmp_path_factory.mktemp("clinic")
    rows = []
    for number in range(24):
        random = np.random.default_rng(min(number, 22))
        Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
        subject = number // 2
        rows.append((f"{number:02}.png", "ab"[subject % 2], f"s{subject}", f"hospital {'AB'[subject // 6]}"))
    pd.DataFrame(rows, columns=["path", "label", "subject", "source"]).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_one_split(table, tmp_path):
    (written,) = split_data(table, tmp_path, seed=3, **QUIET)
    assert written.file == tmp_path / "split.csv" and read_split(written.file).attrs["split_hash"] == written.digest
    assert not written.leakage and "by subject: train" in written.line() and written.digest[:12] in written.line()
    again = apply_split(open_data(table)[1], written.file)
    assert again.groupby("subject")["split"].nunique().eq(1).all() and set(again["split"]) == {"train", "val", "test"}
    (same,) = split_data(table, tmp_path / "again", seed=3, **QUIET)
    assert same.file.read_bytes() == written.file.read_bytes()


def test_repeated_folds(table, tmp_path):
    written = split_data(table, tmp_path, folds=3, repeats=2, val_fraction=0.34, **QUIET)
    names = [f"partition{r}_fold{k}.csv" for r in range(2) for k in range(3)]
    assert [one.file.name for one in written] == names == sorted(file.name for file in tmp_path.iterdir())
    for repeat in range(2):
        tested = [apply_split(open_data(table)[1], one.file) for one in written[3 * repeat : 3 * repeat + 3]]
        tested = pd.concat(part[part["split"] == "test"] for part in tested)
        assert sorted(tested["path"]) == [f"{number:02}.png" for number in range(24)]
    assert "fold 2 of partition 1, by subject" in written[-1].line()


def test_one_source_left_out(table, tmp_path):
    written = split_data(table, tmp_path, leave_one_source_out=True, **QUIET)
    assert [one.table.attrs["fold"] for one in written] == ["hospital A", "hospital B"]
    for one in written:
        test = one.table[one.table["split"] == "test"]
        assert set(test["source"]) == {one.table.attrs["fold"]} and len(test) == 12
    # One id at two hospitals is one person, until the table says otherwise.
    frame = pd.read_csv(table)
    frame["path"] = [str(table.parent / path) for path in frame["path"]]
    frame.assign(subject=frame["subject"].replace("s7", "s1")).to_csv(tmp_path / "shared.csv", index=False)
    with pytest.raises(RunError, match="subject `s1` lies in"):
        split_data(tmp_path / "shared.csv", tmp_path, leave_one_source_out=True, **QUIET)


def test_groups_stay_together(table, tmp_path):
    (tmp_path / "groups.csv").write_text("path,group\n00.png,1\n04.png,1\n08.png,1\n12.png,1\n")
    (written,) = split_data(table, tmp_path, groups_file=tmp_path / "groups.csv", **QUIET)
    rows = written.table.set_index("path")["split"]
    assert rows[["00.png", "04.png", "08.png", "12.png"]].nunique() == 1
    (tmp_path / "groups.csv").write_text("path,group\nelsewhere.png,1\n")
    with pytest.raises(InputError, match="`groups_file` must name images by their path in the data set"):
        split_data(table, tmp_path, groups_file=tmp_path / "groups.csv", **QUIET)


def test_by_image_needs_permission_and_is_marked(table, tmp_path):
    with pytest.raises(InputError, match="--allow-leakage"):
        split_data(table, tmp_path, level="image", **QUIET)
    (written,) = split_data(table, tmp_path, level="image", allow_leakage=True, **QUIET)
    assert written.leakage and "leakage=yes" in written.file.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 3, "official_folds": True}, "one of `folds`, `official_folds` and `leave_one_source_out`"),
        ({"repeats": 2}, "`repeats` goes with `folds` alone. Received: 2"),
        ({"leave_one_source_out": True, "level": "image"}, "`level` goes with a single split or `folds`"),
        ({"official_folds": True}, "with two folds of its own"),
        ({"folds": 1}, "`folds` must be a whole number of 2 or more"),
    ],
)
def test_what_is_refused(table, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        split_data(table, tmp_path, **options, **QUIET)
    assert not list(tmp_path.iterdir())
