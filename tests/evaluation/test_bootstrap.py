"""Resampling: whole subjects, the same numbers for the same seed, and an interval that covers as it should."""

from __future__ import annotations

import numpy as np
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import iter_counts, percentile_interval, resample_counts, sampling_units


def test_units_are_subjects_only_where_all_are_known():
    unit, codes = sampling_units(["b", "a", "b", "c"])
    assert unit == "subject" and codes.tolist() == [1, 0, 1, 2]
    for subjects in (["a", "a"], ["a", ""], ["", ""], ["a"]):
        unit, codes = sampling_units(subjects)
        assert unit == "image" and codes.tolist() == list(range(len(subjects)))


def test_each_resample_draws_as_many_units_as_there_are():
    counts = resample_counts(["s1"] * 3 + ["s2"] * 5 + ["s3"], 200, seed=1)
    assert counts.shape == (200, 3) and counts.dtype == np.uint16
    assert (counts.sum(axis=1) == 3).all()
    # 3 of 27 equally likely draws hold one subject only; 6 of 27 hold all three.
    assert abs((counts.max(axis=1) == 3).mean() - 3 / 27) < 0.07
    assert abs((counts.max(axis=1) == 1).mean() - 6 / 27) < 0.09


def test_numbers_depend_on_the_seed_and_not_on_the_chunk():
    whole = resample_counts(list("abcdefg"), 50, seed=3)
    assert np.array_equal(whole, np.concatenate(list(iter_counts(7, 50, 3, rows=8))))
    assert not np.array_equal(whole, resample_counts(list("abcdefg"), 50, seed=4))


def test_percentiles_leave_out_what_is_not_defined():
    values = np.array([np.nan, *range(101), np.nan], dtype=float)
    assert percentile_interval(values, 0.9) == pytest.approx((5.0, 95.0))
    assert percentile_interval(np.full(3, np.nan)) is None
    assert percentile_interval(np.empty(0)) is None


def test_wrong_options():
    with pytest.raises(InputError, match="`confidence` must lie between 0 and 1; received 1.0"):
        percentile_interval(np.zeros(3), 1.0)
    with pytest.raises(InputError, match="`n_resamples` must be 0 or more; received -1"):
        resample_counts(["a", "b"], -1, 0)
    with pytest.raises(InputError, match="`seed` must be 0 or more; received -5"):
        resample_counts(["a", "b"], 1, -5)


def test_interval_of_a_mean_agrees_with_the_normal_one():
    generator = np.random.default_rng(5)
    values = generator.normal(size=400)
    counts = resample_counts([""] * 400, 4000, seed=0)
    low, high = percentile_interval(counts @ values / 400)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.012)
    assert high == pytest.approx(values.mean() + half, abs=0.012)
