"""Opening folders, CSV files, MedMNIST files and known data sets."""

import logging
import os
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.open import open_data
from leukemia_tf.data.table import COLUMNS, order_classes
from leukemia_tf.errors import InputError


@pytest.fixture
def draw(tmp_path):
    """Write small files, each of its own colour, and return their folder."""

    def write(*names, folder=tmp_path):
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(path)
        return folder

    return write


def rows(table, *columns):
    return list(table[list(columns)].itertuples(index=False, name=None))


def test_class_folders_at_any_depth_without_hidden_files(draw):
    folder = draw("b/1.png", "b/deep/er/2.JPG", "a/3.bmp", "a/4.tiff", "a/5.tif", "a/._x.jpg", "a/.cache/6.png")
    (folder / "a" / "Thumbs.db").write_bytes(b"x")
    (folder / "a" / "notes.txt").write_text("x")
    (folder / "a" / "x.png").mkdir()
    (folder / "__MACOSX" / "a").mkdir(parents=True)
    manifest, table = open_data(folder)
    assert tuple(table.columns) == COLUMNS
    assert rows(table, "path", "label", "subject", "split", "sha256") == [
        ("a/3.bmp", "a", "", "", ""),
        ("a/4.tiff", "a", "", "", ""),
        ("a/5.tif", "a", "", "", ""),
        ("b/1.png", "b", "", "", ""),
        ("b/deep/er/2.JPG", "b", "", "", ""),
    ]
    assert table["index"].isna().all() and str(table["index"].dtype) == "Int64"
    assert manifest.classes == ("a", "b") and manifest.layout == "folders" and not manifest.official_split
    assert manifest.root == folder.resolve() and set(table["source"]) == {manifest.name}


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["HEM", "ALL"], ("HEM", "ALL")),
        (["all", "hem"], ("hem", "all")),
        (["healthy", "cancerous"], ("healthy", "cancerous")),
        (["malignant", "Benign"], ("Benign", "malignant")),
        (["Non-Cancer", "Cancer"], ("Non-Cancer", "Cancer")),
        (["cat", "dog"], ("cat", "dog")),
        (["Pro", "Benign", "Early"], ("Benign", "Early", "Pro")),
        (["10", "9", "0"], ("0", "9", "10")),
    ],
)
def test_of_two_classes_the_diseased_one_is_last(names, ordered):
    assert order_classes(names) == ordered


def test_official_split_folders(draw):
    folder = draw("Train/a/1.png", "Train/b/2.png", "valid/a/3.png", "valid/b/4.png", "TEST/a/5.png", "TEST/b/6.png")
    manifest, table = open_data(folder)
    assert manifest.official_split
    assert rows(table, "path", "split") == [
        ("TEST/a/5.png", "test"),
        ("TEST/b/6.png", "test"),
        ("Train/a/1.png", "train"),
        ("Train/b/2.png", "train"),
        ("valid/a/3.png", "val"),
        ("valid/b/4.png", "val"),
    ]


@pytest.mark.parametrize(
    ("names", "empty", "says"),
    [
        (["train/a/1.png", "train/b/2.png", "test/c/3.png"], [], "received `c` in test only"),
        (["train/a/1.png", "train/b/2.png", "test/a/3.png"], ["test/b"], "test/b` must hold"),
        (["train/a/1.png", "train/b/2.png", "test/a/3.png", "more/a/4.png"], [], "received `more`"),
        (["train/a/1.png", "train/b/2.png", "val/a/3.png", "valid/a/4.png"], [], "one folder for val"),
        (["a/1.png", "b/2.png"], ["c"], "c` must hold JPEG"),
        (["a/1.png"], [], "received 1: a"),
        (["1.png", "2.png"], [], "received 2 images and no folder"),
        (
            ["train/a/UID_1_1_1_all.png", "train/b/UID_2_1_1_all.png", "test/a/UID_1_2_1_all.png"],
            [],
            "subject `1` lies in train, test",
        ),
        (["all/UID_1_1_1_hem.png", "hem/UID_H2_1_1_hem.png"], [], "received folder 'all'"),
    ],
)
def test_folders_at_fault(draw, names, empty, says):
    folder = draw(*names)
    for name in empty:
        (folder / name).mkdir(parents=True)
    with pytest.raises(InputError, match=re.escape(says)):
        open_data(folder)


def test_goes_down_a_single_folder(draw):
    folder = draw("archive/Original/a/1.png", "archive/Original/b/2.png")
    assert rows(open_data(folder)[1], "path") == [("archive/Original/a/1.png",), ("archive/Original/b/2.png",)]


def test_folds_are_no_classes_and_cnmc_names_give_subjects(draw, caplog):
    folder = draw(
        "fold_0/all/UID_1_1_1_all.bmp",
        "fold_0/hem/UID_H1_1_1_hem.bmp",
        "fold_1/all/UID_1_1_2_all_augmented.png",
        "fold_1/hem/UID_h3_1_1_hem.bmp",
        "fold_2/all/UID_12_1_1_all.bmp",
    )
    with caplog.at_level(logging.INFO):
        manifest, table = open_data(folder)
    assert manifest.classes == ("hem", "all") and not manifest.official_split
    assert rows(table, "subject", "label", "split") == [
        ("1", "all", ""),
        ("H1", "hem", ""),
        ("1", "all", ""),
        ("h3", "hem", ""),
        ("12", "all", ""),
    ]
    assert sum("4 subjects are read from the names" in message for message in caplog.messages) == 1


