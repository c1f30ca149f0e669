"""Areas of many resamples at once: the same to the last digit in however many pieces, and those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from leukemia_tf.evaluation import ranking
from leukemia_tf.evaluation.bootstrap import iter_counts
from leukemia_tf.evaluation.ranking import Ranking


@pytest.mark.parametrize("digits", [1, 9])
@pytest.mark.parametrize("n_units", [25, 300])
def test_pieces_in_threads_are_the_whole(digits, n_units, monkeypatch):
    generator = np.random.default_rng(n_units + digits)
    positive = generator.random(300) < 0.3
    scores = np.round(generator.random(300) + 0.3 * positive, digits)  # with one digit, many are equal
    units = generator.permutation(300) % n_units
    counts = np.concatenate(list(iter_counts(n_units, 90, 1)))
    ranked = Ranking(positive, scores, units)
    whole = ranked(counts)
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", 2 * 300)  # two resamples at a time
    pieces = ranked(counts)
    assert np.array_equal(whole[0], pieces[0]) and np.array_equal(whole[1], pieces[1])
    for row in (0, 41, 89):
        weights = counts[row][units].astype(float)
        assert whole[0][row] == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
        assert whole[1][row] == pytest.approx(average_precision_score(positive, scores, sample_weight=weights))


def test_a_resample_without_a_side_is_not_defined():
    ranked = Ranking(np.array([True, False, False]), np.array([0.9, 0.1, 0.2]))
    auc, precision = ranked(np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]], dtype=np.uint16))
    assert np.isnan(auc[:2]).all() and np.isnan(precision[:2]).all()
    assert (auc[2], precision[2]) == (1.0, 1.0)
    assert [len(values) for values in ranked(np.empty((0, 3), dtype=np.uint16))] == [0, 0]
