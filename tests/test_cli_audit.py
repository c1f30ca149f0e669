"""The audit command: exit codes, files, split and cleaned table."""

import argparse
import json

import pytest

from leukemia_tf.cli_audit import add_audit_command
from leukemia_tf.data.open import open_data
from leukemia_tf.errors import InputError
from tests.data.audit.audit_pictures import draw, save


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_audit_command(parser.add_subparsers())
    options = parser.parse_args(["audit", *map(str, arguments), "--quiet", "--no-shortcuts"])
    return options.call(options)


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        save(tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png", draw(number))
    save(tmp_path / "images" / "a" / "copy.png", draw(0)[::-1])
    return tmp_path


def split_file(folder, in_test):
    names = [f"{'ab'[n % 2]}/{n:02}.png" for n in range(12)] + ["a/copy.png"]
    lines = [f"{name},{'test' if name in in_test else 'train'}" for name in names]
    (folder / "split.csv").write_text("\n".join(["path,split", *lines]))
    return folder / "split.csv"


def test_copies_without_a_split_are_no_failure(folder, capsys):
    assert run(folder / "images", "--output", folder / "out") == 0
    out = capsys.readouterr().out
    assert "1 near or augmented pairs" in out and "Research use only" in out and "LEAKAGE" not in out
    assert (folder / "out" / "report.html").is_file()
    assert json.loads((folder / "out" / "audit.json").read_text())["near_pairs"] == 1


def test_a_copy_across_splits_is_exit_code_1(folder, capsys):
    arguments = (folder / "images", "--output", folder / "out", "--split")
    assert run(*arguments, split_file(folder, {"a/copy.png", "b/01.png"})) == 1
    out = capsys.readouterr().out
    assert "leak: near copies across splits: `a/" in out and "LEAKAGE" in out
    assert run(*arguments, split_file(folder, {"b/01.png"})) == 0


def test_the_cleaned_table_is_written(folder, capsys):
    clean = folder / "clean.csv"
    arguments = (folder / "images", "--output", folder / "out", "--clean", clean)
    assert run(*arguments, "--split", split_file(folder, {"a/copy.png", "b/01.png"})) == 1
    assert "12 of 13 images" in capsys.readouterr().out
    _, table = open_data(clean)
    assert len(table) == 12 and set(table["split"]) == {"train", "test"} and "images/a/copy.png" in set(table["path"])
    assert run(clean, "--output", folder / "again") == 0


def test_default_folder_is_named_after_the_data(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert run("images") == 0
    assert (folder / "audits" / "images" / "findings.csv").is_file()


def test_wrong_use(folder):
    with pytest.raises(InputError, match="does not exist"):
        run(folder / "nowhere")
    with pytest.raises(InputError, match="`--split`"):
        run(folder / "images", "--split", folder / "nowhere.csv")
    with pytest.raises(InputError, match="`--clean` must be"):
        run(folder / "images", "--output", folder / "out", "--clean", folder / "x.txt")
