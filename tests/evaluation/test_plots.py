"""Plots show the numbers of the metrics, leave out what is not defined, and survive any class name."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.evaluation import plots
from leukemia_tf.evaluation.metrics import compute_metrics
from leukemia_tf.evaluation.predictions import make_predictions

NASTY = ["<script>alert('x')</script>", 'a, "b" $\\frac{1$', "白血病\n細胞", "d" * 80]


def case(classes, n_images=60, subjects=True, present=None, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(n_images) % (present or len(classes))
    scores = generator.random((n_images, len(classes))) + 0.8 * np.eye(len(classes))[labels]
    table = pd.DataFrame(
        {
            "path": [f"cells/{i}.png" for i in range(n_images)],
            "subject": [f"s{i // 5}" for i in range(n_images)] if subjects else [""] * n_images,
            "label": [classes[i] for i in labels],
        }
    )
    frame = make_predictions(table, scores / scores.sum(axis=1, keepdims=True), classes)
    return frame, compute_metrics(frame, classes, bootstrap=30)


def history():
    return pd.DataFrame(
        {
            "phase": ["head", "head", "all", "all", "all"],
            "epoch": [0, 1, 0, 1, 2],
            "loss": [1.0, 0.8, 0.5, 0.4, 0.3],
            "val_loss": [1.1, 0.9, 0.7, np.nan, 0.6],
            "accuracy": [0.5, 0.6, 0.7, 0.8, 0.9],
            "learning_rate": [1e-3, 1e-3, 1e-4, 1e-4, 1e-5],
        }
    )


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_confusion_matrix_shows_counts_and_shares():
    metrics = {"confusion_matrix": [[398, 17], [35, 350]], "classes": ["healthy", "cancerous"]}
    axes = plots.plot_confusion(metrics).axes[0]
    assert texts(axes) == ["398\n95.9 %", "17\n4.1 %", "35\n9.1 %", "350\n90.9 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["healthy", "cancerous"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")


def test_roc_and_precision_recall_curves_enclose_the_metric():
    frame, metrics = case(["hem", "all"])
    curve = plots.plot_roc(frame, metrics).axes[0].lines[1]
    x, y = curve.get_data()
    assert np.trapezoid(y, x) == pytest.approx(metrics["auc"]["value"])
    assert f"{metrics['auc']['value']:.3f} ({metrics['auc']['low']:.3f} to" in curve.get_label()
    recall, precision = plots.plot_precision_recall(frame, metrics).axes[0].lines[0].get_data()
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(metrics["average_precision"]["value"])


def test_one_curve_a_class_and_none_for_an_absent_one():
    frame, metrics = case(["a", "b", "c", "d"], present=3)
    for figure in (plots.plot_roc(frame, metrics), plots.plot_precision_recall(frame, metrics)):
        labels = [line.get_label()[:2] for line in figure.axes[0].lines if ":" in line.get_label()]
        assert labels == ["a:", "b:", "c:"]
    frame, metrics = case(["n", "p"], present=1)
    assert plots.plot_roc(frame, metrics) is None and plots.plot_precision_recall(frame, metrics) is None


def test_history_has_a_line_between_phases():
    figure = plots.plot_history(history())
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [2.5]
    assert texts(figure.axes[0]) == ["head", "all"]
    assert figure.axes[2].get_yscale() == "log"
    assert plots.plot_history(pd.DataFrame({"phase": ["head"], "epoch": [0]})) is None


def test_subjects_are_sorted_and_need_to_be_known():
    frame, _ = case(["n", "p"], n_images=20)
    accuracy = (frame["label"] == frame["prediction"]).groupby(frame["subject"]).mean()
    axes = plots.plot_subjects(frame, ["n", "p"]).axes[0]
    names = [label.get_text().split(" ")[0] for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(accuracy.index)
    assert list(accuracy[names]) == sorted(accuracy, reverse=True)  # the lowest stands on top
    frame.loc[0, "subject"] = ""
    assert plots.plot_subjects(frame, ["n", "p"]) is None


def test_at_most_forty_subjects_are_drawn():
    frame, _ = case(["n", "p"], n_images=500)
    axes = plots.plot_subjects(frame, ["n", "p"]).axes[0]
    assert len(axes.get_yticks()) == 40 and "40 lowest of 100 subjects" in axes.get_title()


def test_most_confident_errors_by_hand():
    table = pd.DataFrame({"path": [f"d/{i}.png" for i in range(5)], "label": ["n", "p", "n", "p", ""]})
    frame = make_predictions(table, np.array([0.7, 0.6, 0.9, 0.05, 0.99]), ["n", "p"])
    errors = plots.most_confident_errors(frame)
    assert errors["row"].tolist() == [3, 2, 0]
    assert errors["confidence"].tolist() == [0.95, 0.9, 0.7]
    assert errors["caption"][0] == "true p\npredicted n (0.950)\n3.png"
    assert plots.most_confident_errors(frame, 1)["row"].tolist() == [3]
    assert len(plots.most_confident_errors(frame.iloc[1:2])) == 0


@pytest.mark.parametrize("classes", [["hem", "all"], NASTY], ids=["binary", "awkward names"])
def test_all_plots_are_written(tmp_path, classes):
    figures_before = matplotlib._pylab_helpers.Gcf.get_all_fig_managers()
    frame, metrics = case(classes)
    images = [(np.full((20, 30, 3), 90, np.uint8), f"true {classes[0]}\n$x_{{1")] * 5
    given = {"predictions": frame, "metrics": metrics, "history": history(), "error_images": images}
    paths = plots.save_plots(tmp_path / "plots", **given)
    assert set(paths) == {"confusion", "roc", "precision_recall", "learning_curves", "subjects", "errors"}
    for path in paths.values():
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width > 400
            assert np.asarray(image.convert("L")).std() > 1  # something is drawn
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(f"{name}.png" for name in paths)
    assert matplotlib._pylab_helpers.Gcf.get_all_fig_managers() == figures_before


def test_a_single_image_and_nothing_else(tmp_path):
    frame, metrics = case(["n", "p"], n_images=1, subjects=False)
    assert set(plots.save_plots(tmp_path, predictions=frame, metrics=metrics)) == {"confusion"}


@pytest.mark.parametrize("value, text", [(1.0, "1.000"), (0.99962, "> 0.999"), (0.9994, "0.999"), (0.0, "0.000")])
def test_nothing_is_rounded_up_to_perfect(value, text):
    assert plots.three_digits(value) == text


def test_a_verdict_adds_reliability_risk_and_the_operating_point(tmp_path):
    from leukemia_tf.evaluation.decision import fit_decision
    from leukemia_tf.evaluation.verdict import compute_verdict

    frame, _ = case(("hem", "all"), subjects=False)
    probabilities = frame["prob_all"].to_numpy() ** 3
    decision = fit_decision(frame, probabilities, ("hem", "all"))
    judged = decision.apply(frame, probabilities)
    metrics = compute_verdict(judged, decision, bootstrap=0)
    paths = plots.save_plots(tmp_path, predictions=judged, metrics=metrics)
    assert {"reliability", "risk_coverage", "roc"} <= set(paths) and all(path.stat().st_size for path in paths.values())
    marked = [line for line in plots.plot_roc(judged, metrics).axes[0].lines if line.get_marker() == "o"]
    (place,) = [tuple(map(float, line.get_xydata()[0])) for line in marked]
    positive = judged["label"] == "all"
    called = judged["prob_all"] >= decision.threshold
    assert place == pytest.approx((called[~positive].mean(), called[positive].mean()))
