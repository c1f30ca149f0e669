"""Intervals against SciPy, against their formulas, and against the truth of a simulation."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import bca_interval, iter_counts, iter_jackknife_counts, percentile_interval
from leukemia_tf.evaluation.intervals import (
    mean_interval,
    metric_intervals,
    proportion,
    wilson_interval,
    wilson_upper,
)
from leukemia_tf.evaluation.metrics import METRICS, compute_metrics
from leukemia_tf.evaluation.predictions import make_predictions


def frame_of(n_images=90, n_subjects=12, n_classes=2, seed=0):
    generator = np.random.default_rng(seed)
    classes = ["a", "b", "c", "d"][:n_classes]
    labels = np.arange(n_images) % n_classes
    scores = generator.random((n_images, n_classes)) + 0.6 * np.eye(n_classes)[labels]
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n_images)],
            "subject": [f"s{i}" for i in generator.integers(0, n_subjects, n_images)],
            "label": [classes[i] for i in labels],
        }
    )
    return make_predictions(table, scores / scores.sum(axis=1, keepdims=True), classes), classes


@pytest.mark.parametrize("successes, total", [(355, 360), (354, 360), (0, 10), (10, 10), (748, 800)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_by_its_formula(successes, total, confidence):
    z, p = stats.norm.ppf(0.5 + confidence / 2), successes / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    expected = (max(0.0, centre - half), min(1.0, centre + half))
    assert wilson_interval(successes, total, confidence) == pytest.approx(expected, abs=1e-12)


def test_many_upper_ends_are_those_of_scipy():
    totals = np.array([1, 1, 2, 7, 40, 1000, 1000, 999_999])
    successes = np.array([0, 1, 1, 7, 0, 13, 1000, 80_001])
    for confidence in (0.8, 0.95, 0.999):
        expected = [wilson_interval(int(k), int(n), confidence)[1] for k, n in zip(successes, totals)]
        np.testing.assert_allclose(wilson_upper(successes, totals, confidence), expected, rtol=1e-13)


def test_wilson_of_the_published_teacher():
    # 355 of 360: 96.8 to 99.4 %; the student's 354 of 360 lies well within.
    interval = proportion(355, 360)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.968, 0.994)
    assert interval.low < 354 / 360 < interval.high
    assert (interval.unit, interval.n_units, interval.method) == ("image", 360, "wilson")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1, 0), "`total` must be a whole number of 1 or more; received 0"),
        ((3, 2), "`successes` must be a whole number from 0 to 2; received 3"),
        ((0.5, 2), "`successes` must be a whole number from 0 to 2; received 0.5"),
        ((1, 2, 1.0), "`confidence` must lie between 0 and 1; received 1.0"),
    ],
)
def test_wilson_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        wilson_interval(*arguments)


def test_jackknife_leaves_out_each_unit_once():
    counts = np.concatenate(list(iter_jackknife_counts(5, rows=2)))
    assert np.array_equal(counts, 1 - np.eye(5))


def test_jackknife_of_many_units_is_by_blocks():
    counts = np.concatenate(list(iter_jackknife_counts(23, rows=3, most=5)))
    assert counts.shape == (5, 23)
    # Each unit is left out once; blocks differ by one unit at most, and are not neighbours.
    assert (counts == 0).sum(axis=0).tolist() == [1] * 23
    assert sorted((counts == 0).sum(axis=1).tolist()) == [4, 4, 5, 5, 5]
    assert np.abs(np.diff(np.flatnonzero(counts[0] == 0))).max() > 1
    # The same acceleration, hence the same interval, as one unit at a time.
    values = np.random.default_rng(7).exponential(size=1500)
    means = np.concatenate([count @ values / 1500 for count in iter_counts(1500, 3000, 0)])
    ends = []
    for most in (1500, 300):
        jackknife = [c @ values / c.sum(axis=1) for c in iter_jackknife_counts(1500, most=most)]
        ends.append(bca_interval(means, values.mean(), np.concatenate(jackknife)))
    width = ends[0][1] - ends[0][0]
    assert ends[1] == pytest.approx(ends[0], abs=0.01 * width)


def test_bca_is_that_of_scipy():
    values = np.random.default_rng(2).exponential(size=40)
    reference = stats.bootstrap((values,), np.mean, n_resamples=800, method="BCa", rng=np.random.default_rng(1))
    jackknife = np.concatenate([counts @ values / 39 for counts in iter_jackknife_counts(40)])
    ours = bca_interval(reference.bootstrap_distribution, values.mean(), jackknife)
    assert ours == pytest.approx(tuple(reference.confidence_interval), abs=1e-12)
    assert ours != pytest.approx(percentile_interval(reference.bootstrap_distribution), abs=1e-3)


def test_bca_without_bias_and_skewness_is_the_percentile_interval():
    values = np.linspace(-1.0, 1.0, 1001)
    assert bca_interval(values, 0.0, np.array([-1.0, 1.0])) == pytest.approx(percentile_interval(values))
    assert bca_interval(values, 0.0, np.zeros(4)) == pytest.approx(percentile_interval(values))


def test_bca_is_not_defined_beyond_all_resamples():
    assert bca_interval(np.array([1.0, 2.0]), 3.0, np.array([1.0, 2.0])) is None
    assert bca_interval(np.array([np.nan]), 3.0, np.array([1.0, 2.0])) is None
    assert bca_interval(np.ones(9), 1.0, np.ones(3)) == (1.0, 1.0)
    with pytest.raises(InputError, match="`confidence` must lie between 0 and 1; received 0.0"):
        bca_interval(np.ones(9), 1.0, np.ones(3), 0.0)


def test_percentile_intervals_are_those_of_the_metrics():
    for n_classes in (2, 3):
        frame, classes = frame_of(n_classes=n_classes)
        expected = compute_metrics(frame, classes, bootstrap=60, seed=3)
        intervals = metric_intervals(frame, classes, method="percentile", bootstrap=60, seed=3)
        assert set(intervals) == set(METRICS)
        for name, interval in intervals.items():
            assert {key: expected[name][key] for key in ("value", "low", "high")} == {
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
            assert (interval.unit, interval.n_units) == ("subject", 12)


def test_bca_over_subjects_by_a_plain_loop():
    frame, classes = frame_of()
    right = (frame["label"] == frame["prediction"]).to_numpy().astype(float)
    names = frame["subject"].to_numpy()
    without = np.array([right[names != name].mean() for name in sorted(set(names))])
    draws = []
    for count in np.concatenate(list(iter_counts(12, 200, 5))):
        weights = dict(zip(sorted(set(names)), count))
        draws.append(np.average(right, weights=[weights[name] for name in names]))
    expected = bca_interval(np.array(draws), right.mean(), without)
    interval = metric_intervals(frame, classes, metrics=["accuracy"], bootstrap=200, seed=5)["accuracy"]
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    mean = mean_interval(right, names, method="bca", bootstrap=200, seed=5)
    assert (mean.value, mean.low, mean.high) == pytest.approx((right.mean(), *expected), abs=1e-12)


def test_what_is_not_defined_is_null():
    frame, classes = frame_of()
    frame = frame[frame["label"] == "a"]
    interval = metric_intervals(frame, classes, metrics=["auc"], bootstrap=20)["auc"]
    assert json.loads(json.dumps(interval.to_dict(), allow_nan=False))["value"] is None
    single = mean_interval([0.5])
    assert (single.value, single.to_dict()["low"], single.n_units) == (0.5, None, 1)


def test_wrong_options():
    frame, classes = frame_of()
    with pytest.raises(InputError, match="`metrics` must name some of .*; received speed"):
        metric_intervals(frame, classes, metrics=["speed"])
    with pytest.raises(InputError, match="`method` must be one of percentile, bca; received 'wald'"):
        metric_intervals(frame, classes, method="wald")
    with pytest.raises(InputError, match="`values` must be one or more finite numbers; received shape"):
        mean_interval([1.0, np.nan])
    with pytest.raises(InputError, match="`subjects` must name one for each of 2 values; received 1"):
        mean_interval([1.0, 0.0], ["a"])


@pytest.mark.slow
def test_the_clustered_interval_covers_and_the_naive_one_does_not():
    """Beta-binomial subjects: 40 of them with 10 to 60 images each, mean accuracy .9, intra-subject correlation .15.

    Of 400 simulated data sets, 95 % should cover the truth; that share has a standard error of .011. The percentile and
    the BCa interval may lack 4.5 points (forty units are few); the interval that takes images as independent covers
    less than three quarters.
    """
    generator = np.random.default_rng(2024)
    truth, correlation, n_sets = 0.9, 0.15, 400
    spread = 1.0 / correlation - 1.0
    covered = {"percentile": 0, "bca": 0, "wilson": 0}
    for number in range(n_sets):
        sizes = generator.integers(10, 61, 40)
        right = generator.binomial(sizes, generator.beta(truth * spread, (1.0 - truth) * spread, 40))
        values = np.concatenate([np.arange(size) < hits for size, hits in zip(sizes, right)]).astype(float)
        names = np.repeat([f"s{i:02d}" for i in range(40)], sizes)
        intervals = [mean_interval(values, names, method=m, bootstrap=400, seed=number) for m in ("percentile", "bca")]
        for interval in (*intervals, proportion(right.sum(), sizes.sum())):
            covered[interval.method] += interval.low <= truth <= interval.high
    assert covered["percentile"] / n_sets == pytest.approx(0.95, abs=0.045)
    assert covered["bca"] / n_sets == pytest.approx(0.95, abs=0.045)
    assert covered["wilson"] / n_sets < 0.75


@pytest.mark.parametrize("total", [20, 100, 589])
def test_wilson_covers_independent_images(total):
    """Exactly, without a simulation: the probability of every count whose interval holds the true share.

    It goes up and down with the share; on average it is close to 95 % (Brown, Cai and DasGupta, Statistical Science 16,
    2001, figure 10).
    """
    truths = np.linspace(0.5, 0.99, 197)
    ends = np.array([wilson_interval(count, total) for count in range(total + 1)])
    inside = (ends[:, :1] <= truths) & (truths <= ends[:, 1:])
    covered = (stats.binom.pmf(np.arange(total + 1)[:, None], total, truths) * inside).sum(axis=0)
    assert covered.mean() == pytest.approx(0.95, abs=0.01)
    assert covered.min() > 0.83
    assert covered[np.argmin(np.abs(truths - 0.9))] == pytest.approx(0.95, abs=0.03)
