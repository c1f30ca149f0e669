"""DeLong against the definition, pair by pair; McNemar and Holm by hand."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import iter_counts
from leukemia_tf.evaluation.paired_tests import auc_covariance, delong_test, holm, mcnemar_exact
from leukemia_tf.evaluation.ranking import Ranking


def case(n_images=60, seed=0, digits=1):
    generator = np.random.default_rng(seed)
    positive = np.concatenate([[True, True, False, False], generator.random(n_images - 4) < 0.4])
    common = generator.normal(size=n_images)
    scores = [np.round(common + generator.normal(size=n_images) + shift * positive, digits) for shift in (0.8, 1.5)]
    return positive, np.stack(scores)


def by_definition(positive, scores):
    """AUC and covariance of DeLong's paper: a kernel for each pair, its means, their sample covariances."""
    of_positives, of_negatives = [], []
    for row in scores:
        kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in row[~positive]] for x in row[positive]])
        of_positives.append(kernel.mean(axis=1))
        of_negatives.append(kernel.mean(axis=0))
    m, n = positive.sum(), (~positive).sum()
    return np.mean(of_positives, axis=1), np.cov(of_positives) / m + np.cov(of_negatives) / n


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [0, 6])
def test_delong_by_its_definition(seed, digits):
    positive, scores = case(seed=seed, digits=digits)
    auc, covariance = auc_covariance(positive, scores)
    expected_auc, expected = by_definition(positive, scores)
    assert auc == pytest.approx(expected_auc) == [roc_auc_score(positive, row) for row in scores]
    assert covariance == pytest.approx(expected, rel=1e-9)
    result = delong_test(positive, *scores)
    error = np.sqrt(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1])
    assert result.standard_error == pytest.approx(error)
    assert result.difference == pytest.approx(expected_auc[1] - expected_auc[0])
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.difference) / error))


def test_each_image_a_subject_is_the_plain_test():
    positive, scores = case()
    names = [f"s{i}" for i in range(len(positive))]
    assert auc_covariance(positive, scores, names)[1] == pytest.approx(auc_covariance(positive, scores)[1])


def test_copies_of_an_image_add_nothing():
    positive, scores = case()
    names = [f"s{i}" for i in range(len(positive))] * 3
    auc, covariance = auc_covariance(np.tile(positive, 3), np.tile(scores, 3), names)
    assert auc == pytest.approx(auc_covariance(positive, scores)[0])
    assert covariance == pytest.approx(auc_covariance(positive, scores)[1])
    naive = auc_covariance(np.tile(positive, 3), np.tile(scores, 3))[1]
    assert naive[0, 0] < 0.4 * covariance[0, 0]


def test_subjects_with_both_classes_agree_with_the_cluster_bootstrap():
    generator = np.random.default_rng(3)
    units = np.repeat(np.arange(150), 6)
    positive = generator.random(900) < 0.5
    effect = generator.normal(size=150)[units]
    score = effect + generator.normal(size=900) + positive
    ranking = Ranking(positive, score, units)
    draws = np.concatenate([ranking(counts)[0] for counts in iter_counts(150, 1500, 0)])
    clustered = auc_covariance(positive, score[None], units.astype(str))[1][0, 0] ** 0.5
    assert clustered == pytest.approx(draws.std(), rel=0.08)


def test_the_same_ranking_and_no_variance():
    positive, scores = case()
    result = delong_test(positive, scores[0], np.exp(scores[0]))
    assert (result.difference, result.p_value) == (0.0, 1.0)
    side = np.array([True, True, False, False])
    assert np.isnan(delong_test(side, [1.0, 1, 0, 0], [0.0, 0, 1, 1]).p_value)


def test_mcnemar_by_hand():
    # Alone right: 1 against 6. Two-sided sign test: 2 * (C(7,0) + C(7,1)) / 2 ** 7.
    first = np.array([1] * 5 + [1] + [0] * 6 + [0] * 2, dtype=bool)
    second = np.array([1] * 5 + [0] + [1] * 6 + [0] * 2, dtype=bool)
    result = mcnemar_exact(first, second)
    assert (result.only_first, result.only_second) == (1, 6)
    assert result.p_value == pytest.approx(2 * (comb(7, 0) + comb(7, 1)) / 2**7)
    assert mcnemar_exact(first, first).p_value == 1.0


def test_holm_by_hand():
    # Ordered .01 .02 .03 .04: times 4, 3, 2, 1 gives .04 .06 .06 .04, which must not fall: .04 .06 .06 .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.4, np.nan, 0.9]) == pytest.approx([0.8, np.nan, 0.9], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_wrong_input():
    with pytest.raises(InputError, match=r"`first_right` and `second_right` must .* shapes \[1\] and \[2\]"):
        mcnemar_exact([True], [True, False])
    with pytest.raises(InputError, match=r"`p_values` must lie in \[0, 1\]; received \[1.5\]"):
        holm([1.5])
    with pytest.raises(InputError, match="two or more images of each side .* received 1 positive and 2 negative"):
        auc_covariance([True, False, False], [[1.0, 2.0, 3.0]])
    with pytest.raises(InputError, match="two or more subjects with images of each side .* 1 positive and 2 negative"):
        auc_covariance([True, True, False, False], [[1.0, 2, 3, 4]], ["a", "a", "b", "c"])
    with pytest.raises(InputError, match=r"`scores` must be finite, of shape \[K, N\]"):
        auc_covariance([True, False], [1.0, 2.0])
    with pytest.raises(InputError, match="`subjects` must name one for each of 4 images; received 1"):
        auc_covariance([True, True, False, False], [[1.0, 2, 3, 4]], ["a"])
    with pytest.raises(InputError, match="`first` and `second` must be equally many"):
        delong_test([True, False], [1.0], [1.0, 2.0])
