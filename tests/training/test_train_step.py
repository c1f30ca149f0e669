"""The training step: accumulation, several steps a call, one trace a phase, validation that is filled up."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from leukemia_tf.data.pipeline import fill_last_batch
from leukemia_tf.errors import InputError
from leukemia_tf.training import Phase, fit_phases
from leukemia_tf.training.runtime import resolve_steps_per_execution
from tests.training.tiny import PHASES, STEPS, arrays, make_model, train_batches, val_batches

SGD = {"optimizer": "sgd", "learning_rate": 0.05}


def plain_model(count=None) -> keras.Model:
    """No dropout, no normalisation; `count` collects a note for each trace."""

    class Count(layers.Layer):
        def call(self, x, training=False):
            if count is not None and isinstance(x, tf.Tensor):
                count.append(bool(training))
            return x

    keras.utils.set_random_seed(0)
    inner = keras.Input((8, 8, 3))
    base = keras.Model(inner, layers.Dense(4)(layers.Flatten()(inner)), name="base")
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(Count()(base(image))))


def batches_of(size, images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    images, labels = arrays(32, 0)
    weights = []
    for size, accumulate in ((8, 1), (4, 2), (2, 4)):
        model = plain_model()
        phases = [Phase("all", epochs=2, accumulate=accumulate, **SGD)]
        fit_phases(
            model, batches_of(size, images, labels), None, phases, tmp_path / str(size), monitor="loss", progress=False
        )
        weights.append(model.get_weights())
    for found in weights[1:]:
        for one, other in zip(weights[0], found, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(InputError, match="`accumulate` of phase `p` is 1 or more. Received: 0"):
        Phase("p", accumulate=0)


def test_weights_do_not_depend_on_steps_per_execution(tmp_path):
    results = []
    for steps in (1, 3, 4):  # three does not divide an epoch's four, so that two are taken
        model = make_model()
        history = fit_phases(
            model, train_batches, val_batches(), PHASES[:1], tmp_path / str(steps), steps_per_epoch=STEPS,
            steps_per_execution=steps, progress=False,
        )  # fmt: skip
        results.append([*model.get_weights(), history[["loss", "val_loss"]].to_numpy()])
    for found in results[1:]:
        for one, other in zip(results[0], found, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("wanted", "epoch", "cached", "expected"),
    [(1, 10, False, 1), (4, 10, False, 2), (5, 10, True, 5), (8, None, False, 1), ("auto", 64, False, 1),
     ("auto", 64, True, 32), ("auto", 683, True, 1), ("auto", 50, True, 25), (99, 7, False, 7)],
)  # fmt: skip
def test_an_epoch_ends_where_a_call_ends(wanted, epoch, cached, expected):
    assert resolve_steps_per_execution(wanted, epoch, cached=cached) == expected


@pytest.mark.parametrize("wrong", [0, -1, "fast", 1.5, True])
def test_wrong_steps_per_execution(wrong):
    with pytest.raises(InputError, match="`steps_per_execution` is 1 or more, or 'auto'"):
        resolve_steps_per_execution(wrong, 8)


def test_each_phase_traces_once_whatever_the_last_batch_and_however_many_epochs(tmp_path):
    count = []
    model = plain_model(count)
    images, labels = arrays(32, 0)
    train, val = batches_of(8, images, labels), batches_of(8, images[:11], labels[:11])
    count.clear()
    phases = [Phase("head", layers="head", epochs=3), Phase("all", epochs=3)]
    fit_phases(model, train, val, phases, tmp_path, progress=False)
    assert sorted(count) == [False] * len(phases) + [True] * len(phases)


@pytest.mark.parametrize("rows", [11, 16, 3])
def test_a_filled_validation_measures_the_same(tmp_path, rows):
    images, labels = arrays(rows, 1)
    val = batches_of(8, images, labels)
    filled = fill_last_batch(val, rows, 8)
    assert [tuple(spec.shape) for spec in filled.element_spec] == [(8, 8, 8, 3), (8, 1), (8,)]
    found = []
    for number, data in enumerate((val, filled)):
        phases = [Phase("all", epochs=2, **SGD)]
        history = fit_phases(
            plain_model(), batches_of(8, *arrays(16, 0)), data, phases, tmp_path / str(number), monitor="val_f1_macro",
            mode="max", progress=False,
        )  # fmt: skip
        found.append(history.drop(columns="phase"))
    assert list(found[0]) == list(found[1]) and {"val_auc", "val_f1_macro", "accuracy"} <= set(found[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
