"""Comparing a copy of a data set: counts, and each missing, extra or altered file by name."""

import csv
import gzip
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data import verify
from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.open import open_data
from leukemia_tf.data.verify import verify_data, verify_listing
from leukemia_tf.errors import InputError

FILES = {
    f"Set/{split}/{label}/{n}.png": f"{split}{label}{n}".encode() for split in "xy" for label in "ab" for n in range(3)
}


def write(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_list(file, files, sizes=True):
    rows = ["path,sha256,size" if sizes else "path,sha256"]
    for name, data in files.items():
        rows.append(f"{name},{hashlib.sha256(data).hexdigest()}" + (f",{len(data)}" if sizes else ""))
    text = "\n".join(rows) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file


def own(tmp_path, **changes):
    facts = {
        "name": "mine",
        "title": "Mine",
        "licence": "CC0",
        "citation": "Me",
        "homepage": "https://example.org",
        "classes": ["a", "b"],
        "layout": "files",
        "label_from": "(?P<label>[ab])/[^/]+$",
        "official_split": False,
        **changes,
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(facts))
    return load_manifest(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", ["list.csv", "list.csv.gz"])
@pytest.mark.parametrize("sizes", [True, False])
def test_each_difference_is_named(tmp_path, name, sizes):
    listing = write_list(tmp_path / name, FILES, sizes)
    root = write(tmp_path / "copy", FILES)
    assert verify_listing(root, listing, progress=False) == (["12 of 12 listed files are there; 0 differences"], [])
    (root / "Set/x/a/0.png").unlink()
    (root / "Set/x/a/1.png").write_bytes(b"xa9")  # as long as before
    (root / "Set/y/b/2.png").write_bytes(b"longer than before")
    write(root, {"Set/new\nname.png": b"", ".hidden": b"", "Set/.DS_Store": b""})
    facts, problems = verify_listing(root, listing, progress=False)
    longer = "18 bytes, listed with 3" if sizes else "other bytes than listed (SHA-256)"
    assert problems == [
        "missing: `Set/x/a/0.png`",
        r"extra: `Set/new\nname.png` is not in the list",
        "altered: `Set/x/a/1.png`: other bytes than listed (SHA-256)",
        f"altered: `Set/y/b/2.png`: {longer}",
    ]
    assert facts == ["11 of 12 listed files are there; 4 differences"]


@pytest.mark.parametrize("place", ["Set", "Set/x", "above", "above/Set"])
def test_a_list_that_begins_elsewhere(tmp_path, place):
    listing = write_list(tmp_path / "list.csv", FILES)
    if place.startswith("above"):
        write(tmp_path / place, FILES if place == "above" else {name[4:]: data for name, data in FILES.items()})
        root = tmp_path / "above"
    else:
        root = write(tmp_path / "copy", FILES) / place
    _, problems = verify_listing(root, listing, progress=False)
    lacking = [f"missing: `{name}`" for name in FILES if "/y/" in name] if place == "Set/x" else []
    assert problems == lacking


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,size\na,1\n", "must have the columns path and sha256"),
        ("", "must be a CSV file"),
        ("path,sha256\n", "must list at least one file"),
        ("path,sha256\na,xyz\n", "line 2: `sha256` must be 64 hexadecimal digits"),
        (f"path,sha256,size\na,{'0' * 64},-1\n", "line 2: `size` must be a number of bytes; received '-1'"),
        (f"path,sha256\na,{'0' * 64}\na,{'1' * 64}\n", "received `a` twice"),
        (f'path,sha256\n"a\nb",{"0" * 64}\n', r"`a\\nb`: rename the file; received a control character"),
        (f"path,sha256\n{'n' * 10_000},{'0' * 64}\n", "received a name longer than 255 bytes"),
    ],
)
def test_lists_at_fault(tmp_path, text, says):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        verify_listing(tmp_path, tmp_path / "list.csv")