def test_the_whole_cnmc_folder(draw, caplog):
    draw("testing_data/final/1.bmp", "validation_data/prelim/1.bmp")
    folder = draw("training_data/fold_0/all/UID_1_1_1_all.bmp", "training_data/fold_0/hem/UID_H1_1_1_hem.bmp")
    manifest, table = open_data(folder)
    assert (manifest.name, manifest.classes) == ("cnmc2019", ("HEM", "ALL"))
    assert rows(table, "subject", "label") == [("1", "ALL"), ("H1", "HEM")]
    assert any("2 images are left out" in message for message in caplog.messages)
    assert any("a complete cnmc2019 has 10,661" in message for message in caplog.messages)


def test_partly_cnmc_names_give_no_subject_but_a_warning(draw, caplog):
    _, table = open_data(draw("all/UID_1_1_1_all.bmp", "all/x.bmp", "hem/UID_H1_1_1_hem.bmp"))
    assert set(table["subject"]) == {""}
    assert any("only 2 of 3 files" in message for message in caplog.messages)


def test_links_out_of_the_folder_are_not_followed(draw, tmp_path, caplog):
    folder = draw("a/1.png", "b/2.png", folder=tmp_path / "in")
    outside = draw("3.png", folder=tmp_path / "out")
    os.symlink(outside / "3.png", folder / "a" / "3.png")
    os.symlink(outside, folder / "a" / "more")
    os.symlink(outside, folder / "c")
    os.symlink(folder / "a" / "1.png", folder / "b" / "4.png")
    _, table = open_data(folder)
    assert rows(table, "path") == [("a/1.png",), ("b/2.png",), ("b/4.png",)]
    assert any("2 links" in message for message in caplog.messages)
    assert any("1 links to folders are not followed" in message for message in caplog.messages)


def test_csv_with_everything(draw, tmp_path):
    folder = draw("img/1.png", "img/2.png", "3.png", folder=tmp_path / "data")
    elsewhere = draw("4.png", folder=tmp_path / "other") / "4.png"
    file = folder / "list.csv"
    file.write_text(
        "\ufeffPath, label,subject,split,age,Source\nimg/1.png,hem,01,Training,3,A\nimg\\2.png,all,1,train,4,A\n"
        f"3.png,all,2,validation,5,B\n{elsewhere},hem,NA,test,6,B\n",
        encoding="utf-8",
    )
    manifest, table = open_data(file)
    assert manifest.classes == ("hem", "all") and manifest.official_split and manifest.name == "list"
    assert rows(table, "path", "label", "subject", "split", "source") == sorted(
        [
            (elsewhere.as_posix(), "hem", "NA", "test", "B"),
            ("3.png", "all", "2", "val", "B"),
            ("img/1.png", "hem", "01", "train", "A"),
            ("img/2.png", "all", "1", "train", "A"),
        ]
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path\n1.png\n", ["column `label` is missing", "received path"]),
        ("path;label\n1.png;a\n", ["column `path` and `label` is missing"]),
        ("path,label\n", ["received 0 rows"]),
        ("", ["must be a CSV file"]),
        ("path,label\n1.png,a\n2.png,\n3.png\n", ["line 3: `label` is empty", "line 4: `label` is empty"]),
        ("path,label\n1.png,a\n1.png,b\n", ["line 3", "received `1.png`, as in line 2"]),
        ("path,label\n1.png,a\n9.png,b\n8.png,b\n", ["`9.png` does not", "`8.png` does not", "--skip-broken"]),
        ("path,label,split\n1.png,a,train\n2.png,b,holdout\n", ["received 'holdout'"]),
        ("path,label,split\n1.png,a,train\n2.png,b,\n", ["line 3: `split` is empty"]),
        ("path,label,subject\n1.png,a,x\n2.png,b,\n", ["line 3: `subject` is empty"]),
        ("path,label,source\n1.png,a,x\n2.png,b,\n", ["line 3: `source` is empty"]),
        (
            "path,label,subject,split\n1.png,a,x,train\n2.png,b,y,train\n3.png,a,x,test\n",
            ["subject `x` lies in train, test"],
        ),
        ("path,label,split\n1.png,a,train\n2.png,b,train\n3.png,c,val\n", ["received `c` in val only"]),
        ("path,label\n1.png,a\n2.png,a\n", ["received 1: a"]),
    ],
)
def test_csv_at_fault(draw, tmp_path, text, says):
    draw("1.png", "2.png", "3.png")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError) as error:
        open_data(tmp_path / "list.csv")
    for part in says:
        assert part in str(error.value)


