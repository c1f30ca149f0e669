"""Figures of an export and its bounds, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.export.check import DEFAULT_BOUNDS, Bounds, check_bounds, compare_probabilities
from leukemia_tf.export.runners import FILES

CLASSES = ["a", "b"]


def frame(positive: list[float]) -> pd.DataFrame:
    values = np.asarray(positive)
    return pd.DataFrame(
        {
            "path": [f"{index}.png" for index in range(len(values))],
            "prediction": np.where(values >= 0.5, "b", "a"),
            "prob_a": 1 - values,
            "prob_b": values,
        }
    )


def test_figures_by_hand_in_any_order():
    keras, export = frame([0.1, 0.4, 0.6, 0.9]), frame([0.1, 0.55, 0.6, 0.7])
    figures = compare_probabilities(keras, export.iloc[::-1], CLASSES)
    assert figures["images"] == 4
    assert figures["max_difference"] == pytest.approx(0.2)
    assert figures["mean_difference"] == pytest.approx((0.15 + 0.2) / 4)
    assert figures["agreement"] == 0.75


def test_other_images_are_refused():
    with pytest.raises(InputError, match="the images of `keras`"):
        compare_probabilities(frame([0.1, 0.2]), frame([0.1]), CLASSES)


@pytest.mark.parametrize(
    "difference, loss, said",
    [
        (0.02, 0.0, "max_difference is 0.02, at most 0.01 is accepted (--max-difference)"),
        (0.0, 0.3, "accuracy_loss is 0.3, at most 0.25 is accepted (--max-accuracy-loss)"),
        (float("nan"), 0.0, "max_difference is nan"),
    ],
)
def test_beyond_a_bound_is_an_error(difference, loss, said):
    figures = {"images": 7, "max_difference": difference, "accuracy_loss": loss}
    with pytest.raises(RunError) as error:
        check_bounds("onnx", figures, Bounds(0.01, 0.25))
    assert said in str(error.value) and "`onnx`" in str(error.value) and "7 validation images" in str(error.value)


def test_at_the_bound_is_none():
    check_bounds("onnx", {"images": 7, "max_difference": 0.01, "accuracy_loss": -0.5}, Bounds(0.01, 0.0))


@pytest.mark.parametrize("values", [(0.0, 0.1), (1.1, 0.1), (0.5, -0.1), (0.5, 1.5)])
def test_bounds_are_shares(values):
    with pytest.raises(InputError, match="`max_"):
        Bounds(*values)


def test_every_format_has_bounds():
    assert set(DEFAULT_BOUNDS) == set(FILES)
