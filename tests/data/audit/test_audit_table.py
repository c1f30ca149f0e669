"""The audit from end to end: planted faults, splits, cleaning, files on disk, and real images."""

import base64
import collections
import csv
import hashlib
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data.audit import audit_table
from leukemia_tf.data.audit.cleaned_file import write_cleaned
from leukemia_tf.data.audit.opening import open_for_audit
from leukemia_tf.data.open import open_data
from leukemia_tf.errors import InputError

from tests.data.audit.audit_pictures import crop, draw, save

NASTY = "<b>&'x'.jpg"


def plant(folder):
    """Eighteen different pictures of each class, and one of each fault beside them."""
    for number in range(36):
        save(folder / "ab"[number % 2] / f"{number:02}.jpg", draw(number))
    save(folder / "a" / "flipped.jpg", draw(1)[:, ::-1])  # of b/01: another class
    save(folder / "a" / "cropped.jpg", crop(draw(2), 0.9))
    (folder / "a" / "same.jpg").write_bytes((folder / "a" / "04.jpg").read_bytes())
    (folder / "b" / "same.jpg").write_bytes((folder / "a" / "06.jpg").read_bytes())
    (folder / "b" / "empty.jpg").write_bytes(b"")
    (folder / "b" / "short.jpg").write_bytes((folder / "b" / "05.jpg").read_bytes()[:1500])
    save(folder / "b" / "really.png", draw(60))
    (folder / "b" / "really.png").rename(folder / "b" / NASTY)
    save(folder / "b" / "large.jpg", draw(61, 120))
    save(folder / "b" / "blank.jpg", np.full((96, 96, 3), 128, np.uint8))
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = plant(tmp_path_factory.mktemp("planted"))
    manifest, table = open_data(folder)
    return audit_table(manifest, table, progress=False)


def named(audit, kind):
    rows = audit.findings[audit.findings["kind"] == kind]
    return {frozenset(filter(None, pair)) for pair in zip(rows["path"], rows["other"])}


def test_each_planted_fault_is_named_and_nothing_else(planted):
    assert named(planted, "unreadable") == {frozenset({"b/empty.jpg"})}
    assert named(planted, "truncated") == {frozenset({"b/short.jpg"})}
    assert named(planted, "wrong suffix") == {frozenset({f"b/{NASTY}"})}
    assert named(planted, "odd size") == {frozenset({"b/large.jpg"})}
    assert named(planted, "blank") == {frozenset({"b/blank.jpg"})}
    exact = {frozenset({"a/04.jpg", "a/same.jpg"}), frozenset({"a/06.jpg", "b/same.jpg"})}
    assert named(planted, "exact copies") == exact
    near = {frozenset({"b/01.jpg", "a/flipped.jpg"}), frozenset({"a/02.jpg", "a/cropped.jpg"})}
    assert named(planted, "near copies") == near
    conflicts = {frozenset({"b/01.jpg", "a/flipped.jpg"}), frozenset({"a/06.jpg", "b/same.jpg"})}
    assert named(planted, "label conflict") == conflicts
    # Without a split nothing can leak.
    assert not planted.leaks and set(planted.findings["severity"]) <= {"error", "warning", "info"}
    assert planted.summary["exact_groups"] == 2 and planted.summary["near_pairs"] == 2
    assert planted.summary["usable"] == len(planted.table) - 2


def test_cleaning_keeps_one_of_each_and_no_conflict(planted):
    clean = planted.cleaned()
    gone = {entry["path"]: entry["reason"] for entry in clean.attrs["dropped"]}
    assert set(clean["path"]) | set(gone) == set(planted.table["path"]) and not set(clean["path"]) & set(gone)
    assert {"a/06.jpg", "b/same.jpg", "b/01.jpg", "a/flipped.jpg", "b/empty.jpg", "b/short.jpg"} <= set(gone)
    assert gone["a/same.jpg"] == "copy of `a/04.jpg`" and "a/04.jpg" in set(clean["path"])
    assert len({"a/02.jpg", "a/cropped.jpg"} & set(gone)) == 1 and len(gone) == 8
    assert clean["sha256"].is_unique and "empty" in gone["b/empty.jpg"]


