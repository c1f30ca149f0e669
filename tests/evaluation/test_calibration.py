"""Calibration against optima found another way, scikit-learn and cases worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, log_softmax, softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.calibration import Calibration, fit_calibration, fit_temperature
from leukemia_tf.evaluation.calibration_metrics import (
    brier_score,
    calibration_error,
    measure_calibration,
    reliability_curve,
)
from leukemia_tf.evaluation.plots_analysis import plot_reliability, save_figure
from leukemia_tf.evaluation.predictions import make_predictions

CLASSES = ("a", "b", "c", "d")


def case(n_classes=2, n_images=400, sharpen=2.5, seed=0):
    """Overconfident logits: labels are drawn from the softmax of the logits, which are then multiplied."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=(n_images, n_classes))
    draws = generator.random((n_images, 1))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < draws).sum(axis=1)
    return sharpen * logits, labels


def frame_of(probabilities, labels, subjects=None):
    classes = CLASSES[: np.shape(probabilities)[1]]
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": [classes[i] for i in labels]})
    if subjects is not None:
        table["subject"] = subjects
    return make_predictions(table, probabilities, classes), classes


@pytest.mark.parametrize("n_classes", [2, 4])
def test_temperature_is_the_minimum(n_classes):
    logits, labels = case(n_classes)

    def loss(log_temperature):
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean()

    expected = np.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded", options={"xatol": 1e-9}).x)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(expected, rel=1e-5)
    assert temperature == pytest.approx(2.5, rel=0.25)  # what the logits were multiplied by
    frame, classes = frame_of(softmax(logits, axis=1), labels)
    assert fit_calibration(frame, classes).parameters["temperature"] == pytest.approx(expected, rel=1e-3)
    if n_classes == 2:
        assert fit_temperature(logits[:, 1] - logits[:, 0], labels) == pytest.approx(expected, rel=1e-5)
        assert fit_temperature((logits[:, 1] - logits[:, 0])[:, None], labels) == pytest.approx(expected, rel=1e-5)


def test_temperature_by_hand():
    # Logit z of every image, three of four right: the best probability is 3/4, so z / T = log 3.
    assert fit_temperature(np.full(4, 5.0), [1, 1, 1, 0]) == pytest.approx(5.0 / np.log(3.0))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_temperature_changes_no_ranking_and_no_prediction(n_classes):
    logits, labels = case(n_classes)
    frame, classes = frame_of(softmax(logits, axis=1), labels)
    after = fit_calibration(frame, classes).apply_to(frame)
    assert (after["prediction"] == frame["prediction"]).all()
    for name in classes if n_classes == 2 else ():
        assert np.array_equal(np.argsort(after[f"prob_{name}"]), np.argsort(frame[f"prob_{name}"]))
    assert np.array_equal(
        np.argsort(after.filter(like="prob_").to_numpy(), axis=1), np.argsort(frame.filter(like="prob_"), axis=1)
    )


def test_a_temperature_of_probabilities_is_that_of_logits():
    logits, labels = case(3)
    calibration = Calibration("temperature", CLASSES[:3], {"temperature": 1.7}, 1)
    assert calibration.apply(softmax(logits, axis=1)) == pytest.approx(softmax(logits / 1.7, axis=1), abs=1e-12)
    extreme = Calibration("temperature", CLASSES[:2], {"temperature": 2.0}, 1).apply(np.array([0.0, 1.0, 0.5]))
    assert np.isfinite(extreme).all() and extreme.sum(axis=1) == pytest.approx(1.0)
    assert extreme[:, 1] == pytest.approx([0.0, 1.0, 0.5], abs=1e-12)


def test_temperatures_that_do_not_exist():
    with pytest.raises(InputError, match="must hold an image that is classified wrongly .* 3 images, all right"):
        fit_temperature(np.array([2.0, -1.0, 3.0]), [1, 0, 1])
    with pytest.raises(InputError, match="must favour the true classes .* 3 images whose do not"):
        fit_temperature(np.array([2.0, -1.0, 0.1]), [0, 1, 1])
    with pytest.raises(InputError, match="must favour the true classes .* 2 images whose do not"):
        fit_temperature(np.zeros(2), [0, 1])
    with pytest.raises(InputError, match=r"`logits` must be finite, of shape \[N, C\] or \[N\]"):
        fit_temperature(np.array([np.inf, 1.0]), [0, 1])
    with pytest.raises(InputError, match=r"`labels` must have shape \[2\], one an image; received \[3\]"):
        fit_temperature(np.zeros(2), [0, 1, 1])


def test_temperatures_of_any_scale():
    for scale in (1e-30, 1.0, 1e30):
        assert fit_temperature(np.full(4, 5.0 * scale), [1, 1, 1, 0]) == pytest.approx(5.0 * scale / np.log(3.0))


