"""How a recipe's model is trained: a network phase by phase, an estimator of scikit-learn in one go."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Callable

from leukemia_tf.errors import InputError
from leukemia_tf.recipes.colour import IN_THE_MODEL
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import Run

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from leukemia_tf.data import Manifest, PendingPixels
    from leukemia_tf.training import FeatureCache, TimeBudget

log = logging.getLogger(__name__)

SWITCH = {"auto": "auto", "on": True, "off": False}
"""Words of a recipe -> what the functions of `leukemia_tf.training` take."""


def is_network(recipe: Recipe) -> bool:
    """Whether the recipe's model is a ``keras.Model``, and not an estimator of scikit-learn."""
    from leukemia_tf.models import describe_model

    return describe_model(recipe.model.builder)["kind"] == "keras"


def check_network(model: keras.Model, recipe: Recipe) -> None:
    """Try loss, monitor and optimizers, so that a slip in them is found before the images are read.

    Raises:
        InputError: for the first of them that does not fit.
    """
    from leukemia_tf.training import make_loss
    from leukemia_tf.training.metrics import check_mode
    from leukemia_tf.training.optimizer import make_optimizer

    make_loss(recipe.loss, recipe.loss_config, outputs=model.output_shape[-1])
    check_mode(recipe.monitor, recipe.mode)
    for phase in recipe.phases:
        make_optimizer(phase, steps_per_epoch=1)


def fit_network(
    model: keras.Model,
    recipe: Recipe,
    run: Run,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray | PendingPixels],
    budget: TimeBudget | None,
    progress: bool,
    teacher: keras.Model | None = None,
    read_all: Callable[[], Any] = lambda: None,
) -> pd.DataFrame:
    """Train a Keras model through the phases.

    Args:
        model: freshly built, with the same weights each time that the run goes on.
        recipe, run: what to train, and the folder.
        manifest: gives the classes.
        parts: rows of each split.
        pixels: uint8 (N, S, S, 3) of each split, row i of `parts`, read or still being read; with a `teacher` those of
            ``train`` may be larger.
        budget: of time, or None.
        progress: show a line on standard error.
        teacher: the model that `model` learns from, as ``recipe.distillation`` says.
        read_all: waits until the images of all splits are read, and raises for those that cannot be. Called at the end
            of each epoch, before anything of it is written.

    Returns:
        The history of `leukemia_tf.training.fit_phases`, one row an epoch.
    """
    import keras

    from leukemia_tf.data import class_weights, make_pipeline, steps_per_epoch
    from leukemia_tf.data.pipeline import fill_last_batch
    from leukemia_tf.training import fit_phases, make_loss, resolve_jit_compile

    fitted, known = model, None
    if teacher is not None:
        fitted, known = _with_teacher(model, teacher, recipe, pixels["train"], progress)
    data, outputs = recipe.data, model.output_shape[-1]
    common = {
        "manifest": manifest,
        "batch_size": data.batch_size,
        "labels": "binary" if outputs == 1 else "categorical",
    }
    balance = "oversample" if data.balance == "oversample" else "none"

    def batches(first_epoch: int):
        return make_pipeline(
            parts["train"],
            policy=data.policy,
            training=True,
            seed=recipe.seed,
            first_epoch=first_epoch,
            balance=balance,
            image_size=pixels["train"].shape[1],
            pixels=pixels["train"],
            known=known,
            **common,
        )

    steps = steps_per_epoch(parts["train"], data.batch_size, training=True, balance=balance)
    val = make_pipeline(parts["val"], image_size=data.image_size, pixels=pixels["val"], **common)
    jit = resolve_jit_compile(SWITCH[recipe.jit_compile])
    # XLA compiles once more for a smaller last batch. Filled up, it needs metrics that look at weights, and class
    # weights would enter those of training.
    workers = recipe.strategy == "multi_worker"  # each batch needs a share for each of them
    if (jit or workers) and data.balance != "class_weight":
        val = fill_last_batch(val, len(parts["val"]), data.batch_size)
    cache = None
    # A teacher looks at the images themselves; files that one worker has and another has not would part them.
    if teacher is None and not workers:
        cache = _feature_cache(recipe, manifest, parts, pixels, steps, common["labels"])
    return fit_phases(
        fitted,
        batches,
        val,
        recipe.phases,
        run.path,
        loss=make_loss(recipe.loss, recipe.loss_config, outputs=outputs),
        monitor=recipe.monitor,
        mode=recipe.mode,
        class_weight=class_weights(parts["train"], manifest.classes) if data.balance == "class_weight" else None,
        steps_per_epoch=steps,
        seed=recipe.seed,
        jit_compile=jit,
        # Workers that measure differently would do differently.
        steps_per_execution=recipe.steps_per_execution or (1 if workers else "auto"),
        feature_cache=cache,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: read_all()),
            *([budget] if budget else []),
        ],
        tensorboard=recipe.tensorboard,
        progress=progress,
    )


