"""Whether the model that is judged is the one that training chose."""

from __future__ import annotations

import logging
import types

import numpy as np
import pytest

from leukemia_tf.recipes.verdict import check_kept

LABELS = np.arange(200) % 2


def run_in(folder, monitor="val_loss", mode="min"):
    folder.joinpath("history.csv").write_text(
        "phase,epoch,val_loss,val_accuracy\nhead,1,0.9,0.6\nhead,2,0.4,0.9\nfine-tune,1,0.5,0.95\n"
    )
    return types.SimpleNamespace(path=folder, recipe=types.SimpleNamespace(monitor=monitor, mode=mode))


def one_sigmoid(accuracy):
    """Probabilities with which so many images are right."""
    right = np.arange(len(LABELS)) < accuracy * len(LABELS)
    return np.where(right, LABELS, 1 - LABELS)[:, None] * 0.8 + 0.1


@pytest.fixture
def heard(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("leukemia_tf"), "propagate", True)
    return caplog


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("accuracy", "other"), [(0.9, False), (0.88, False), (0.92, False), (0.6, True), (0.95, True)])
def test_another_accuracy_than_the_kept_epoch_had_is_told(tmp_path, heard, outputs, accuracy, other):
    found = one_sigmoid(accuracy)
    check_kept(run_in(tmp_path), LABELS, found if outputs == 1 else np.hstack([1 - found, found]))
    assert ("not the model that training chose" in heard.text) == other
    assert not other or f"is {accuracy:.3f}, and in the epoch that was kept (head, 2) it was 0.900" in heard.text


def test_the_epoch_is_that_of_the_monitor_and_without_a_history_there_is_nothing_to_tell(tmp_path, heard):
    check_kept(run_in(tmp_path, "val_accuracy", "max"), LABELS, one_sigmoid(0.95))
    run = run_in(tmp_path)
    (tmp_path / "history.csv").unlink()
    check_kept(run, LABELS, one_sigmoid(0.1))
    assert not heard.text
