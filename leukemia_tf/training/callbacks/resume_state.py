"""All that a killed training needs to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import keras
import numpy as np

from leukemia_tf.errors import RunError
from leukemia_tf.files import atomic_path

_KEPT = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "cooldown_counter", "best"),
}
"""What the stock callbacks know at the end of an epoch. A callback of a user's own has `get_state`/`set_state`."""


class ResumeState(keras.callbacks.Callback):
    """After each epoch, write the weights that can have changed, the optimizer and the callbacks, in one file.

    `keras.callbacks.BackupAndRestore` deletes its backup at the end of each `fit` and keeps nothing of the other
    callbacks; here the file stays, and says which phase and epoch it belongs to. Only weights of layers that were
    open in some phase are written: with 99 million parameters and an open head that is 27 MB, not 750.

    Call `restore` after `compile`, with the same layers open as when the file was written, then
    ``fit(..., initial_epoch=state["epoch"] + 1)``. Put this callback last in the list, after those whose decisions
    it records.

    Args:
        path: the file, ending in ``.npz``.
        phase: number of the current phase.
        history: rows of the epochs before (one dict an epoch), kept in the file too.
        live: indices into ``model.weights`` that earlier phases opened.
        fingerprint: of the weights that training began with, from `weights_fingerprint`.
        recorded: the callbacks of the same `fit` whose state is kept: early stopping, learning rate on a plateau,
            and any with `get_state()` and `set_state(state)`.
        budget: a `TimeBudget`; an epoch that it cut short is not recorded.
        whole: the model whose weights are kept, where `fit` trains another one that is made of its layers.
        facts: further values for the file, JSON-able, which `read_state` gives back.
    """

    def __init__(
        self,
        path,
        *,
        phase: int = 0,
        phase_name: str = "",
        epochs: int | None = None,
        history=(),
        live=(),
        fingerprint: str = "",
        recorded=(),
        budget=None,
        whole: keras.Model | None = None,
        facts: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.recorded = list(recorded)
        self.path = pathlib.Path(path)
        self.phase = phase
        self.phase_name = phase_name
        self.epochs = epochs
        self.history = list(history)
        self.live = set(live)
        self.fingerprint = fingerprint
        self.budget = budget
        self.whole = whole
        self.facts = dict(facts or {})
        self._restored: dict[str, Any] | None = None

    def set_model(self, model):
        super().set_model(model)
        self.whole = self.whole or model
        self.live |= live_weights(self.whole)

    def on_train_begin(self, logs=None):
        # The stock callbacks reset themselves in their own on_train_begin, which runs before this one.
        for callback in self.recorded:
            state = (self._restored or {}).get(_key(callback))
            if state is None:
                continue
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)

    def on_epoch_end(self, epoch, logs=None):
        if self.budget is not None and self.budget.cut_epoch:
            return
        row = {"phase": self.phase_name, "epoch": epoch + 1}
        row |= {key: float(value) for key, value in (logs or {}).items() if key != "learning_rate"}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.history.append(row)
        early = any(getattr(callback, "stopped_epoch", 0) == epoch > 0 for callback in self.recorded)
        stopped = self.model.stop_training and (early or self.budget is None or not self.budget.stopped)
        state = {
            **self.facts,
            "phase": self.phase,
            "epoch": epoch,
            "phase_done": bool(stopped or (self.epochs is not None and epoch + 1 >= self.epochs)),
            "history": self.history,
            "fingerprint": self.fingerprint,
            "callbacks": {
                _key(callback): (
                    callback.get_state()
                    if hasattr(callback, "get_state")
                    else {name: _plain(getattr(callback, name)) for name in _KEPT[type(callback).__name__]}
                )
                for callback in self.recorded
                if hasattr(callback, "get_state") or type(callback).__name__ in _KEPT
            },
        }
        save_state(self.path, self.whole, state, self.live, self.model.optimizer)

    def restore(self, model: keras.Model) -> dict[str, Any]:
        """Load the file into `whole` and a compiled `model`, and remember the callbacks' part for `on_train_begin`.

        Raises:
            RunError: if the file does not fit the model.
        """
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = load_state(self.path, self.whole or model, model.optimizer)
        self.live |= set(state["live"])
        self.history = state["history"]
        self._restored = state["callbacks"]
        return state


def live_weights(model: keras.Model) -> set[int]:
    """Indices into ``model.weights`` of what training can change: all but the weights of frozen layers."""
    frozen = set()
    for layer in model._flatten_layers():
        if not layer.trainable:
            frozen |= {id(weight) for weight in layer._trainable_variables + layer._non_trainable_variables}
    return {index for index, weight in enumerate(model.weights) if id(weight) not in frozen}


def weights_fingerprint(model: keras.Model) -> str:
    """Hash of all weights, to tell whether two trainings begin with the same ones."""
    digest = hashlib.blake2b(digest_size=16)
    for weight in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def save_state(path, model: keras.Model, state: dict[str, Any], live, optimizer: keras.optimizers.Optimizer) -> None:
    """Write `state`, the live weights and the optimizer's variables to an ``.npz`` file, in one step."""
    live = sorted(live)
    arrays = {f"weight_{index}": keras.ops.convert_to_numpy(model.weights[index]) for index in live}
    arrays |= {f"optimizer_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(optimizer.variables)}
    text = json.dumps({**state, "live": live, "weights": len(model.weights)})
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, state=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def read_state(path) -> dict[str, Any] | None:
    """The JSON part of the file, or None where there is no file.

    Raises:
        RunError: if the file is damaged.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(file["state"].tobytes())
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise RunError(f"`{path}` is damaged ({error}); delete it to begin the training anew") from error


def load_state(path, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> dict[str, Any]:
    """Assign the stored weights to `model`, and the optimizer's variables to a built `optimizer` where one is given.

    Raises:
        RunError: if the file is missing or was written for another model or optimizer.
    """
    state = read_state(path)
    if state is None:
        raise RunError(f"`{path}` is missing, so there is nothing to go on from")
    if state["weights"] != len(model.weights):
        raise RunError(
            f"`{path}` holds a model of {state['weights']} weights; this one has {len(model.weights)}. "
            "Use the same recipe and the same version of Keras, or another run folder."
        )
    with np.load(path, allow_pickle=False) as file:
        pairs = [(model.weights[index], f"weight_{index}") for index in state["live"]]
        if optimizer is not None:
            pairs += [(variable, f"optimizer_{i}") for i, variable in enumerate(optimizer.variables)]
        for variable, key in pairs:
            if key not in file or tuple(file[key].shape) != tuple(variable.shape):
                raise RunError(
                    f"`{path}` does not fit: `{variable.path}` wants shape {tuple(variable.shape)}. "
                    "Use the same recipe, or another run folder."
                )
            variable.assign(file[key])
    return state


def _key(callback: keras.callbacks.Callback) -> str:
    return type(callback).__name__


def _plain(value):
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return float(value)