def _with_teacher(
    model: keras.Model, teacher: keras.Model, recipe: Recipe, pixels: np.ndarray, progress: bool
) -> tuple[keras.Model, dict[str, np.ndarray] | None]:
    """The distiller around both, and what the teacher says of every image where that can be kept."""
    import keras

    from leukemia_tf.data.augment import get_policy
    from leukemia_tf.training.distillation import TapDistiller, outputs_to_keep, teacher_outputs

    # The projections begin with the same numbers whether the teacher was loaded or trained in this process.
    keras.utils.set_random_seed(recipe.seed)
    distiller = TapDistiller(teacher, model, recipe.distillation)
    if distiller.teacher_taps:
        pairs = zip(distiller.teacher_taps, distiller.student_taps)
        log.info("maps that are compared: %s", ", ".join(f"{one} and {other}" for one, other in pairs))
    views = get_policy(recipe.data.policy).views
    epochs = sum(phase.epochs for phase in recipe.phases)
    if not outputs_to_keep(distiller, len(pixels), views, epochs, recipe.distillation.cache):
        return distiller, None
    return distiller, teacher_outputs(distiller, pixels, views, progress=progress)


def _feature_cache(
    recipe: Recipe,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray | PendingPixels],
    steps: int,
    labels: str,
) -> FeatureCache | None:
    """Where features of frozen backbones are kept, or None for a recipe that has no use for them."""
    from leukemia_tf.data.balance import epoch_length, label_indices
    from leukemia_tf.data.features import batches_key
    from leukemia_tf.training import FeatureCache

    views, data = recipe.feature_views, recipe.data
    if not views or not any(phase.views_kept(views) for phase in recipe.phases):
        return None
    balance = "oversample" if data.balance == "oversample" else "none"
    shown = epoch_length(label_indices(parts["train"], manifest.classes), balance)
    options = {"batch_size": data.batch_size, "labels": labels}
    return FeatureCache(
        train_key=batches_key(
            pixels["train"], parts["train"], manifest, policy=data.policy, seed=recipe.seed, balance=balance, **options
        ),
        val_key=batches_key(pixels["val"], parts["val"], manifest, **options),
        train_rows=steps * min(data.batch_size, shown),
        val_rows=len(parts["val"]),
        batch_size=data.batch_size,
        views=views,
    )


def check_estimator(recipe: Recipe) -> None:
    """Refuse what has no meaning for a model that is fitted in one go, instead of passing over it.

    Raises:
        InputError: names the fields.
    """
    given = {
        "phases": recipe.phases,
        "loss": recipe.loss if recipe.loss != "auto" else "",
        "minutes": recipe.minutes,
        "precision": recipe.precision if recipe.precision != "float32" else "",
        "data.colour": recipe.data.colour if recipe.data.colour in IN_THE_MODEL else "",
        "distillation": recipe.distillation.describe() if recipe.distillation else "",
        "strategy": recipe.strategy if recipe.strategy != "none" else "",
        "data.balance": recipe.data.balance if recipe.data.balance != "none" else "",
    }
    wrong = {name: value for name, value in given.items() if value}
    if wrong:
        values = ", ".join(f"{len(value)} phases" if name == "phases" else str(value) for name, value in wrong.items())
        raise InputError(
            f"`{recipe.model.builder}` is fitted in one go, without {', '.join(wrong)}. Received: {values}"
        )


def fit_estimator(
    model: Any,
    recipe: Recipe,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Fit an estimator of scikit-learn. Arguments as for `fit_network`; no epochs, so the history is empty."""
    import pandas as pd

    from leukemia_tf.data.balance import label_indices

    labels = {split: label_indices(parts[split], manifest.classes) for split in ("train", "val")}
    log.info(
        "fitting `%s` to %s images; there are no epochs to show", recipe.model.builder, f"{len(labels['train']):,}"
    )
    began = time.monotonic()
    model.fit(pixels["train"], labels["train"], pixels["val"], labels["val"], seed=recipe.seed)
    log.info("fitted in %.1f s", time.monotonic() - began)
    return pd.DataFrame()
