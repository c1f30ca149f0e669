"""Losses by name against formulas written out in NumPy, and errors for what does not fit."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.training import make_loss

TRUE = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]], "float32")
FOUND = np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2], [0.05, 0.05, 0.9]], "float32")
RIGHT = (TRUE * FOUND).sum(1)


def test_auto_is_cross_entropy():
    assert float(make_loss(outputs=3)(TRUE, FOUND)) == pytest.approx(-np.log(RIGHT).mean(), rel=1e-5)
    binary = make_loss("auto", {}, outputs=1)
    assert float(binary([[1.0], [0.0]], [[0.8], [0.3]])) == pytest.approx(-(np.log(0.8) + np.log(0.7)) / 2, rel=1e-5)


def test_label_smoothing():
    smooth = 0.9 * TRUE + 0.1 / 3
    loss = make_loss("categorical_crossentropy", {"label_smoothing": 0.1}, outputs=3)
    assert float(loss(TRUE, FOUND)) == pytest.approx(-(smooth * np.log(FOUND)).sum(1).mean(), rel=1e-5)


def test_one_output_is_two_classes():
    """The same value as the softmax over both, label smoothing included."""
    two = np.stack([1 - FOUND[:, 0], FOUND[:, 0]], 1), np.stack([1 - TRUE[:, 0], TRUE[:, 0]], 1)
    config = {"label_smoothing": 0.2}
    one = make_loss("categorical_crossentropy", config, outputs=1)(TRUE[:, :1], FOUND[:, :1])
    both = make_loss("categorical_crossentropy", config, outputs=2)(two[1], two[0])
    assert float(one) == pytest.approx(float(both), rel=1e-5)


def test_focal_loss_weighs_each_class():
    """System 001-B: the mean of alpha_t (1 - p_t)^2 cross-entropy, alpha .75 for one class and .25 for the other."""
    true, found = TRUE[:, :2], np.stack([FOUND[:, 0], 1 - FOUND[:, 0]], 1)
    true = np.stack([true[:, 0], 1 - true[:, 0]], 1)
    right, alpha = (true * found).sum(1), true @ [0.75, 0.25]
    loss = make_loss("categorical_focal_crossentropy", {"alpha": [0.75, 0.25], "gamma": 2.0}, outputs=2)
    assert float(loss(true, found)) == pytest.approx((-alpha * (1 - right) ** 2 * np.log(right)).mean(), rel=1e-5)
    # With one sigmoid output: alpha is the weight of class 1.
    loss = make_loss("binary_focal_crossentropy", {"alpha": 0.25, "apply_class_balancing": True}, outputs=1)
    assert float(loss(true[:, 1:], found[:, 1:])) == pytest.approx(
        (-alpha * (1 - right) ** 2 * np.log(right)).mean(), rel=1e-5
    )


def test_a_loss_survives_saving():
    loss = make_loss("categorical_focal_crossentropy", {"alpha": (0.5, 0.3, 0.2)}, outputs=3)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(TRUE, FOUND)) == float(loss(TRUE, FOUND))


@pytest.mark.parametrize(
    ("loss", "config", "outputs", "message"),
    [
        ("categorical_focal", {}, 3, "did you mean categorical_focal_crossentropy.*Received: 'categorical_focal'"),
        ("mse", {}, 3, "'auto' or one of binary_crossentropy, .*Received: 'mse'"),
        ("categorical_crossentropy", {"gamma": 2}, 3, "takes label_smoothing .*Received: 'gamma'"),
        ("categorical_crossentropy", {"from_logits": True}, 3, "models end in probabilities.*Received: 'from_logits'"),
        (
            "categorical_focal_crossentropy",
            {"alpha": [0.75, 0.25]},
            8,
            r"each of the 8 outputs. Received: \[0.75, 0.25",
        ),
        ("binary_focal_crossentropy", {"alpha": [0.7, 0.3]}, 1, "each of the 1 outputs"),
        ("binary_focal_crossentropy", {"alpha": 0.7}, 1, "does nothing unless `apply_class_balancing` is true"),
        ("categorical_focal_crossentropy", {}, 1, "one sigmoid output.*Received: 'categorical_focal_crossentropy'"),
        ("categorical_crossentropy", {"label_smoothing": "much"}, 3, "is a number, or.*Received: 'much'"),
    ],
)
def test_what_does_not_fit_is_named(loss, config, outputs, message):
    with pytest.raises(InputError, match=message) as caught:
        make_loss(loss, config, outputs=outputs)
    assert "\n" not in str(caught.value)
