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
from leukemia_tf.training.step_size import CALL_SECONDS, resolve_steps_per_execution, step_seconds
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


def test_weights_do_not_depend_on_steps_per_execution(tmp_path, monkeypatch):
    monkeypatch.setattr("leukemia_tf.training.trainer.step_seconds", lambda *_, **__: CALL_SECONDS / 0.02 / 3)
    results = []
    for steps in (1, 3, "auto"):  # three does not divide an epoch's four, so that two are taken; "auto" takes four
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
    ("wanted", "epoch", "expected"), [(1, 10, 1), (4, 10, 2), (5, 10, 5), (8, None, 1), (99, 7, 7)]
)
def test_an_epoch_ends_where_a_call_ends(wanted, epoch, expected):
    assert resolve_steps_per_execution(wanted, epoch) == expected


@pytest.mark.parametrize(
    ("calls", "epoch", "expected"),  # how many calls a step costs as much as, times 50: steps a call that are wanted
    [(1, 64, 1), (3.5, 64, 4), (3.5, 187, 11), (3.5, 683, 1), (40, 50, 50), (1000, 640, 64), (1000, None, 1)],
)
def test_the_smallest_number_for_which_calls_cost_little(calls, epoch, expected):
    assert resolve_steps_per_execution("auto", epoch, lambda: CALL_SECONDS * 50 / calls) == expected


def test_measuring_a_step_traces_and_changes_nothing():
    count = []
    model = plain_model(count)
    before = model.get_weights()
    count.clear()
    data = batches_of(8, *arrays(16, 0)).repeat()
    assert step_seconds(model, data, 1, cached=True) == float("inf")  # the batch has no static size
    fixed = tf.data.Dataset.from_tensors(arrays(8, 0)).repeat()
    assert step_seconds(model, fixed, 100) == float("inf") and not count  # calls of milliseconds cost less than it
    assert 0 < step_seconds(model, fixed, 100, cached=True) < 60
    assert set(count) == {False} and model.train_function is None
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("wrong", [0, -1, "fast", 1.5, True])
def test_wrong_steps_per_execution(wrong):
    with pytest.raises(InputError, match="`steps_per_execution` is 1 or more, or 'auto'"):
        resolve_steps_per_execution(wrong, 8)


@pytest.mark.parametrize("steps", [1, "auto"])
def test_each_phase_traces_once_whatever_the_last_batch_and_however_many_epochs(tmp_path, monkeypatch, steps):
    monkeypatch.setattr("leukemia_tf.training.trainer.step_seconds", lambda *_, **__: CALL_SECONDS)
    count = []
    model = plain_model(count)
    images, labels = arrays(32, 0)
    train, val = batches_of(8, images, labels), batches_of(8, images[:11], labels[:11])
    count.clear()
    phases = [Phase("head", layers="head", epochs=3), Phase("all", epochs=3)]
    fit_phases(model, train, val, phases, tmp_path, steps_per_execution=steps, progress=False)
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


@pytest.mark.parametrize(
    "optimizer", [{}, {"optimizer": "adamw", "optimizer_config": {"clipnorm": 0.1}, "accumulate": 2}]
)
def test_a_fused_update_is_the_same_update(tmp_path, monkeypatch, optimizer):
    phases = [Phase("all", epochs=2, schedule="cosine", **optimizer)]
    found = []
    for worth, expected in ((1e9, 0), (0, 1)):
        monkeypatch.setattr("leukemia_tf.training.optimizer._WORTH_IT", worth)
        model = plain_model()
        fit_phases(
            model, batches_of(8, *arrays(32, 0)), None, phases, tmp_path / str(worth), monitor="loss", progress=False
        )
        assert ("apply" in vars(model.optimizer)) == bool(expected)
        found.append([*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
