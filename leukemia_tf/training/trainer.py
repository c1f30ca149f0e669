"""The phased trainer: freeze, compile, fit, and go on where a killed run stopped."""

from __future__ import annotations

import importlib.util
import logging
import os
import pathlib
from typing import Literal, Sequence

import keras
import pandas as pd

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import atomic_path
from leukemia_tf.models import cut_model, open_layers
from leukemia_tf.models.cut import Cut
from leukemia_tf.models.freeze import layers_from_the_top
from leukemia_tf.training.callbacks.best_checkpoint import BestCheckpoint
from leukemia_tf.training.callbacks.progress_line import ProgressLine
from leukemia_tf.training.callbacks.resume_state import (
    ResumeState,
    live_weights,
    load_state,
    read_state,
    weights_fingerprint,
)
from leukemia_tf.training.callbacks.stop_on_nan import StopOnNaN
from leukemia_tf.training.callbacks.time_budget import TimeBudget
from leukemia_tf.training.frozen import FeatureCache, FrozenBackbones, PhaseFeatures
from leukemia_tf.training.loss import make_loss
from leukemia_tf.training.metrics import check_mode, make_metrics
from leukemia_tf.training.optimizer import fuse_update, make_optimizer
from leukemia_tf.training.phase import Phase
from leukemia_tf.training.runtime import graphs_released, reseed, resolve_jit_compile, student_of
from leukemia_tf.training.step_size import resolve_steps_per_execution, step_seconds

log = logging.getLogger(__name__)