def test_platt_solves_its_equations():
    logits, labels = case(2, seed=3)
    probabilities = softmax(logits, axis=1)
    frame, classes = frame_of(probabilities, labels)
    calibration = fit_calibration(frame, classes, "platt")
    n_pos, n_neg = labels.sum(), (1 - labels).sum()
    target = np.where(labels == 1, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))
    score = logit(np.clip(probabilities[:, 1], 1e-7, 1 - 1e-7))
    fitted = calibration.apply(probabilities)[:, 1]
    slope, intercept = calibration.parameters["slopes"][0], calibration.parameters["intercepts"][0]
    assert fitted == pytest.approx(expit(slope * score + intercept))
    # The gradient of the log-likelihood with Platt's targets vanishes.
    assert np.mean(fitted - target) == pytest.approx(0.0, abs=1e-7)
    assert np.mean((fitted - target) * score) == pytest.approx(0.0, abs=1e-6)


def test_platt_of_separated_classes_is_finite():
    frame, classes = frame_of(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]]), [0, 0, 1, 1])
    calibration = fit_calibration(frame, classes, "platt")
    assert 0 < calibration.parameters["slopes"][0] < 100


def test_isotonic_by_hand():
    # Frequencies in order of the probability: 0, 1, 0, 1; the middle two pool to one half.
    frame, classes = frame_of(np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]]), [0, 1, 0, 1])
    calibration = fit_calibration(frame, classes, "isotonic")
    assert calibration.apply(np.array([0.0, 0.1, 0.3, 0.35, 0.4, 0.6, 0.9]))[:, 1] == pytest.approx(
        [0, 0, 0.5, 0.5, 0.5, 0.75, 1]
    )


def test_isotonic_of_many_classes_is_one_against_the_rest():
    logits, labels = case(4)
    probabilities = softmax(logits, axis=1)
    frame, classes = frame_of(probabilities, labels)
    mapped = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip").fit(probabilities[:, c], labels == c).predict(probabilities[:, c])
            for c in range(4)
        ],
        axis=1,
    )
    fitted = fit_calibration(frame, classes, "isotonic").apply(probabilities)
    assert fitted == pytest.approx(mapped / mapped.sum(axis=1, keepdims=True), abs=1e-9)
    nothing = Calibration("isotonic", CLASSES[:3], {"given": [[0, 1]] * 3, "calibrated": [[0, 0]] * 3}, 1)
    assert nothing.apply(np.array([[0.2, 0.3, 0.5]])) == pytest.approx(np.full((1, 3), 1 / 3))


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_method_calibrates_and_survives_json(tmp_path, method, n_classes):
    logits, labels = case(n_classes, n_images=1500)
    probabilities = softmax(logits, axis=1)
    frame, classes = frame_of(probabilities[:1000], labels[:1000])
    calibration = fit_calibration(frame, classes, method)
    calibration.write(tmp_path / "calibration.json")
    again = Calibration.read(tmp_path / "calibration.json")
    assert again == calibration and again.n_images == 1000
    test, test_labels = probabilities[1000:], labels[1000:]
    assert np.array_equal(again.apply(test), calibration.apply(test))
    assert again.apply(test).sum(axis=1) == pytest.approx(1.0)
    assert again.apply(test[:0]).shape == (0, n_classes)
    before, after = calibration_error(test, test_labels), calibration_error(again.apply(test), test_labels)
    assert after < 0.7 * before
    assert brier_score(again.apply(test), test_labels, bootstrap=0).value < brier_score(test, test_labels).value


def test_wrong_input_of_calibrations(tmp_path):
    frame, classes = frame_of(np.array([[0.9, 0.1], [0.7, 0.3]]), [0, 0])
    with pytest.raises(InputError, match="`frame` must hold images of every class for platt; received none of b"):
        fit_calibration(frame, classes, "platt")
    same, _ = frame_of(np.full((3, 2), 0.5), [0, 1, 1])
    with pytest.raises(InputError, match="must hold different probabilities for platt; received 0.5 for every image"):
        fit_calibration(same, classes, "platt")
    with pytest.raises(InputError, match="`method` must be one of temperature, platt, isotonic; received 'beta'"):
        fit_calibration(frame, classes, "beta")
    calibration = Calibration("temperature", CLASSES[:2], {"temperature": 2.0}, 1)
    with pytest.raises(InputError, match="`probabilities` must have 2 columns, one a class; received 3"):
        calibration.apply(np.full((1, 3), 1 / 3))
    with pytest.raises(InputError, match=r"`probabilities` must be numbers in \[0, 1\]"):
        calibration.apply(np.array([1.5]))
    for change, message in (
        ({"method": "beta"}, "`method` must be one of"),
        ({"parameters": {"t": 1.0}}, "`parameters` of temperature must be temperature; received"),
        ({"parameters": {"temperature": 0.0}}, "`temperature` must be above 0; received 0.0"),
        ({"parameters": {"temperature": "warm"}}, "must hold values of the types"),
        ({"method": "platt", "parameters": {"slopes": [], "intercepts": []}}, "must have 1 entries for 2 classes"),
        ({"classes": "ab"}, "`classes` must name two or more; received 'ab'"),
        ({"method": "platt", "parameters": {"slopes": [np.nan], "intercepts": [0]}}, "must be finite; received"),
        ({"method": "isotonic", "parameters": {"given": [[0, 1]], "calibrated": [[1]]}}, "`given` must rise, with as"),
        (
            {"method": "isotonic", "parameters": {"given": [["x"]], "calibrated": [[1]]}},
            "must hold values of the types",
        ),
        ({"colour": 1}, "must hold the keys method, classes, parameters, n_images; received"),
    ):
        with pytest.raises(InputError, match=message):
            Calibration.from_dict({**calibration.to_dict(), **change})


