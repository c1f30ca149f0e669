"""Phases: what they open, what stays frozen, how they compile."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.training import Phase, fit_phases, resolve_jit_compile
from leukemia_tf.training.runtime import _custom_gradients, reseed
from leukemia_tf.training.optimizer import make_optimizer
from tests.training.tiny import STEPS, arrays, make_model, train_batches, val_batches


def fit(tmp_path, *phases, model=None, **options):
    model = model or make_model()
    history = fit_phases(
        model, train_batches, val_batches(), phases, tmp_path, steps_per_epoch=STEPS, progress=False, **options
    )
    return model, history


def weights_of(model, layer):
    return [weight.numpy().copy() for weight in model.get_layer("backbone").get_layer(layer).weights]


def test_a_head_phase_leaves_the_backbone_alone_and_a_fine_phase_moves_its_top(tmp_path):
    model = make_model()
    before = {layer: weights_of(model, layer) for layer in ("first", "norm", "last")}
    fit(tmp_path / "head", Phase("head", layers="head", epochs=1), model=model)
    for layer, weights in before.items():
        for old, new in zip(weights, weights_of(model, layer), strict=True):
            np.testing.assert_array_equal(old, new)
    fit(tmp_path / "top", Phase("fine", layers="top:2", epochs=1), model=model)
    assert np.abs(before["last"][0] - weights_of(model, "last")[0]).max() > 0
    for layer in ("first", "norm"):
        for old, new in zip(before[layer], weights_of(model, layer), strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_training_leaves_no_graph_behind(tmp_path):
    """TensorFlow's registry of gradients would hold each of them, with all variables."""
    found = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(len(_custom_gradients()))

    before = len(_custom_gradients())
    fit(tmp_path, Phase("all", epochs=1), callbacks=[Look()])
    assert found[0] > before == len(_custom_gradients())


def test_batch_normalisation_of_the_backbone_moves_only_when_asked(tmp_path):
    model = make_model()
    before = weights_of(model, "norm")
    fit(tmp_path / "frozen", Phase("fine", layers="all", epochs=1), model=model)
    for old, new in zip(before, weights_of(model, "norm"), strict=True):
        np.testing.assert_array_equal(old, new)
    fit(tmp_path / "open", Phase("fine", layers="all", epochs=1, freeze_batchnorm=False), model=model)
    assert all(np.abs(old - new).max() > 0 for old, new in zip(before, weights_of(model, "norm"), strict=True))


def test_the_model_ends_with_the_best_weights(tmp_path):
    model, history = fit(tmp_path, Phase("all", epochs=4, learning_rate=0.05))
    loss = model.evaluate(val_batches(), verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(history["val_loss"].min(), rel=1e-5)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        # Labels reach the loss. Pixels only reach the weights, because ReLU on a CPU turns NaN into 0.
        (1.0, np.nan, "`loss` became nan in epoch 2, batch 1"),
        (np.nan, 1.0, "became nan.* in epoch 2"),
    ],
)
def test_nan_stops_the_run_and_keeps_the_last_good_state(tmp_path, images, labels, message):
    def spoiled(first_epoch):
        x, y = arrays(8, 0)
        bad = tf.data.Dataset.from_tensors((x * np.float32(images), y * np.float32(labels))).repeat()
        return train_batches(first_epoch).take(STEPS).concatenate(bad)

    phases = [Phase("all", epochs=3)]
    with pytest.raises(RunError, match=message):
        fit_phases(make_model(), spoiled, val_batches(), phases, tmp_path, steps_per_epoch=STEPS, progress=False)
    assert (tmp_path / "history.csv").read_text().count("\n") == 2
    assert (tmp_path / "checkpoints" / "best.keras").exists()


def test_a_plain_data_set_and_class_weights_work(tmp_path):
    train = tf.data.Dataset.from_tensor_slices(arrays(16, 3)).batch(8)
    history = fit_phases(
        make_model(), train, None, [Phase("all", epochs=2)], tmp_path, monitor="loss",
        class_weight={0: 1.0, 1: 2.0}, progress=False,
    )  # fmt: skip
    assert list(history["epoch"]) == [1, 2] and "val_loss" not in history


