"""The callbacks by themselves, in a user's own `model.fit`."""

from __future__ import annotations

import io
import math

import keras
import numpy as np
import pytest

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.training import BestCheckpoint, ProgressLine, StopOnNaN, TimeBudget


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def fit(model, *callbacks, epochs=3, y=Y):
    return model.fit(X, y, batch_size=4, epochs=epochs, callbacks=list(callbacks), verbose=0, shuffle=False)


def test_nan_ends_training_with_one_clear_line(model):
    with pytest.raises(RunError, match=r"`loss` became nan in epoch 1, batch 1\. Lower the learning rate") as caught:
        fit(model, StopOnNaN(), y=Y * np.nan)
    assert "\n" not in str(caught.value)


def test_infinite_validation_loss_ends_training(model):
    callback = StopOnNaN()
    callback.on_epoch_begin(4)
    with pytest.raises(RunError, match="`val_loss` became inf in epoch 5"):
        callback.on_epoch_end(4, {"loss": 1.0, "val_loss": math.inf})


class Scripted(keras.callbacks.Callback):
    """Put given values into the epoch's logs."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.values[epoch]


@pytest.mark.parametrize(("mode", "values", "kept"), [("max", [0.5, 0.8, 0.7], 1), ("min", [0.5, 0.8, 0.2], 2)])
def test_the_best_epoch_is_kept(model, tmp_path, mode, values, kept):
    weights = []
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))
    best = BestCheckpoint(tmp_path / "best.keras", "score", mode)
    fit(model, Scripted(values), record, best)
    assert best.best() == {"value": values[kept], "monitor": "score", "phase": 0, "epoch": kept}
    best.restore(model)
    np.testing.assert_array_equal(model.get_weights()[0], weights[kept][0])


def test_the_best_never_gets_worse_in_a_later_fit(model, tmp_path):
    path = tmp_path / "best.keras"
    fit(model, Scripted([0.9]), BestCheckpoint(path, "score", "max"), epochs=1)
    before = path.read_bytes()
    again = BestCheckpoint(path, "score", "max")
    fit(model, Scripted([0.8, 0.7]), again, epochs=2)
    assert path.read_bytes() == before and again.best()["value"] == 0.9
    fit(model, Scripted([0.95]), again, epochs=1)
    assert again.best()["value"] == 0.95


def test_an_unknown_monitor_and_path_are_named(model, tmp_path):
    with pytest.raises(InputError, match=r"\['loss'\]. Received: 'val_auc'"):
        fit(model, BestCheckpoint(tmp_path / "best.keras", "val_auc", "max"))
    with pytest.raises(InputError, match=".keras"):
        BestCheckpoint(tmp_path / "best.h5")


def test_a_time_budget_stops_after_the_epoch_that_leaves_too_little(model, monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr("leukemia_tf.training.callbacks.time_budget.time.monotonic", lambda: now[0])

    class Slow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            now[0] += 25.0  # seconds an epoch

    budget = TimeBudget(minutes=1)
    history = fit(model, Slow(), budget, epochs=10)
    # 10 seconds are left after two epochs of 25: a third may not fit.
    assert len(history.epoch) == 2
    assert budget.stopped and not budget.cut_epoch and budget.seconds_left == 10
    assert "Time budget of 1 minutes" in caplog.text


def test_a_spent_time_budget_cuts_the_epoch(model, monkeypatch):
    budget = TimeBudget(minutes=1)
    monkeypatch.setattr(budget, "_deadline", 0.0)
    assert len(fit(model, budget, epochs=10).epoch) == 1
    assert budget.cut_epoch
    with pytest.raises(InputError, match="above 0"):
        TimeBudget(minutes=0)


def test_the_progress_line_says_phase_epoch_and_time_left(model):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    log, terminal = io.StringIO(), Terminal()
    fit(model, ProgressLine("head", number=1, phases=2, epochs_after=4, stream=log))
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("phase 1/2 head, epoch 1/3: begins")
    assert len(lines) == 4
    assert lines[3].startswith("phase 1/2 head, epoch 3/3: loss ") and lines[3].endswith(" left")
    fit(model, ProgressLine("head", stream=terminal))
    assert "[##########..........] 1/2" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 3
