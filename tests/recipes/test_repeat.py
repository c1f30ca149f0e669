"""Cross-validation and repeated seeds: each a full run, interrupted and resumed, summarised as by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tiny_runs import EACH, SUBJECTS, estimator, network, register, write_images

from leukemia_tf.data import read_split, split_data
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation import compute_metrics, read_predictions
from leukemia_tf.evaluation.metrics import LEAKY_SPLIT, METRICS
from leukemia_tf.files import read_json
from leukemia_tf.recipes import load_run
from leukemia_tf.recipes.repeat import repeat_recipe
from leukemia_tf.recipes.train_recipe import train_recipe

NAMES = ("predictions.csv", "metrics.json", "history.csv", "table.csv", "split.csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("cells"))


@pytest.fixture(autouse=True)
def models(monkeypatch):
    register(monkeypatch)


def change(recipe, **changes):
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **changes))


def of_runs(group, metric: str) -> np.ndarray:
    return np.array([load_run(group.path / part.name).metrics[metric]["value"] for part in group.parts], float)


def student(values: np.ndarray) -> tuple[float, float]:
    """Student's interval of the mean; SciPy's test warns where all values are equal."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - half, values.mean() + half


@pytest.fixture(scope="module")
def folded(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return repeat_recipe(network(data), tmp_path_factory.mktemp("groups") / "folds", folds=2, progress=False)


def test_every_image_is_tested_once_and_no_subject_is_divided(folded):
    assert [part.name for part in folded.parts] == ["fold-1", "fold-2"] and not folded.missing
    tested = []
    for part in folded.parts:
        table = pd.read_csv(folded.path / part.name / "table.csv")
        assert (table.groupby("subject")["split"].nunique() == 1).all()
        assert set(table["split"]) == {"train", "val", "test"}
        assert (folded.path / part.name / "report.html").exists()
        tested += list(read_predictions(folded.path / part.name / "predictions.csv")[0]["path"])
    assert len(tested) == len(set(tested)) == SUBJECTS * EACH
    frame = read_split(folded.path / "split.csv")
    assert sorted(set(frame["fold"])) == ["0.0", "0.1"]
    assert frame.attrs["split_hash"] == read_json(folded.path / "group.json")["split_hash"]


def test_the_summary_is_what_one_computes_by_hand(folded):
    summary = read_json(folded.path / "summary.json")
    assert summary == folded.summary and summary["t_interval_over"] == "fold"
    table = pd.read_csv(folded.path / "summary.csv", index_col="metric")
    assert list(table.index) == list(METRICS)
    for metric in METRICS:
        values = of_runs(folded, metric)
        row = table.loc[metric]
        expected = (values.mean(), values.std(ddof=1), values.min(), values.max())
        assert tuple(row[["mean", "sd", "min", "max"]]) == pytest.approx(expected)
        assert (row["t_low"], row["t_high"]) == pytest.approx(student(values))
    # Pooled: the files one after the other, judged as one set of predictions, by subject.
    found = [read_predictions(folded.path / part.name / "predictions.csv") for part in folded.parts]
    pooled = pd.concat([frame for frame, _ in found]).sort_values("path", ignore_index=True)
    expected = compute_metrics(pooled, found[0][1], bootstrap=30, seed=0)
    assert read_json(folded.path / "metrics.json") == expected
    assert summary["pooled"]["unit"] == "subject" and summary["pooled"]["n_units"] == SUBJECTS
    for metric in METRICS:
        assert summary["pooled"][metric] == {key: expected[metric][key] for key in ("value", "low", "high")}
    page = (folded.path / "summary.html").read_text()
    for text in ("Research use only", "no unbiased estimate", f"resamples of {SUBJECTS} subjects", "fold-2/report"):
        assert text in page
    assert "http" not in page.split("<main>")[1] and (folded.path / "summary.png").stat().st_size > 5000


def test_a_fold_is_the_same_as_a_run_of_its_own(folded, tmp_path):
    part = folded.parts[1]
    train_recipe(part.recipe, tmp_path / "alone", progress=False)
    for name in NAMES:
        assert (tmp_path / "alone" / name).read_text() == (folded.path / part.name / name).read_text(), name


def test_an_interrupted_group_goes_on_and_ends_the_same(folded, data, tmp_path, monkeypatch):
    from leukemia_tf.recipes import verdict

    written = []

    def interrupt(*arguments):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(whole(*arguments))

    whole = verdict.write_verdict
    with monkeypatch.context() as patch:
        patch.setattr(verdict, "write_verdict", interrupt)
        with pytest.raises(KeyboardInterrupt):
            repeat_recipe(network(data), tmp_path, folds=2, progress=False)
    summary = read_json(tmp_path / "summary.json")
    assert summary["missing"] == ["fold-2"] and summary["pooled"] == {}
    assert summary["spread"]["accuracy"]["n"] == 1 and summary["spread"]["accuracy"]["sd"] is None
    before = (tmp_path / "fold-1" / "model.keras").stat().st_mtime_ns
    group = repeat_recipe(network(data), tmp_path, folds=2, progress=False)
    assert not group.missing and (tmp_path / "fold-1" / "model.keras").stat().st_mtime_ns == before
    names = [f"{part.name}/{name}" for part in group.parts for name in NAMES]
    for name in ("summary.csv", "runs.csv", "split.csv", *names):
        assert (tmp_path / name).read_text() == (folded.path / name).read_text(), name


def test_the_budget_is_that_of_all_runs(data, tmp_path):
    group = repeat_recipe(network(data, minutes=1e-4), tmp_path, folds=3, progress=False)
    assert group.missing == ["fold-1", "fold-2", "fold-3"] and group.summary is None
    assert not (tmp_path / "fold-2").exists()
    # What is fitted in one go takes no minutes itself; here the first is all that there is time for.
    group = repeat_recipe(estimator(data, minutes=1e-3), tmp_path / "fitted", seeds=2, progress=False)
    assert group.missing == ["seed-0", "seed-1"]
    group = repeat_recipe(estimator(data), tmp_path / "fitted", seeds=2, progress=False)
    assert group.missing == []


def test_seeds_share_one_split(data, tmp_path):
    group = repeat_recipe(estimator(data, seed=4), tmp_path, seeds=3, progress=False)
    assert [part.name for part in group.parts] == ["seed-4", "seed-5", "seed-6"]
    assert {load_run(tmp_path / part.name).info["split_hash"] for part in group.parts} == {
        read_json(tmp_path / "group.json")["split_hash"]
    }
    assert [load_run(tmp_path / part.name).recipe.seed for part in group.parts] == [4, 5, 6]
    assert group.summary["pooled"] == {} and group.summary["t_interval_over"] == "seed"
    assert "training alone" in group.summary["how"][0]
    assert not (tmp_path / "predictions.csv").exists()
    values = of_runs(group, "accuracy")
    assert group.summary["spread"]["accuracy"]["mean"] == pytest.approx(values.mean())


def test_each_seed_has_folds_of_its_own(data, tmp_path):
    group = repeat_recipe(estimator(data), tmp_path, folds=2, seeds=2, progress=False)
    assert [part.name for part in group.parts][:3] == ["seed-0/fold-1", "seed-0/fold-2", "seed-1/fold-1"]
    frame = read_split(tmp_path / "split.csv")
    tested = {fold: frozenset(rows["path"][rows["split"] == "test"]) for fold, rows in frame.groupby("fold")}
    assert len(tested) == 4 and tested["0.0"] not in (tested["1.0"], tested["1.1"])
    # The interval is that of the two means, not of four runs that test the same images again.
    means = of_runs(group, "accuracy").reshape(2, 2).mean(1)
    entry = group.summary["spread"]["accuracy"]
    assert entry["n"] == 4 and group.summary["t_interval_over"] == "seed"
    assert (entry["low"], entry["high"]) == pytest.approx(student(means))
    pooled = [read_json(tmp_path / f"seed-{seed}" / "metrics.json")["auc"]["value"] for seed in range(2)]
    assert group.summary["pooled"]["auc"]["value"] == pytest.approx(np.mean(pooled))


def test_folds_of_a_file_are_used(folded, data, tmp_path):
    file = folded.path / "split.csv"
    group = repeat_recipe(change(estimator(data), split_file=str(file)), tmp_path / "a", folds=2, progress=False)
    assert read_split(tmp_path / "a" / "split.csv").equals(read_split(file))
    assert read_json(tmp_path / "a" / "fold-2" / "run.json")["split_hash"] == load_run(
        folded.path / "fold-2"
    ).info["split_hash"]
    assert not group.missing
    with pytest.raises(InputError, match="of 3 folds, once or for each of 1 seeds. Received: .*1 times 2 folds"):
        repeat_recipe(change(estimator(data), split_file=str(file)), tmp_path / "b", folds=3, progress=False)
    single = str(folded.path / "fold-1" / "split.csv")
    with pytest.raises(InputError, match="is a file of 2 folds"):
        repeat_recipe(change(estimator(data), split_file=single), tmp_path / "c", folds=2, progress=False)


def test_a_leak_is_stamped(data, tmp_path):
    leaky = change(estimator(data), split_level="image", allow_leakage=True)
    group = repeat_recipe(leaky, tmp_path, folds=2, progress=False)
    assert group.summary["stamp"] == LEAKY_SPLIT == read_json(tmp_path / "metrics.json")["stamp"]
    assert "LEAKY SPLIT" in (tmp_path / "summary.html").read_text()


def test_folds_that_came_with_the_data(tmp_path):
    write_images(tmp_path / "cells", folds=2)
    (tmp_path / "cells" / "table.csv").unlink()
    manifest = tmp_path / "cells" / "mine.yaml"
    manifest.write_text(
        "name: mine\ntitle: Mine\nlicence: none\ncitation: none\nhomepage: none\nclasses: [healthy, blast]\n"
        "layout: files\nofficial_split: false\nlabel_from: '(?:^|/)(?P<label>healthy|blast)_'\n"
        "subject_from: '_s(?P<subject>\\d+)_'\nfold_from: '(?:^|/)fold_(?P<fold>\\d+)/'\n"
    )
    group = repeat_recipe(estimator(manifest), tmp_path / "group", folds=2, seeds=2, progress=False)
    # The two seeds are tested on the same folds, and the images of no fold take no part.
    assert [part.recipe.data.split_fold for part in group.parts] == ["0.0", "0.1"] * 2
    assert group.summary["split_level"] == "official" and group.summary["pooled"]["n_images"] == SUBJECTS * EACH
    tested = pd.read_csv(tmp_path / "group" / "seed-1" / "fold-2" / "predictions.csv")["path"]
    assert tested.str.startswith("fold_1/").all() and len(tested) == SUBJECTS * EACH / 2
    with pytest.raises(InputError, match="`--folds` is 2 for `mine`, the number of its own folds.* Received: 5"):
        repeat_recipe(estimator(manifest), tmp_path / "five", folds=5, progress=False)
    # So do they in a run of one of the folds that `data split` writes.
    written = split_data(manifest, tmp_path / "splits", official_folds=True, progress=False)
    recipe = change(estimator(manifest), split_file=str(written[1].file))
    alone = train_recipe(recipe, tmp_path / "alone", progress=False)
    tested = pd.read_csv(tmp_path / "alone" / "predictions.csv")["path"]
    assert tested.str.startswith("fold_1/").all() and len(tested) == SUBJECTS * EACH / 2
    assert alone.info["split_level"] == "official"


def test_an_official_split_has_no_folds(data, tmp_path):
    frame = pd.read_csv(data)
    subject = frame["subject"].str[1:].astype(int)
    frame["split"] = np.where(subject < 6, "train", np.where(subject < 8, "val", "test"))
    official = data.parent / "official.csv"
    frame.to_csv(official, index=False)
    with pytest.raises(InputError, match="repeat that by --seeds, .* by --set data.split_level=subject. Received: 3"):
        repeat_recipe(estimator(official), tmp_path / "a", folds=3, progress=False)
    group = repeat_recipe(estimator(official), tmp_path / "b", seeds=2, progress=False)
    assert group.summary["split_level"] == "official"
    assert {run["test_images"] for run in group.summary["runs"]} == {16}


def test_what_is_refused(folded, data, tmp_path):
    for options, message in (
        ({"folds": 1}, "`--folds` is 2 or more. Received: 1"),
        ({"seeds": 0}, "`--seeds` is 2 or more. Received: 0"),
        ({}, "Received: neither"),
        ({"folds": 99}, "needs 99 subjects"),
    ):
        with pytest.raises(InputError, match=message):
            repeat_recipe(estimator(data), tmp_path / "run", **options, progress=False)
    with pytest.raises(InputError, match="--folds is 2 there and 3 here; seed is 0 there and 1 here"):
        repeat_recipe(network(data, seed=1), folded.path, folds=3, progress=False)
    with pytest.raises(InputError, match="another recipe: name is 'tiny' there and 'greyness' here. Give that command"):
        repeat_recipe(estimator(data), folded.path, folds=2, progress=False)
    with pytest.raises(InputError, match="is a new or empty folder"):
        repeat_recipe(network(data), folded.path / "fold-1", folds=3, progress=False)
    with pytest.raises(InputError, match="`data.split_fold` is a fold of `data.split_file`"):
        change(estimator(data), split_fold="0.1")
    other = change(estimator(data), split_file=str(folded.path / "split.csv"), split_fold="0.9")
    with pytest.raises(InputError, match="0.0, 0.1. Received: '0.9'"):
        train_recipe(other, tmp_path / "other", progress=False)


def test_a_run_that_fails_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "leukemia_tf.recipes.verdict.write_verdict", lambda *arguments: (_ for _ in ()).throw(RunError("no luck"))
    )
    with pytest.raises(RunError, match="^seed-0/fold-1: no luck"):
        repeat_recipe(estimator(data), tmp_path, folds=2, seeds=2, progress=False)