@graphs_released()
def fit_phases(
    model: keras.Model,
    train,
    val,
    phases: Sequence[Phase],
    run_dir: str | os.PathLike,
    *,
    loss="auto",
    metrics: Sequence | Literal["auto"] = "auto",
    monitor: str = "val_loss",
    mode: Literal["min", "max"] = "min",
    class_weight: dict[int, float] | None = None,
    steps_per_epoch: int | None = None,
    seed: int = 0,
    jit_compile: bool | Literal["auto"] = "auto",
    steps_per_execution: int | Literal["auto"] = 1,
    feature_cache: FeatureCache | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Train `model` phase by phase and leave it with the best weights seen.

    Each phase opens its layers, compiles (unfreezing without compiling changes nothing) and fits. What is frozen works
    as in prediction (see `Phase.frozen_dropout`), and with `feature_cache` it does so once for each of a few augmented
    views, and what is open trains on what that gave. After each epoch
    the best checkpoint, the state to resume from and the history are written to ``run_dir/checkpoints`` and
    ``run_dir/history.csv``, each in one step. The same call with the same `run_dir` goes on after the last complete
    epoch; on a CPU, with `set_determinism` and a `train` that is a function, it sees the same batches, dropout and
    optimizer state as a call that was never interrupted, and ends with the same weights bit for bit.

    Args:
        model: takes what the data sets give. For a resumed call: built anew, with the same initial weights. Of a
            `keras.distillation.Distiller` the student is trained and saved, through the same phases.
        train: a `tf.data.Dataset` of ``(images, labels)`` for one epoch, or a function that takes the number of the
            first epoch, counted through all phases from 0, and returns an endless one (then `steps_per_epoch` is
            needed). Only the function can be resumed exactly.
        val: a data set of one pass, or None (then `monitor` must not be a ``val_`` metric). Where it gives sample
            weights, the metrics respect them, also in training; so not together with `class_weight`.
        phases: see `Phase`. Phases with 0 epochs are left out.
        run_dir: a folder, made if need be.
        loss: a Keras loss of probabilities, such as `make_loss` gives; ``"auto"`` is binary cross-entropy for one
            output, categorical above.
        metrics: Keras metrics; ``"auto"`` is accuracy and, as ``auc``, the area under the ROC curve, and F1 where
            `monitor` is ``"val_f1_macro"`` or ``"val_f1_weighted"``.
        monitor, mode: what "best" means, for the checkpoint, early stopping and the plateau.
        class_weight: weight of each class in the loss, by index.
        steps_per_epoch: batches an epoch, for an endless `train`.
        seed: of dropout and stochastic depth, and recorded.
        jit_compile: see `resolve_jit_compile`.
        steps_per_execution: batches between two looks of the callbacks, see `resolve_steps_per_execution`. The weights
            do not depend on it.
        feature_cache: where to keep features of what is frozen, for phases in which that pays; `train` must be a
            function then. Without enough space on the disk those phases go on without, with a warning.
        callbacks: further ones. A `TimeBudget` among them is respected; one with `get_state()` and
            `set_state(state)` is recorded and restored. Their ``model`` is what is fitted: in a phase with
            something frozen a model around its layers, or of the open ones.
        tensorboard: also write event files to ``run_dir/tensorboard``.
        progress: show a `ProgressLine`.

    Returns:
        The history, one row an epoch: phase, epoch (from 1, in its phase), loss, metrics, ``val_`` of each,
        learning_rate. ``frame.attrs["complete"]`` is False if a `TimeBudget` ended the training early.

    Raises:
        RunError: if the loss becomes NaN, the folder cannot be written, or the state in it belongs to another model.
        InputError: for arguments that don't fit.
    """
    phases = [phase for phase in phases if phase.epochs > 0]
    if callable(train) and steps_per_epoch is None:
        raise InputError("`steps_per_epoch` is needed with a function as `train`. Received: None")
    if feature_cache is not None and not callable(train):
        raise InputError(f"`feature_cache` needs a function as `train`. Received: {type(train).__name__}")
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "`tensorboard` needs a package that is missing: pip install 'leukemia-tf[tensorboard]'. Received: True"
        )
    check_mode(monitor, mode)
    student = student_of(model)
    outputs = student.output_shape[-1]
    run_dir = pathlib.Path(run_dir)
    checkpoints = run_dir / "checkpoints"
    state_path = checkpoints / "state.npz"
    best = BestCheckpoint(checkpoints / "best.keras", monitor, mode)
    budget = next((callback for callback in callbacks if isinstance(callback, TimeBudget)), None)
    jit = resolve_jit_compile(jit_compile)
    log.info("jit_compile=%s (%s), precision %s", jit, jit_compile, keras.config.dtype_policy().name)

    # ---- where were we? -------------------------------------------------------------------------------------------
    fingerprint = weights_fingerprint(model)
    state = read_state(state_path)
    if state is None:
        # Killed between the very first checkpoint and the first state: the epoch is run again.
        best.clear()
    if state is not None and state["fingerprint"] != fingerprint:
        raise RunError(
            f"`{run_dir}` holds a training that began with other weights. Use the same weights, seed and versions to "
            "go on with it, or another `run_dir`."
        )
    history = list(state["history"]) if state else []
    live: set[int] = set(state["live"]) if state else set()
    if state:
        log.info("Going on after epoch %d of phase %d in `%s`", state["epoch"] + 1, state["phase"] + 1, run_dir)

    for number, phase in enumerate(phases):
        # ---- open layers, compile -----------------------------------------------------------------------------------
        resuming = state is not None and number == state["phase"]
        if state is not None and (number < state["phase"] or (resuming and state["phase_done"])):
            continue
        if budget is not None and budget.stopped:
            break
        open_layers(student, phase.layers, freeze_batchnorm=phase.freeze_batchnorm)
        live |= live_weights(model)
        if number > 0 and not resuming:
            # The best checkpoint lacks what a distiller has beside its student.
            if state is not None and (not phase.from_best or student is not model):
                load_state(state_path, model)
            if phase.from_best:
                best.restore(student)
        # What opens now is still what it was when the best weights were written, and will not be for long.
        best.cover(student, live)
        # ---- what is fitted: the model, or where something is frozen a model of its layers ---------------------------
        before = sum(earlier.epochs for earlier in phases[:number])
        fitted, batches, validation, features = model, train, val, None
        cut = None
        if phase.layers != "all" and not phase.frozen_dropout:
            cut = cut_model(model, layers_from_the_top(phase.layers))
        if cut is not None:
            fitted = FrozenBackbones(cut)
            views = phase.views_kept(feature_cache.views) if feature_cache is not None else 0
            if views and (not resuming or state.get("cached")):
                features = PhaseFeatures(
                    cut, feature_cache, train, val, views=views, steps=steps_per_epoch, seed=seed, jit_compile=jit,
                    following=_following(model, phases[number : number + 2], feature_cache), progress=progress,
                )  # fmt: skip
                if not features.fit_on_disk() and not resuming:
                    log.warning("no space for the features of phase `%s`: it computes them anew each epoch", phase.name)
                    features = None
        if features is not None:
            if not features.record(stop=budget.is_spent if budget else lambda: False):
                break
            fitted, validation = cut.head, features.val
        steps = steps_per_epoch if steps_per_epoch is not None else _cardinality(train)
        first_epoch = state["epoch"] + 1 if resuming else 0
        if features is not None:
            batches = features.train(first_epoch)
        elif callable(train):
            batches = train(before + first_epoch)
        # A validation that was filled up gives its filling the weight 0, and then metrics must look at weights.
        measured = "weighted_metrics" if len(getattr(validation, "element_spec", ())) == 3 else "metrics"
        fitted.compile(
            optimizer=make_optimizer(phase, steps),
            loss=make_loss(outputs=outputs) if loss == "auto" else loss,
            **{measured: make_metrics(outputs, monitor) if metrics == "auto" else list(metrics)},
            jit_compile=jit,
            steps_per_execution=resolve_steps_per_execution(
                steps_per_execution,
                steps,
                lambda: step_seconds(fitted, batches, (steps or 0) * phase.epochs, cached=features is not None),
            ),
        )
        # Variables that appear during the first step make TensorFlow trace the step twice.
        fitted.optimizer.build(fitted.trainable_variables)
        fuse_update(fitted.optimizer, fitted.trainable_variables, (steps or 0) * phase.epochs, jit_compile=jit)
        # ---- callbacks ---------------------------------------------------------------------------------------
        best.phase, best.live = number, live if features is not None else None
        listed = [StopOnNaN(), _Reseed(student, seed, number)]
        if phase.patience:
            listed.append(
                keras.callbacks.EarlyStopping(monitor, mode=mode, patience=phase.patience, min_delta=phase.min_delta)
            )
        if phase.plateau_patience:
            listed.append(
                keras.callbacks.ReduceLROnPlateau(
                    monitor, mode=mode, patience=phase.plateau_patience, factor=phase.plateau_factor
                )
            )
        if tensorboard:
            listed.append(keras.callbacks.TensorBoard(run_dir / "tensorboard" / f"{number}-{phase.name}"))
        listed += [*callbacks, _Unless(budget, best, model)]
        saver = ResumeState(
            state_path,
            phase=number,
            phase_name=phase.name,
            epochs=phase.epochs,
            history=history,
            live=live,
            fingerprint=fingerprint,
            recorded=listed,
            budget=budget,
            whole=model,
            facts={"cached": features is not None},
        )
        listed += [saver, _HistoryFile(run_dir / "history.csv", saver)]
        if progress:
            after = sum(later.epochs for later in phases[number + 1 :])
            listed.append(ProgressLine(phase.name, number=number + 1, phases=len(phases), epochs_after=after))
        # ---- fit ---------------------------------------------------------------------------------------------
        if resuming:
            saver.restore(fitted)
        fitted.fit(
            batches,
            validation_data=validation,
            epochs=phase.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps_per_epoch,
            class_weight=class_weight,
            shuffle=False,  # the data set shuffles itself; Keras warns otherwise
            callbacks=listed,
            verbose=0,
        )
        history, live = saver.history, saver.live
        state = read_state(state_path)

    if chosen := best.best():
        best.restore(student)
        best.write(student)
        log.info("Best %s %.5g, phase %d, epoch %d", monitor, chosen["value"], chosen["phase"] + 1, chosen["epoch"] + 1)
    frame = pd.DataFrame(history)
    frame.attrs["complete"] = bool(not phases or (state and state["phase_done"] and state["phase"] == len(phases) - 1))
    return frame


def _following(model: keras.Model, phases: Sequence[Phase], cache: FeatureCache) -> tuple[Cut, int] | None:
    """Where the second of two phases cuts the model, and how many views it keeps of that; None where it keeps none.

    Only after a phase of the head is what it cuts off still what it is now, and on the way to the backbones' outputs.
    """
    if len(phases) < 2 or phases[0].layers != "head":
        return None
    views, top = phases[1].views_kept(cache.views), layers_from_the_top(phases[1].layers)
    cut = cut_model(model, top) if views and top else None
    return (cut, views) if cut is not None else None


class _Reseed(keras.callbacks.Callback):
    """Give each epoch random states of its own, whatever ran before it and whichever part of the model is fitted."""

    def __init__(self, whole: keras.Model, seed: int, phase: int):
        super().__init__()
        self.whole = whole
        self.numbers = (seed, phase)

    def on_epoch_begin(self, epoch, logs=None):
        reseed(self.whole, *self.numbers, epoch)


class _Unless(keras.callbacks.Callback):
    """Pass `on_epoch_end` on, with the whole model, unless the time budget cut the epoch short."""

    def __init__(self, budget: TimeBudget | None, callback: keras.callbacks.Callback, whole: keras.Model):
        super().__init__()
        self.budget = budget
        self.callback = callback
        callback.set_model(whole)

    def on_epoch_end(self, epoch, logs=None):
        if self.budget is None or not self.budget.cut_epoch:
            self.callback.on_epoch_end(epoch, logs)


class _HistoryFile(keras.callbacks.Callback):
    """Write the whole history after each epoch, so that a resumed run repeats no row."""

    def __init__(self, path: pathlib.Path, saver: ResumeState):
        super().__init__()
        self.path = path
        self.saver = saver

    def on_epoch_end(self, epoch, logs=None):
        write_history(self.path, pd.DataFrame(self.saver.history))


def write_history(path: str | os.PathLike, history: pd.DataFrame) -> None:
    """Write the history as CSV, in one step."""
    with atomic_path(path) as temporary:
        history.to_csv(temporary, index=False, lineterminator="\n")


def _cardinality(train) -> int | None:
    size = getattr(train, "cardinality", None)
    if size is None:
        return None
    count = int(size())
    return count if count > 0 else None
