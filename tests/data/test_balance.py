"""Class weights against scikit-learn, and the order of balanced epochs by counting."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from leukemia_tf.data.balance import class_weights, epoch_length, epoch_order, label_indices
from leukemia_tf.errors import InputError

TABLE = pd.DataFrame({"label": ["b"] * 7 + ["a"] * 3 + ["c"] * 2})
LABELS = np.array([1] * 7 + [0] * 3 + [2] * 2)


def test_class_weights_are_those_of_scikit_learn():
    weights = class_weights(TABLE, ("a", "b", "c"))
    np.testing.assert_allclose([weights[i] for i in LABELS], compute_sample_weight("balanced", TABLE["label"]))
    assert np.mean([weights[i] for i in LABELS]) == pytest.approx(1)
    assert weights[0] == pytest.approx(12 / (3 * 3))


def test_a_class_without_images_has_no_weight():
    assert set(class_weights(TABLE, ("a", "b", "c", "d"))) == {0, 1, 2}


def test_unknown_labels_are_counted():
    with pytest.raises(InputError, match="got 'b' in 7 rows, 'c' in 2 rows"):
        label_indices(TABLE, ("a", "d"))


def test_empty_table():
    with pytest.raises(InputError, match="got an empty table"):
        class_weights(TABLE[:0], ("a", "b"))


def test_plain_epochs_are_permutations():
    one, two = epoch_order(LABELS, 5, 0), epoch_order(LABELS, 5, 1)
    assert sorted(one) == sorted(two) == list(range(12))
    assert list(one) != list(two)
    assert list(one) == list(epoch_order(LABELS, 5, 0))
    assert list(one) != list(epoch_order(LABELS, 6, 0))


def test_oversampling_shows_every_class_equally_often():
    for epoch in range(5):
        order = epoch_order(LABELS, 0, epoch, "oversample")
        assert len(order) == epoch_length(LABELS, "oversample") == 21
        times = np.bincount(order, minlength=12)
        assert [times[LABELS == label].sum() for label in range(3)] == [7, 7, 7]
        assert (times[LABELS == 1] == 1).all()  # the largest class: each image once
        assert set(times[LABELS == 0]) == {2, 3}  # 7 draws from 3 images: two full cycles and one image more
        assert set(times[LABELS == 2]) == {3, 4}


def test_unknown_balance():
    with pytest.raises(InputError, match="`balance` must be one of none, oversample, got 'under'"):
        epoch_length(LABELS, "under")
