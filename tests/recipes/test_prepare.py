"""Splits of a run: level, leakage and its stamp, reuse of a split file, groups of near duplicates."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib

import cv2
import numpy as np
import pandas as pd
import pytest

from leukemia_tf import cli
from leukemia_tf.data import make_folds, read_split, write_split
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation.metrics import LEAKY_SPLIT
from leukemia_tf.files import read_json, write_json
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe, load_run
from leukemia_tf.recipes.prepare import prepare_table
from leukemia_tf.recipes.run import Run

SUBJECTS, EACH = 10, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    """A CSV table of 40 images of 10 subjects, of each class a half."""
    root = tmp_path_factory.mktemp("cells")
    random = np.random.default_rng(0)
    lines = ["path,label,subject"]
    for subject in range(SUBJECTS):
        label = ("healthy", "blast")[subject % 2]
        for number in range(EACH):
            image = np.clip(random.normal((160, 90)[subject % 2], 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / f"{subject}_{number}.png"), image)
            lines.append(f"{subject}_{number}.png,{label},s{subject}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root / "table.csv"


def begin(folder: pathlib.Path, data: pathlib.Path, seed: int = 0, **changes) -> tuple[Run, pd.DataFrame]:
    recipe = Recipe(
        name="handcrafted",
        title="Test",
        model=ModelSpec("handcrafted", weights="none"),
        data=DataSpec(source=str(data), image_size=32, **changes),
        phases=(),
        seed=seed,
    )
    write_json(folder / "recipe.json", recipe.to_dict())
    run = Run(folder)
    return run, prepare_table(recipe, run, progress=False)[1]


def crossing(table: pd.DataFrame, groups: pd.Series) -> int:
    return int((table["split"].groupby(groups).nunique() > 1).sum())


def test_every_run_carries_its_whole_split_and_its_hash(data, tmp_path):
    run, table = begin(tmp_path, data, max_train_images=8)
    rows = pd.read_csv(tmp_path / "split.csv", skiprows=1, keep_default_na=False)
    lines = sorted(f"{row.path}\t{row.split}\n" for row in rows.itertuples())
    assert len(lines) == SUBJECTS * EACH and (table["split"] == "train").sum() == 8
    assert run.info["split_hash"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert run.info["split_level"] == "subject" and run.info["leakage"] is False
    assert crossing(rows, rows["path"].str.split("_").str[0]) == 0


def test_a_split_by_image_needs_leave_where_subjects_are_known(data, tmp_path):
    with pytest.raises(InputError, match="--allow-leakage.*10 known subjects") as caught:
        begin(tmp_path, data, split_level="image")
    assert len(str(caught.value).splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.json"]  # so the folder can be used again
    run, table = begin(tmp_path, data, split_level="image", allow_leakage=True)
    assert run.info["split_level"] == "image" and run.info["leakage"] is True
    assert crossing(table, table["subject"]) > 0
    assert (tmp_path / "split.csv").read_text().splitlines()[0].endswith("level=image leakage=yes")
    # Leave alone makes no leak.
    (tmp_path / "other").mkdir()
    assert begin(tmp_path / "other", data, allow_leakage=True)[0].info["leakage"] is False


def test_without_known_subjects_a_split_by_image_is_no_known_leak(data, tmp_path):
    table = pd.read_csv(data).drop(columns="subject")
    table["path"] = [str(data.parent / path) for path in table["path"]]
    table.to_csv(tmp_path / "plain.csv", index=False)
    run, _ = begin(tmp_path, tmp_path / "plain.csv", split_level="image")
    assert run.info["split_level"] == "image" and run.info["leakage"] is False


def test_the_split_of_another_run_is_used_again(data, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    first, table = begin(tmp_path / "a", data)
    second, again = begin(tmp_path / "b", data, seed=1, split_file=str(tmp_path / "a" / "split.csv"))
    assert list(again["split"]) == list(table["split"])
    assert second.info["split_hash"] == first.info["split_hash"] and second.info["split_level"] == "subject"
    assert (tmp_path / "a" / "split.csv").read_bytes() == (tmp_path / "b" / "split.csv").read_bytes()
    assert begin(tmp_path / "c", data, seed=1)[0].info["split_hash"] != first.info["split_hash"]


def test_a_changed_split_file_is_one_line(data, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    begin(tmp_path / "a", data)
    file = tmp_path / "a" / "split.csv"
    file.write_text(file.read_text().replace("0_0.png,train", "0_0.png,test"))
    with pytest.raises(RunError, match="was changed after it was written") as caught:
        begin(tmp_path / "b", data, split_file=str(file))
    assert len(str(caught.value).splitlines()) == 1


def test_split_files_that_do_not_fit(data, tmp_path):
    (tmp_path / "leaky").mkdir()
    _, leaky = begin(tmp_path / "leaky", data, split_level="image", allow_leakage=True)
    table = leaky.assign(split="")
    write_split(tmp_path / "folds.csv", make_folds(table, 2))
    one = leaky.assign(split="train")
    one.attrs = {"split_level": "subject"}
    write_split(tmp_path / "one.csv", one)
    write_split(tmp_path / "less.csv", leaky.iloc[1:])
    hidden = leaky.copy()
    hidden.attrs = {"split_level": "subject", "leakage": True}
    write_split(tmp_path / "told.csv", hidden)
    for file, error, message in (
        ("leaky/split.csv", InputError, "--allow-leakage"),
        ("folds.csv", InputError, "with 2 folds"),
        ("one.csv", InputError, "only train"),
        ("less.csv", InputError, "`0_0.png` is not in the file"),
        ("told.csv", RunError, "subject `s"),  # a split by subject that is none
        ("none.csv", InputError, "none.csv"),
    ):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        with pytest.raises(error, match=message):
            begin(folder, data, split_file=str(tmp_path / file))
        assert not (folder / "run.json").exists()
    run, again = begin(folder, data, split_file=str(tmp_path / "leaky" / "split.csv"), allow_leakage=True)
    assert run.info["leakage"] is True and list(again["split"]) == list(leaky["split"])


def test_the_audit_reads_the_split_of_a_run(data, tmp_path):
    from leukemia_tf.data.audit.split_file import apply_split

    _, table = begin(tmp_path, data, split_level="image", allow_leakage=True)
    file = tmp_path / "split.csv"
    assert list(apply_split(table.assign(split=""), file)["split"]) == list(table["split"])
    file.write_text(file.read_text().replace(",test,", ",train,"))
    with pytest.raises(RunError, match="was changed"):
        apply_split(table, file)


def test_groups_are_not_divided(data, tmp_path):
    table = pd.read_csv(data)
    # Of each subject two pairs, as an audit writes them, with columns that do not matter here.
    table["group"] = [f"{row.subject}-{index % 2}" for index, row in table.iterrows()]
    table.assign(kind="near")[["group", "kind", "path"]].to_csv(tmp_path / "groups.csv", index=False)
    by_path = dict(zip(table["path"], table["group"]))

    def divided(name: str, **changes) -> int:
        (tmp_path / name).mkdir()
        _, found = begin(tmp_path / name, data, split_level="image", allow_leakage=True, **changes)
        assert set(found["split"]) == {"train", "val", "test"}
        return crossing(found, found["path"].map(by_path))

    assert divided("without") > 0
    assert divided("with", groups_file=str(tmp_path / "groups.csv")) == 0


def test_groups_of_other_data_are_refused(data, tmp_path):
    (tmp_path / "groups.csv").write_text("path,group\nelsewhere.png,1\n")
    with pytest.raises(InputError, match="such as `0_0.png`.*`elsewhere.png`"):
        begin(tmp_path, data, groups_file=str(tmp_path / "groups.csv"))


@pytest.mark.parametrize("changes", [{"split_level": "subject"}, {"groups_file": "groups.csv"}])
def test_a_finished_split_takes_no_further_wishes(changes):
    with pytest.raises(InputError, match="--split"):
        DataSpec(split_file="split.csv", **changes)


def test_a_run_goes_on_with_its_own_split_only(data, tmp_path):
    run, table = begin(tmp_path, data)
    assert list(prepare_table(run.recipe, run, False)[1]["split"]) == list(table["split"])
    run.update_info(status="training")  # as soon as its images were read
    assert list(prepare_table(run.recipe, run, False)[1]["split"]) == list(table["split"])
    # A leak written into the table by hand, of one image and of a whole subject.
    text = (tmp_path / "table.csv").read_text()
    subject = table.loc[table["split"] == "test", "subject"].iat[0]
    moved = table.assign(split=table["split"].mask(table["subject"] == subject, "train"))
    moved.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(RunError, match="into different splits"):
        prepare_table(run.recipe, run, False)
    (tmp_path / "table.csv").write_text(text)
    write_split(tmp_path / "split.csv", moved)
    with pytest.raises(RunError, match="not the split that this run began with"):
        prepare_table(run.recipe, run, False)
    # A run of an older version has no such file.
    (tmp_path / "split.csv").unlink()
    prepare_table(run.recipe, run, False)


def test_killed_between_table_and_run_json_it_begins_anew(data, tmp_path):
    run, table = begin(tmp_path, data)
    (tmp_path / "run.json").unlink()
    assert list(prepare_table(run.recipe, run, False)[1]["split"]) == list(table["split"])
    assert run.info["split_hash"] == read_split(tmp_path / "split.csv").attrs["split_hash"]


@pytest.fixture
def train(data, monkeypatch, capsys):
    """The command in this process, on a few features: exit code, output, errors."""
    monkeypatch.setattr(cli, "_load_tensorflow", lambda *_: None)
    monkeypatch.setattr(cli, "_log_to_stderr", lambda level: None)
    monkeypatch.setattr(logging.getLogger("leukemia_tf"), "propagate", False)

    def call(*arguments) -> tuple[int, str, list[str]]:
        small = ["families=color", "classifier=logistic"]
        words = ["train", "handcrafted", "--data", data, "--image-size", 32, "--set", "bootstrap=20", *arguments]
        words += [word for option in small for word in ("--set", f"model.options.{option}")]
        code = cli.main([str(word) for word in words])
        out, errors = capsys.readouterr()
        return code, out, [line for line in errors.splitlines() if line.startswith("error: ")]

    return call


def test_a_leaky_run_is_stamped_wherever_its_figures_stand(train, tmp_path, capsys):
    image = ["--set", "data.split_level=image"]
    code, _, errors = train("--run-dir", tmp_path / "run", *image)
    assert code == 2 and len(errors) == 1 and "--allow-leakage" in errors[0]
    code, out, _ = train("--run-dir", tmp_path / "run", *image, "--allow-leakage")
    assert code == 0 and out.startswith(LEAKY_SPLIT)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["stamp"] == LEAKY_SPLIT
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.index("LEAKY SPLIT") < page.index("<h1>")

    # The figures still follow from the predictions, and the stamp cannot be lost.
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith(LEAKY_SPLIT)
    del metrics["stamp"]
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 1
    assert "`stamp` is missing" in capsys.readouterr().err


def test_a_clean_run_is_not_stamped_and_lends_its_split(train, tmp_path):
    code, out, _ = train("--run-dir", tmp_path / "a", "--groups", tmp_path / "groups.csv")
    assert code == 2
    (tmp_path / "groups.csv").write_text("path,group\n0_0.png,1\n2_0.png,1\n")
    code, out, _ = train("--run-dir", tmp_path / "a", "--groups", tmp_path / "groups.csv")
    assert code == 0 and "LEAKY" not in out and "stamp" not in read_json(tmp_path / "a" / "metrics.json")
    assert "LEAKY" not in (tmp_path / "a" / "report.html").read_text()
    table = pd.read_csv(tmp_path / "a" / "table.csv", index_col="path")
    assert table.loc["0_0.png", "split"] == table.loc["2_0.png", "split"]  # and with them subjects s0 and s2
    code, *_ = train("--run-dir", tmp_path / "b", "--split", tmp_path / "a" / "split.csv", "--seed", 9)
    assert code == 0
    assert load_run(tmp_path / "b").info["split_hash"] == load_run(tmp_path / "a").info["split_hash"]
    assert dataclasses.asdict(load_run(tmp_path / "b").recipe.data)["split_file"].endswith("split.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "data.split_level=patient"], "'auto', 'subject', 'image' or 'official'"),
        (["--split", "no.csv"], "no.csv"),
        (["--split", "no.csv", "--groups", "no.csv"], "goes with neither"),
        (["--set", "data.split_level=official"], "received 0 of 40"),
    ],
)
def test_wrong_use_of_splits_is_one_line(train, arguments, message, tmp_path):
    code, _, errors = train("--run-dir", tmp_path / "run", *arguments)
    assert code == 2 and len(errors) == 1 and message in errors[0]