def test_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read; received: No such file"):
        verify_listing(tmp_path, tmp_path / "none.csv")
    (tmp_path / "list.csv.gz").write_bytes(gzip.compress(b"path,sha256\n" * 1000)[:30])
    with pytest.raises(InputError, match="must be a CSV file|cannot be read"):
        verify_listing(tmp_path, tmp_path / "list.csv.gz")
    (tmp_path / "list.csv").write_bytes(b"path,sha256\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="must be a CSV file in UTF-8"):
        verify_listing(tmp_path, tmp_path / "list.csv")


@settings(max_examples=40, deadline=None)
@given(data=st.one_of(st.binary(max_size=60), st.text(st.sampled_from('path,sha256,size\n"ab0/.\\'), max_size=60)))
def test_any_list_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("list")
    start = b"path,sha256\n" if isinstance(data, str) else b""
    (folder / "list.csv").write_bytes(start + (data.encode() if isinstance(data, str) else data))
    try:
        verify_listing(folder, folder / "list.csv", progress=False)
    except InputError as error:
        assert "list.csv" in str(error)


def test_counts_of_classes(tmp_path):
    root = write(tmp_path / "copy", FILES)
    found = verify_data(own(tmp_path, class_counts={"a": 6, "b": 6}), root)
    assert found.ok and found.facts == ("images: a 6, b 6",)
    found = verify_data(own(tmp_path, class_counts={"a": 7, "b": 6}), root)
    assert found.problems == ("images: a 6, b 6; a complete copy has a 7, b 6",)
    found = verify_data(own(tmp_path), write(root, {"Set/z.png": b""}))
    assert found.facts == (
        "images: a 6, b 6 (no figures to compare with)",
        "not part of mine: 1 images; first `Set/z.png`",
    )
    with pytest.raises(InputError, match="does not exist"):
        verify_data(own(tmp_path), tmp_path / "none")
    with pytest.raises(InputError, match="must be the folder"):
        verify_data(own(tmp_path), tmp_path / "mine.yaml")


def test_subjects_and_splits(tmp_path):
    rules = {"subject_from": r"/(?P<subject>\d)\.png$", "split_from": "(?P<split>train|test)/"}
    counts = {"split_counts": {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}}
    files = {f"{s}/{c}/{n}.png": b"" for c in "ab" for s, n in (("train", 1), ("train", 2), ("test", 3))}
    root = write(tmp_path / "copy", files)
    manifest = own(tmp_path, **rules, **counts, subject_counts={"all": {"a": 3, "b": 3}, "test": {"a": 1, "b": 2}})
    found = verify_data(manifest, root)
    assert found.problems == ("subjects of test: a 1, b 1; a complete copy has a 1, b 2",)
    assert "images of train: a 2, b 2" in found.facts and "subjects: a 3, b 3" in found.facts
    assert open_data(manifest.replace(root=root))[1]["split"].tolist() == ["test"] * 2 + ["train"] * 4


def medmnist(file, train):
    arrays = {}
    for split, count in (("train", train), ("val", 8), ("test", 8)):
        arrays[f"{split}_images"] = np.zeros((count, 4, 4, 3), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 8).astype(np.uint8)[:, None]
    np.savez(file, **arrays)


def test_bloodmnist(tmp_path):
    medmnist(tmp_path / "bloodmnist_28x.npz", 16)
    names = load_manifest("bloodmnist").classes
    manifest = load_manifest("bloodmnist").replace(
        class_counts=dict.fromkeys(names, 4),
        split_counts={
            "train": dict.fromkeys(names, 2),
            "val": dict.fromkeys(names, 1),
            "test": dict.fromkeys(names, 1),
        },
    )
    found = verify_data(manifest, tmp_path)
    assert found.ok and found.facts[-1] == "bloodmnist_28x.npz: no MD5 is published under this file name"
    (tmp_path / "bloodmnist_28x.npz").rename(tmp_path / "bloodmnist_64.npz")
    found = verify_data(manifest, tmp_path / "bloodmnist_64.npz")
    assert len(found.problems) == 1 and "not 2b94928a2ae4916078ca51e05b6b800b" in found.problems[0]
    assert not verify_data(load_manifest("bloodmnist"), tmp_path).ok
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="NPZ file; received none"):
        verify_data(manifest, tmp_path / "empty")


