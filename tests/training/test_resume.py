"""Killed anywhere, the same call ends with the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from leukemia_tf.errors import RunError
from leukemia_tf.training import Phase, TimeBudget, fit_phases
from tests.training.tiny import PHASES, STEPS, make_model, train_batches, val_batches


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


class KillAt(keras.callbacks.Callback):
    """Raise at the given batch, counted over all phases of this process."""

    def __init__(self, batch: int):
        super().__init__()
        self.left = batch

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Killed


def fit(run_dir, model=None, callbacks=(), phases=PHASES, **options):
    model = model or make_model()
    history = fit_phases(
        model,
        train_batches,
        val_batches(),
        phases,
        run_dir,
        steps_per_epoch=STEPS,
        callbacks=callbacks,
        progress=False,
        **options,
    )
    return model, history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    model, history = fit(tmp_path_factory.mktemp("whole"))
    assert history.attrs["complete"]
    return model.get_weights(), history


# 2 epochs of 4 batches in phase 1, up to 3 in phase 2: in the first epoch, at the end of phase 1, in phase 2 twice.
@pytest.mark.parametrize("batch", [2, 8, 10, 14])
def test_killed_and_resumed_is_equal_bit_for_bit(tmp_path, uninterrupted, batch):
    with pytest.raises(Killed):
        fit(tmp_path, callbacks=[KillAt(batch)])
    model, history = fit(tmp_path)
    weights, whole = uninterrupted
    for there, here in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)
    assert history.to_dict("list") == whole.to_dict("list")
    assert (tmp_path / "history.csv").read_text().count("\n") == len(whole) + 1


def test_killed_between_the_phases(tmp_path, uninterrupted):
    class KillAtPhaseTwo(keras.callbacks.Callback):
        fits = 0

        def on_train_begin(self, logs=None):
            self.fits += 1
            if self.fits == 2:
                raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, callbacks=[KillAtPhaseTwo()])
    model, _ = fit(tmp_path)
    for there, here in zip(uninterrupted[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


def test_killed_three_times(tmp_path, uninterrupted):
    for batch in (6, 3, 5):
        with pytest.raises(Killed):
            fit(tmp_path, callbacks=[KillAt(batch)])
    model, _ = fit(tmp_path)
    for there, here in zip(uninterrupted[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


def test_a_finished_training_is_not_trained_again(tmp_path, uninterrupted):
    fit(tmp_path)
    model, history = fit(tmp_path, callbacks=[KillAt(1)])
    assert len(history) == len(uninterrupted[1])
    for there, here in zip(uninterrupted[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


def test_early_stopping_counts_on_after_a_resume(tmp_path):
    # A rate so small that nothing improves by 1 after the first epoch: patience 2 must end at epoch 3 either way.
    phases = [Phase("only", epochs=9, learning_rate=1e-12, patience=2)]
    metric = {"monitor": "val_accuracy", "mode": "max"}
    _, whole = fit(tmp_path / "whole", phases=phases, **metric)
    assert len(whole) == 3
    with pytest.raises(Killed):
        fit(tmp_path / "cut", phases=phases, callbacks=[KillAt(2 * STEPS + 1)], **metric)
    _, resumed = fit(tmp_path / "cut", phases=phases, **metric)
    assert len(resumed) == 3


def test_other_initial_weights_are_refused(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, callbacks=[KillAt(6)])
    with pytest.raises(RunError, match="began with other weights"):
        fit(tmp_path, model=make_model(seed=1))


def test_a_time_budget_ends_in_time_and_the_rest_follows(tmp_path, uninterrupted, monkeypatch):
    budget = TimeBudget(minutes=60)

    class Clock(keras.callbacks.Callback):
        """After the fifth batch the budget is spent, in the middle of epoch 2."""

        batches = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.batches += 1
            if self.batches == 6:
                monkeypatch.setattr(budget, "_deadline", 0.0)

    _, history = fit(tmp_path, callbacks=[Clock(), budget])
    assert not history.attrs["complete"] and budget.cut_epoch
    assert len(history) == 1
    model, whole = fit(tmp_path)
    assert whole.attrs["complete"]
    for there, here in zip(uninterrupted[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


def test_a_damaged_state_is_named(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, callbacks=[KillAt(6)])
    (tmp_path / "checkpoints" / "state.npz").write_bytes(b"PK half a file")
    with pytest.raises(RunError, match="is damaged"):
        fit(tmp_path)