def test_a_cleaned_table_can_be_opened_and_is_clean(planted, tmp_path):
    written = write_cleaned(planted, tmp_path / "clean.csv")
    manifest, table = open_data(tmp_path / "clean.csv")
    again = audit_table(manifest, table, progress=False, shortcuts=False)
    assert len(table) == len(written) == 37
    assert set(again.findings["severity"]) <= {"warning", "info"} and len(again.pairs) == 0
    with open(tmp_path / "clean.dropped.csv", encoding="utf-8") as file:
        assert {row["path"] for row in csv.DictReader(file)} == {e["path"] for e in written.attrs["dropped"]}
    with pytest.raises(InputError, match="`--clean` must be the name of a .csv file"):
        write_cleaned(planted, tmp_path / "clean.txt")


def test_files_and_report(planted, tmp_path):
    report = planted.write(tmp_path / "audit")
    found = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert found == planted.summary and found["leaks"] is False
    for name in ("findings", "pairs", "groups", "shortcuts", "sources"):
        assert len(pd.read_csv(tmp_path / "audit" / f"{name}.csv")) == len(getattr(planted, name))
    page = report.read_text(encoding="utf-8")
    assert "Research use only" in page and "viewport" in page and "<script" not in page
    assert "http" not in re.sub(r"data:image/[^\"]*", "", page.replace("http-equiv", ""))
    assert "<b>&'x'" not in page and "&lt;b&gt;&amp;&#x27;x&#x27;.jpg" in page
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(pictures) == 2 * len(planted.findings[planted.findings["kind"].str.contains("copies|conflict")])
    assert cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR).shape == (160, 160, 3)


def test_copies_and_subjects_across_a_split_leak(planted, tmp_path):
    split = planted.table[["path"]].assign(split="train")
    split.loc[split["path"].isin(["a/cropped.jpg", "a/flipped.jpg"]), "split"] = "test"
    split.to_csv(tmp_path / "split.csv", index=False)
    table = planted.table.drop(columns="sha256").assign(sha256="", subject="one")
    audit = audit_table(planted.manifest, table, split=tmp_path / "split.csv", progress=False, shortcuts=False)
    assert audit.leaks and named(audit, "subject across splits")
    assert named(audit, "near copies across splits") == {
        frozenset({"b/01.jpg", "a/flipped.jpg"}), frozenset({"a/02.jpg", "a/cropped.jpg"})
    }  # fmt: skip
    assert list(audit.pairs["leak"]) == [True, True, False, False]
    # The copy in test is the one that stays.
    assert {e["path"]: e["reason"] for e in audit.cleaned().attrs["dropped"]}["a/02.jpg"] == "copy of `a/cropped.jpg`"
    assert "verdict leak" in audit.write(tmp_path / "audit").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("path\na/00.jpg\n", "column `split` is missing"),
        ("path,split\na/00.jpg,holdout\n", "must be train, val or test. Received: holdout"),
        ("path,split\na/00.jpg,train\na/00.jpg,test\n", "each path may have one split. Received: `a/00.jpg`"),
        ("path,split\nelsewhere.jpg,train\n", "its paths must be those of the data set"),
        ("", "must be a CSV file"),
    ],
)
def test_split_files_that_do_not_fit(planted, tmp_path, text, reason):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(reason)):
        audit_table(planted.manifest, planted.table, split=tmp_path / "split.csv", progress=False)