@pytest.mark.parametrize("binning, strategy", [("width", "uniform"), ("mass", "quantile")])
@pytest.mark.parametrize("digits", [None, 1])
def test_reliability_is_that_of_scikit_learn(binning, strategy, digits):
    logits, labels = case(2)
    positive = softmax(logits, axis=1)[:, 1]
    positive = positive if digits is None else np.round(positive, digits)
    observed, mean = calibration_curve(labels, positive, n_bins=10, strategy=strategy)
    curve = reliability_curve(positive, labels, bins=10, binning=binning)
    assert curve["frequency"].to_numpy() == pytest.approx(observed)
    assert curve["probability"].to_numpy() == pytest.approx(mean)
    assert curve["images"].sum() == len(labels)
    assert (curve["frequency_low"] <= curve["frequency"] + 1e-12).all()
    expected = (curve["images"] * np.abs(observed - mean)).sum() / len(labels)
    assert calibration_error(positive, labels, bins=10, binning=binning) == pytest.approx(expected)


def test_calibration_errors_by_hand():
    positive, labels = np.array([0.1, 0.3, 0.6, 0.9]), [0, 1, 1, 1]
    # Halves: means .2 and .75, frequencies .5 and 1; |.3| and |.25| over half the images each.
    assert calibration_error(positive, labels, bins=2) == pytest.approx(0.275)
    # Mass: the median .45 divides them the same; thirds are .1 .3 | .6 | .9 by width.
    assert calibration_error(positive, labels, bins=2, binning="mass") == pytest.approx(0.275)
    assert calibration_error(positive, labels, bins=3) == pytest.approx((2 * 0.3 + 0.4 + 0.1) / 4)
    # Three classes: the top label's probability .5, .6, .9 against right, wrong, right.
    values = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.05, 0.05, 0.9]])
    assert calibration_error(values, [0, 1, 2], bins=1) == pytest.approx(abs((0.5 + 0.6 + 0.9) / 3 - 2 / 3))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_brier_and_likelihood_are_those_of_scikit_learn(n_classes):
    logits, labels = case(n_classes, n_images=120)
    probabilities = softmax(logits, axis=1)
    subjects = [f"s{i % 11}" for i in range(120)]
    interval = brier_score(probabilities, labels, subjects, bootstrap=200)
    if n_classes == 2:
        expected = sk.brier_score_loss(labels, probabilities[:, 1])
    else:
        expected = sk.brier_score_loss(labels, probabilities, labels=range(n_classes), scale_by_half=False)
    assert interval.value == pytest.approx(expected)
    assert interval.low < interval.value < interval.high
    assert (interval.unit, interval.n_units) == ("subject", 11)
    frame, classes = frame_of(probabilities, labels, subjects)
    result = measure_calibration(frame, classes, bins=5, bootstrap=200)
    assert result["brier"] == interval.to_dict()
    assert result["nll"] == pytest.approx(sk.log_loss(labels, probabilities, labels=range(n_classes)), abs=1e-6)
    assert result["ece"] == calibration_error(probabilities, labels, bins=5)
    assert result["adaptive_ece"] == calibration_error(probabilities, labels, bins=5, binning="mass")
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_wrong_options_of_curves():
    with pytest.raises(InputError, match="`bins` must be 1 or more; received 0"):
        reliability_curve([0.5], [1], bins=0)
    with pytest.raises(InputError, match="`binning` must be one of width, mass; received 'area'"):
        reliability_curve([0.5], [1], binning="area")
    with pytest.raises(InputError, match="`labels` must be class indices from 0 to 1; received 0 to 2"):
        reliability_curve([0.5, 0.5], [0, 2])


def test_plot_shows_the_curve(tmp_path):
    logits, labels = case(2)
    curves = {t: reliability_curve(softmax(logits / s, axis=1), labels) for t, s in (("before", 1), ("after", 2.5))}
    figure = plot_reliability(curves)
    line = [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(curves["before"])][0]
    assert np.array_equal(line.get_ydata(), curves["before"]["frequency"])
    save_figure(tmp_path / "reliability.png", figure)
    with Image.open(tmp_path / "reliability.png") as image:
        assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 1
