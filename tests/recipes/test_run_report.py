"""A small real run with everything switched on: its files, its report, its export, and what `report --verify` finds."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.cli import main
from leukemia_tf.data import load_pixels, open_data
from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.models import list_models, register_model, registry
from leukemia_tf.models.heads import classify
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe, load_run
from leukemia_tf.recipes.evaluate import evaluate
from leukemia_tf.recipes.grouping import group_columns
from leukemia_tf.recipes.train_recipe import train_recipe
from leukemia_tf.training import Phase


@pytest.fixture(scope="module", params=[1, 2], ids=["sigmoid", "softmax"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    list_models()  # so that all others are registered before the copy
    _, table = open_data("sample")
    ages = pd.DataFrame({"path": table["path"], "age": np.arange(len(table)) % 80, "scanner": table["subject"].str[0]})
    ages.to_csv(folder / "ages.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

        @register_model("pooled")
        def pooled(num_classes=2, image_size=16, units=1):
            inputs = keras.Input((image_size, image_size, 3), name="image")
            x = keras.layers.Conv2D(6, 5, strides=2, activation="gelu")(keras.layers.Rescaling(1 / 255)(inputs))
            x = keras.layers.GlobalAveragePooling2D()(x)
            return keras.Model(inputs, classify(x, num_classes, two_class_units=units))

        recipe = Recipe(
            name="pooled",
            title="Pooled <b>cells</b> | with marks",
            model=ModelSpec("pooled", {"units": request.param}, weights="none"),
            data=DataSpec(image_size=16, batch_size=32),
            phases=(Phase("all", layers="all", epochs=6, learning_rate=1e-2),),
            verdict=VerdictRules(
                calibration="isotonic" if request.param == 2 else "temperature",
                tta="d4" if request.param == 2 else "none",
                subgroups=("age:3", "scanner", "subject"),
                subgroup_file=str(folder / "ages.csv"),
            ),
            deterministic="off",
            bootstrap=30,
        )
        # Plots are a good part of the time and tested with the functions that draw them.
        patch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
        yield train_recipe(recipe, folder / "run", progress=False)


def test_every_number_follows_from_the_predictions(run, capsys):
    assert main(["report", str(run.path), "--verify"]) == 0
    assert "to the last digit" in capsys.readouterr().out


def test_a_changed_digit_in_what_is_shown_is_named(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    skipped = shutil.ignore_patterns("saved_model", "checkpoints", "*.keras")
    shutil.copytree(run.path, copy, ignore=skipped)
    shown = f"{100 * run.metrics['accuracy']['value']:.1f} %"
    page = (copy / "report.html").read_text()
    (copy / "report.html").write_text(page.replace(shown, "99.9 %", 1))
    assert main(["report", str(copy), "--verify"]) == 1
    error = capsys.readouterr().err
    assert "error: report.html: line" in error and "99.9 %" in error
    card = (copy / "model_card.md").read_text()
    value = f"{run.metrics['accuracy']['value']:.4f}"
    assert value in card
    (copy / "model_card.md").write_text(card.replace(value, "0.9999"))
    facts = json.loads((copy / "metadata.json").read_text())
    facts["metrics"]["auc"]["value"] = 0.999
    (copy / "metadata.json").write_text(json.dumps(facts))
    main(["report", str(copy), "--verify"])
    error = capsys.readouterr().err
    assert "model_card.md: line" in error and "metadata.json: `metrics.auc.value` is stored as 0.999" in error
    # Written again from the run's files, all is well.
    assert main(["report", str(copy)]) == 0 and main(["report", str(copy), "--verify"]) == 0


def test_the_page_has_every_section_and_nothing_from_elsewhere(run):
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert len(page) < 5_000_000 and "http-equiv=\"Content-Security-Policy\"" in page
    assert "<b>cells</b>" not in page and "&lt;b&gt;cells&lt;/b&gt;" in page
    headings = ["Operating point", "Calibration", "Subjects", "Subgroups", "Knowing when not to know"]
    headings += ["Audit of the data", "Reporting checklists"]
    headings += ["Test-time augmentation"] if run.recipe.verdict.tta != "none" else []
    for heading in headings:
        assert f">{heading}</h2>" in page, heading
    worst = {report["column"]: report["worst"]["group"] for report in run.metrics["subgroups"]}
    assert set(worst) == {"age", "scanner", "subject"}
    assert all(f"Worst: <strong>{group}</strong>" in page.replace("&gt;", ">") for group in worst.values())
    for item in ("CLAIM 2024", "TRIPOD+AI"):
        assert item in page


def test_card_and_metadata_say_the_same(run):
    card = (run.path / "model_card.md").read_text(encoding="utf-8")
    facts = json.loads((run.path / "metadata.json").read_text(encoding="utf-8"))
    assert "Research use only" in card and "SYNTHETIC DATA" in card and facts["data"]["split_hash"] in card
    assert "<b>" not in card and "&lt;b&gt;" in card
    answered = [item for item in facts["checklists"] if item["answer"]]
    still = [item for item in facts["checklists"] if not item["answer"]]
    assert len(facts["checklists"]) == 96 and 40 <= len(answered) < 60
    assert card.count("- [ ] ") == len(still) and "- [ ] 44 Funding" in card
    disjoint = next(item for item in answered if item["about"] == "Level at which the splits are disjoint")
    assert disjoint["answer"] == "Subjects: none lies in two splits (split by subject)"
    assert len(facts["failure_gallery"]) == len(list((run.path / "gallery").glob("*.png")))


def test_an_audit_can_be_added(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns("saved_model", "checkpoints", "*.keras"))
    (tmp_path / "audit").mkdir()
    summary = {"images": 600, "severities": {"leak": 0, "error": 2}, "findings": [
        {"kind": "near duplicate", "severity": "error", "count": 2},
    ]}  # fmt: skip
    (tmp_path / "audit" / "audit.json").write_text(json.dumps(summary))
    assert main(["report", str(copy), "--audit", str(tmp_path / "audit")]) == 0
    assert "| near duplicate | error | 2 |" in (copy / "model_card.md").read_text()
    assert "near duplicate" in (copy / "report.html").read_text()
    assert main(["report", str(copy), "--verify"]) == 0
    assert main(["report", str(copy), "--audit", str(tmp_path)]) == 2
    assert main(["report", str(copy), "--verify", "--audit", str(tmp_path)]) == 2


def test_the_export_decides_as_the_run_does(run):
    stored = pd.read_csv(run.path / "predictions.csv", keep_default_na=False)
    manifest, table = open_data("sample")
    test = table.set_index("path").loc[stored["path"]].reset_index()
    pixels = load_pixels(manifest, test, 16, progress=False)
    serve = tf.saved_model.load(str(run.path / "saved_model")).signatures["serving_default"]
    found = {name: value.numpy() for name, value in serve(images=tf.constant(pixels, tf.float32)).items()}
    np.testing.assert_allclose(found["probabilities"], stored[["prob_HEM", "prob_ALL"]], atol=1e-5)
    np.testing.assert_allclose(found["raw_probabilities"], stored[["raw_prob_HEM", "raw_prob_ALL"]], atol=1e-5)
    np.testing.assert_allclose(found["mahalanobis"], stored["mahalanobis"], rtol=1e-2, atol=1e-3)
    threshold = run.decision.threshold
    clear = np.abs(stored["prob_ALL"] - threshold) > 1e-4
    assert clear.mean() > 0.9
    assert list(found["prediction"].astype(str)[clear]) == list(stored["prediction"][clear])
    apart = np.abs(stored["mahalanobis"] / run.decision.strangeness["mahalanobis"] - 1) > 0.02
    for name, limit in run.decision.strangeness.items():
        apart &= np.abs(stored[name] - limit) > 1e-3
    np.testing.assert_array_equal(found["out_of_distribution"][apart], stored["out_of_distribution"][apart] == 1)
    assert ("energy" in found) == (run.recipe.model.options["units"] == 2)
    model = json.loads((run.path / "saved_model" / "assets.extra" / "model.json").read_text())
    assert model["decision"] == run.decision.to_dict()


def test_predict_and_evaluate_decide_as_the_run_does(run, tmp_path):
    stored = pd.read_csv(run.path / "predictions.csv", keep_default_na=False)
    root = open_data("sample")[0].root
    again = load_run(run.path)
    found = again.predict([root / path for path in stored["path"]])
    for column in ("prob_ALL", "raw_prob_ALL", "mahalanobis"):
        np.testing.assert_allclose(found[column], stored[column], rtol=1e-4, atol=1e-5, err_msg=column)
    assert {"out_of_distribution"} <= set(found) and (found["prediction"] == stored["prediction"]).mean() > 0.98
    judged = evaluate(again, "sample", output=tmp_path / "other", progress=False)
    assert judged["n_images"] == 600 and judged["operating_point"]["chosen"]["threshold"] == run.decision.threshold
    files = {file.name for file in (tmp_path / "other").iterdir()}
    assert files == {"decision.json", "metrics.json", "predictions.csv"}


def test_columns_that_are_not_there(tmp_path):
    table = pd.DataFrame({"path": ["a", "b"], "source": ["x", "y"]})
    with pytest.raises(InputError, match="names columns: source. Received: age"):
        group_columns(VerdictRules(subgroups=("age:3",)), table)
    (tmp_path / "ages.csv").write_text("path,age\na,1\n")
    rules = VerdictRules(subgroups=("age:3",), subgroup_file=str(tmp_path / "ages.csv"))
    with pytest.raises(InputError, match="without 1, such as `b`"):
        group_columns(rules, table)
    assert group_columns(rules, table, all_images=False)["age"].isna().tolist() == [False, True]
    (tmp_path / "ages.csv").write_text("path,age\na,1\na,2\n")
    with pytest.raises(InputError, match="each image once"):
        group_columns(rules, table)