def test_csv_skips_missing_files(draw, tmp_path):
    draw("1.png", "2.png")
    (tmp_path / "list.csv").write_text("path,label\n1.png,a\n2.png,b\n3.png,b\n")
    _, table = open_data(tmp_path / "list.csv", skip_broken=True)
    assert rows(table, "path") == [("1.png",), ("2.png",)]
    assert table.attrs["skipped"] == [{"path": "3.png", "reason": "the file does not exist"}]
    (tmp_path / "list.csv").write_text("path,label\n1.png,a\n2.png,a\n3.png,b\n")
    with pytest.raises(InputError, match="class `b` has no image"):
        open_data(tmp_path / "list.csv", skip_broken=True)


def medmnist(size=6, classes=3, **changes):
    """Arrays of a small MedMNIST file: `size` images a split, labels 0, 1, ..."""
    random = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = random.integers(0, 256, (size, 5, 5, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(size) % classes)[:, None].astype(np.uint8)
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def test_medmnist_file(tmp_path):
    np.savez(tmp_path / "x.npz", **medmnist(size=12))
    manifest, table = open_data(tmp_path / "x.npz")
    assert manifest.classes == ("0", "1", "2") and manifest.official_split and manifest.layout == "medmnist"
    assert len(table) == 36 and table["path"].is_monotonic_increasing
    row = table.set_index("path").loc["x.npz#test_images/10"]
    assert (row["index"], row["label"], row["split"]) == (10, "1", "test")


def test_bloodmnist_names(tmp_path):
    np.savez_compressed(tmp_path / "bloodmnist_64.npz", **medmnist(size=8, classes=8))
    manifest, table = open_data(tmp_path / "bloodmnist_64.npz")
    assert manifest.name == "bloodmnist" and manifest.root == tmp_path
    assert table["label"].iat[2] == "erythroblast"
    np.savez(tmp_path / "bloodmnist_part.npz", **medmnist(size=7, classes=7))
    assert open_data(tmp_path / "bloodmnist_part.npz")[0].classes == tuple("0123456")
    # The named data set finds the one file in its folder.
    (tmp_path / "bloodmnist_part.npz").unlink()
    assert len(open_data(load_manifest("bloodmnist", root=tmp_path))[1]) == 24


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"val_labels": None}, "`val_labels` is missing"),
        ({"val_images": np.zeros((6, 5, 5, 3), np.float32)}, "`val_images` must be uint8"),
        ({"val_images": np.zeros((6, 5, 5, 4), np.uint8)}, "received uint8 [6, 5, 5, 4]"),
        ({"val_images": np.zeros((5, 5, 5, 3), np.uint8)}, "must hold 5 labels"),
        ({"val_labels": np.zeros((6, 2), np.uint8)}, "one label an image"),
        ({"val_labels": np.zeros((6, 1), np.float32)}, "must be whole numbers"),
        ({"val_labels": np.full((6, 1), -1)}, "0 or more; received -1"),
        ({"val_labels": np.array([[7]] * 6)}, "received `7` in val only"),
        ({"val_labels": np.array([[object()]] * 6)}, "pickled objects"),
    ],
)
def test_medmnist_at_fault(tmp_path, changes, says):
    np.savez(tmp_path / "x.npz", **medmnist(**changes))
    with pytest.raises(InputError, match=re.escape(says)):
        open_data(tmp_path / "x.npz")


def test_damaged_npz(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="cannot be read"):
        open_data(tmp_path / "x.npz")
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="single array"):
        open_data(tmp_path / "x.npz")


def test_the_sample_is_rendered_and_opened(draw, tmp_path, monkeypatch):
    folder = draw("HEM/UID_H1_1_1_hem.bmp", "ALL/UID_4_1_1_all.bmp")
    stand_in = types.ModuleType("leukemia_tf.data.sample")
    stand_in.render_sample = lambda seed: {0: folder}[seed]
    monkeypatch.setitem(sys.modules, "leukemia_tf.data.sample", stand_in)
    manifest, table = open_data("sample")
    assert manifest.synthetic and manifest.classes == ("HEM", "ALL")
    assert rows(table, "path", "label", "subject") == [
        ("ALL/UID_4_1_1_all.bmp", "ALL", "4"),
        ("HEM/UID_H1_1_1_hem.bmp", "HEM", "H1"),
    ]


def test_named_data_sets_are_looked_for(draw, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEUKEMIA_TF_DATA", str(tmp_path / "data"))
    with pytest.raises(InputError, match="is not on this machine: get it from https://www.kaggle.com"):
        open_data("taleqani")
    names = [f"Original/{name}/{name}-1.jpg" for name in ("Benign", "Early", "Pre", "Pro")]
    draw(*names, "Segmented/Benign/Benign-1.jpg", folder=tmp_path / "data" / "taleqani")
    manifest, table = open_data("taleqani")
    assert rows(table, "path") == [(name,) for name in names]


def test_unknown_spec(tmp_path):
    with pytest.raises(InputError, match=r"did you mean 'taleqani'\?\); received 'taleqany'"):
        open_data("taleqany")
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="neither a folder"):
        open_data(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="`root`"):
        open_data(load_manifest("pbc"))