# C-NMC 2019 -----------------------------------------------------------------------------------------------------------


def prelim_csv(count_all, count_hem, subjects_all=13, subjects_hem=15):
    """A table of labels in the form of the published one; which cell is whose is made up."""
    rows = ["Patient_ID,new_names,labels"]
    for n in range(1, count_all + count_hem + 1):
        if n <= count_all:
            rows.append(f"UID_{100 + n % subjects_all}_{n}_1_all.bmp,{n}.bmp,1")
        else:
            rows.append(f"UID_H{100 + n % subjects_hem}_{n}_1_hem.bmp,{n}.bmp,0")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def cnmc_names(shared):
    with gzip.open(shared / "data" / "cnmc2019_file_list.csv.gz", "rt") as file:
        return [row["path"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def cnmc(cnmc_names, tmp_path_factory):
    """All 15,115 names as empty files, with a table of labels."""
    root = tmp_path_factory.mktemp("cnmc")
    for folder in {name.rpartition("/")[0] for name in cnmc_names}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in cnmc_names:
        (root / name).touch()
    (root / next(name for name in cnmc_names if name.endswith(".csv"))).write_text(prelim_csv(1219, 648))
    return root


def test_a_complete_cnmc_by_its_names(cnmc, cnmc_names):
    manifest = load_manifest("cnmc2019")
    found = verify_data(manifest, cnmc)
    assert found.problems == ()
    assert found.facts[:10] == (
        "images: HEM 4,037, ALL 8,491",
        "images of train: HEM 3,389, ALL 7,272",
        "images of test: HEM 648, ALL 1,219",
        "images of fold 0: HEM 1,130, ALL 2,397",
        "images of fold 1: HEM 1,163, ALL 2,418",
        "images of fold 2: HEM 1,096, ALL 2,457",
        "subjects of train: HEM 26, ALL 47",
        "subjects of test: HEM 15, ALL 13",
        "`C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data_labels.csv` labels 1,867 images",
        "without a public label: 2,586 images",
    )
    opened, table = open_data(cnmc)
    assert opened.name == "cnmc2019" and opened.official_split
    assert table["split"].value_counts().to_dict() == {"train": 10661, "test": 1867}
    # Each training row against its name, read without regular expressions.
    train = table[table["split"] == "train"]
    for path, label, subject in zip(train["path"], train["label"], train["subject"]):
        parts = path.rpartition("/")[2].removesuffix(".bmp").split("_")
        assert subject == parts[1] and label == parts[4].upper()
        assert (label == "HEM") == subject.upper().startswith("H") == ("/hem/" in path)
    assert len(table) + 2586 == sum(name.endswith(".bmp") for name in cnmc_names) == 15114
    test = table[table["split"] == "test"].set_index("path")
    row = test.loc["C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data/1867.bmp"]
    assert (row["label"], row["subject"]) == ("HEM", f"H{100 + 1867 % 15}")


def test_missing_extra_and_altered_files_of_cnmc(cnmc, shared, tmp_path, monkeypatch):
    listing = shared / "data" / "cnmc2019_file_list.csv.gz"
    # The pixels are not here: any file counts as unaltered, but one.
    altered = "C-NMC_Leukemia/training_data/fold_1/hem/UID_H10_100_1_hem.bmp"
    monkeypatch.setattr(verify, "_differs", lambda file, *listed: "other bytes" * (str(file) == str(cnmc / altered)))
    gone = cnmc / "C-NMC_Leukemia/training_data/fold_0/all/UID_11_10_1_all.bmp"
    new = cnmc / "C-NMC_Leukemia/training_data/fold_0/all/UID_11_10_1_all_copy.bmp"
    csv_file = cnmc / "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data_labels.csv"
    gone.rename(new)
    (cnmc / "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data/7.bmp").rename(tmp_path / "7.bmp")
    try:
        found = verify_data(load_manifest("cnmc2019"), cnmc, listing=listing, progress=False)
        assert found.problems == (
            "images: HEM 4,037, ALL 8,490; a complete copy has HEM 4,037, ALL 8,491",
            "images of test: HEM 648, ALL 1,218; a complete copy has HEM 648, ALL 1,219",
            f"missing: `7.bmp`, listed in `{csv_file.relative_to(cnmc)}`",
            f"missing: `{gone.relative_to(cnmc)}`",
            "missing: `C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data/7.bmp`",
            f"extra: `{new.relative_to(cnmc)}` is not in the list",
            f"altered: `{altered}`: other bytes",
        )
    finally:
        new.rename(gone)
        (tmp_path / "7.bmp").rename(cnmc / "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data/7.bmp")


def small_cnmc(root, text, layout="kaggle"):
    training, prelim, final = {
        "kaggle": ("training_data", "validation_data/C-NMC_test_prelim_phase_data", "testing_data/final"),
        "archive": (
            "C-NMC_training_data",
            "C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data",
            "C-NMC_test_final_phase_data",
        ),
    }[layout]
    files = {f"{training}/fold_{f}/all/UID_{f}_1_1_all.bmp": b"" for f in range(3)}
    files |= {f"{training}/fold_{f}/hem/UID_H{f}_1_1_hem.bmp": b"" for f in range(3)}
    files |= {f"{prelim}/{n}.bmp": b"" for n in range(1, 5)} | {f"{final}/{n}.bmp": b"" for n in range(1, 3)}
    files[f"{prelim.rpartition('/')[0]}/C-NMC_test_prelim_phase_data_labels.csv"] = text.encode()
    return write(root, files)


@pytest.mark.parametrize("layout", ["kaggle", "archive"])
def test_the_preliminary_test_set_is_the_test_split(tmp_path, layout):
    root = small_cnmc(tmp_path, prelim_csv(2, 2), layout)
    manifest, table = open_data(root)
    assert manifest.official_split and len(table) == 10
    test = table[table["split"] == "test"]
    assert test["path"].str.endswith(("1.bmp", "2.bmp", "3.bmp", "4.bmp")).all()
    assert list(zip(test["label"], test["subject"])) == [
        ("ALL", "101"),
        ("ALL", "102"),
        ("HEM", "H103"),
        ("HEM", "H104"),
    ]
    assert set(table["split"][table["path"].str.contains("fold_")]) == {"train"}
    # Without the table of labels the training part is what there is, and it has no split.
    next(root.rglob("*.csv")).unlink()
    manifest, table = open_data(root)
    assert not manifest.official_split and len(table) == 6 and set(table["split"]) == {""}
    assert (
        "missing: the table of labels; the images that it labels are left out" in verify_data(manifest, root).problems
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Patient_ID,new_names\nx,1.bmp\n", "column `labels` is missing; received Patient_ID, new_names"),
        (
            "Patient_ID,new_names,labels\nUID_1_1_1_all.bmp,1.bmp,2\n",
            "line 2: the label must be one of HEM, ALL; received `2`",
        ),
        (prelim_csv(1, 0) + "UID_9_1_1_all.bmp,1.bmp,1\n", "line 3: `1.bmp` is listed twice; first in line 2"),
        (
            "Patient_ID,new_names,labels\nUID_0_1_1_all.bmp,1.bmp,1\nUID_H9_1_1_hem.bmp,2.bmp,0\n",
            "subject `0` lies in train, test",
        ),
        ("\xff", "CSV file in UTF-8|is missing"),
    ],
)
def test_tables_of_labels_at_fault(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        open_data(small_cnmc(tmp_path, text))


def test_two_tables_of_labels(tmp_path):
    root = small_cnmc(tmp_path, prelim_csv(2, 2))
    write(root, {"copy/phase2.csv": b"x"})
    with pytest.raises(InputError, match="must hold one table of labels; received"):
        open_data(load_manifest("cnmc2019", root=root))