@pytest.mark.parametrize(("outputs", "monitor"), [(1, "val_loss"), (1, "val_f1_macro"), (3, "val_f1_weighted")])
def test_a_step_is_traced_once(tmp_path, outputs, monitor):
    """Tracing is most of a short run; a variable that appears during the first step would cause a second one."""
    traces = []

    class Count(keras.layers.Layer):
        def call(self, x, training=False):
            traces.append(training)
            return x

    images, labels = arrays(16, 0)
    if outputs > 1:
        labels = keras.utils.to_categorical(np.arange(16) % outputs)
    inputs = keras.Input((8, 8, 3))
    x = Count()(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")(x))
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    traces.clear()
    phases = [Phase("all", epochs=2, schedule="one_cycle")]
    fit_phases(
        model, data, data, phases, tmp_path, monitor=monitor, mode="min" if monitor == "val_loss" else "max",
        progress=False,
    )  # fmt: skip
    assert sorted(map(bool, traces)) == [False, True]


def test_each_weight_stays_reachable_for_gradients_in_xla(tmp_path):
    _, history = fit(tmp_path, Phase("all", epochs=1), jit_compile=True)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": "bottom"}, "'head', 'top:N' or 'all'"),
        ({"layers": "top:0"}, "'head', 'top:N' or 'all'"),
        ({"epochs": -1}, "0 or more"),
        ({"learning_rate": 0}, "above 0"),
        ({"schedule": "square"}, "one of"),
        ({"schedule": "cosine", "plateau_patience": 2}, "'constant' only"),
        ({"warmup_epochs": 1}, "'cosine' only"),
        ({"min_delta": -1}, "0 or more"),
        ({"plateau_factor": 2}, "between 0 and 1"),
        ({"patience": -1}, "0 or more"),
    ],
)
def test_a_wrong_phase_is_named(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        Phase("mine", **changes)
    assert "mine" in str(caught.value)


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(InputError, match="name of a Keras optimizer"):
        make_optimizer(Phase("p", optimizer="adamm"), 5)
    with pytest.raises(InputError, match="holds its arguments"):
        make_optimizer(Phase("p", optimizer_config={"momentun": 0.9}), 5)
    with pytest.raises(InputError, match="needs `ema_overwrite_frequency`"):
        make_optimizer(Phase("p", optimizer_config={"use_ema": True}), 5)
    assert make_optimizer(Phase("p", optimizer_config={"use_ema": True, "ema_overwrite_frequency": 5}), 5).use_ema
    with pytest.raises(InputError, match="jit_compile"):  # Keras 3 has none, and would not pass over it
        make_optimizer(Phase("p", optimizer_config={"jit_compile": True}), 5)
    with pytest.raises(InputError, match="needs `steps_per_epoch`"):
        make_optimizer(Phase("p", schedule="cosine"), None)
    with pytest.raises(InputError, match="needed with a function"):
        fit_phases(make_model(), train_batches, val_batches(), [Phase("p")], tmp_path)
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(InputError, match=r"leukemia-tf\[tensorboard\]"):
            fit(tmp_path, Phase("p"), tensorboard=True)
    with pytest.raises(InputError, match="or the worst epoch is kept. Received: 'min'"):
        fit(tmp_path, Phase("p", epochs=1), monitor="val_auc")
    with pytest.raises(InputError, match="one of the metrics"):
        fit(tmp_path, Phase("p", epochs=1), monitor="val_f2")


def test_jit_is_off_on_a_cpu_unless_asked():
    assert resolve_jit_compile("auto") is False  # the tests hide any GPU
    assert resolve_jit_compile(True) is True and resolve_jit_compile(False) is False
    with pytest.raises(InputError, match="'auto'"):
        resolve_jit_compile("yes")


def test_reseeding_repeats_dropout_and_tells_epochs_apart():
    model = make_model()
    images, _ = arrays(8, 0)

    def run(*numbers):
        reseed(model, *numbers)
        return keras.ops.convert_to_numpy(model(images, training=True))

    first = run(0, 0, 1)
    run(0, 0, 2)
    np.testing.assert_array_equal(run(0, 0, 1), first)
    assert np.abs(run(0, 0, 2) - first).max() > 0