def test_a_table_that_training_refuses_is_opened(tmp_path):
    for number in range(6):
        save(tmp_path / "images" / f"{number}.png", draw(number))
    lines = [f"images/{n}.png,{'ab'[n % 2]},s{n // 3},{'train' if n < 4 else 'test'}" for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,subject,split", *lines, "gone.png,a,s9,train"]))
    with pytest.raises(InputError, match="subject `s1` lies in train, test"):
        open_data(tmp_path / "t.csv", skip_broken=True)
    manifest, table = open_for_audit(tmp_path / "t.csv")
    assert list(table["path"]) == [f"images/{n}.png" for n in range(6)] and manifest.root == tmp_path
    assert list(table["split"]) == ["train"] * 4 + ["test"] * 2
    audit = audit_table(manifest, table, progress=False, shortcuts=False)
    assert named(audit, "subject across splits") == {frozenset({"images/3.png"})}
    assert named(audit, "unreadable") == {frozenset({"gone.png"})} and audit.leaks


def test_colour_that_tells_the_class_is_reported(tmp_path):
    for number in range(48):
        picture = draw(number)
        if number % 2:
            picture = np.clip(picture * [1.0, 0.75, 1.0], 0, 255).astype(np.uint8)
        save(tmp_path / "ab"[number % 2] / f"{number}.png", picture)
    manifest, table = open_data(tmp_path)
    audit = audit_table(manifest, table, progress=False)
    auc = audit.shortcuts.set_index("cue")["auc"]
    assert auc["colour"] > 0.9 and auc["resolution"] == 0.5 and "print" not in auc
    assert any("colour alone tells the class" in detail for detail in audit.findings["detail"])
    assert "colour" in audit.lines()[-1]


def test_the_audit_needs_no_tensorflow():
    code = "import sys, leukemia_tf.data.audit.run, leukemia_tf.data.audit.report; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.slow
def test_real_smears(shared, tmp_path):
    import tarfile

    with tarfile.open(shared / "data" / "taleqani_all.tar") as tar:
        members = [m for m in tar.getmembers() if re.search(r"(Benign|Pro)-\d*[0-4]\d\.jpg$", m.name)]
        tar.extractall(tmp_path, members=members, filter="data")
    manifest, table = open_data(next(tmp_path.iterdir()))
    audit = audit_table(manifest, table, progress=False)
    files = [manifest.root / path for path in table["path"]]
    groups = collections.Counter(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert audit.summary["exact_groups"] == sum(count > 1 for count in groups.values()) > 0
    assert audit.summary["near_pairs"] + audit.summary["overlap_pairs"] > 20
    # Neighbouring fields of one smear have neighbouring numbers.
    numbers = audit.pairs[["path", "other"]].map(lambda name: int(re.search(r"(\d+)\.jpg", name)[1]))
    assert (audit.pairs["label"] == audit.pairs["other_label"]).all()
    assert (numbers["path"] - numbers["other"]).abs().median() <= 20
    # Every image carries print; the kind of it and the stain tell the class.
    assert audit.prints and sum(one.share for one in audit.prints[:1]) > 0.95
    auc = audit.shortcuts.set_index("cue")["auc"]
    assert auc["colour"] > 0.95 and auc["print"] > 0.6


@pytest.mark.slow
def test_real_cells_with_identical_pairs(shared, tmp_path):
    archive = np.load(shared / "data" / "pbc64.npz", allow_pickle=False)
    data, ends, labels = archive["jpeg"].tobytes(), archive["offsets"], archive["label"]
    pixels = [hashlib.sha256(data[a:b]).hexdigest() for a, b in zip(ends[:-1], ends[1:])]
    counts = collections.Counter(pixels)
    twins = [row for row, digest in enumerate(pixels) if counts[digest] > 1]
    others = np.setdiff1d(np.random.default_rng(0).choice(len(labels), 500, replace=False), twins)
    for row in [*twins, *others]:
        path = tmp_path / f"class{labels[row]}" / f"{row:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[ends[row] : ends[row + 1]])
    manifest, table = open_data(tmp_path)
    audit = audit_table(manifest, table, progress=False, shortcuts=False)
    assert len(twins) == 34 and audit.summary["exact_groups"] == 17
    assert audit.summary["groups_across_classes"] == 1
    assert len(audit.findings[audit.findings["severity"] == "error"]) == 1
    # Different cells are no copies of each other.
    assert audit.summary["near_pairs"] + audit.summary["overlap_pairs"] <= 1
