"""A run's model in any format it was exported to, asked for all that the run's decision needs of a batch of images."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Callable

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.export.check import DEFAULT_BOUNDS, beyond_bounds
from leukemia_tf.export.runners import FILES, has_runtime, read_metadata
from leukemia_tf.files import read_json
from leukemia_tf.recipes.colour import NONE
from leukemia_tf.recipes.run import ESTIMATOR_FILE, Run

FORMATS = ("keras", "saved_model", "litert", "litert-int8", "onnx")
AUTO = "auto"
_FASTEST_FIRST = ("litert", "onnx", "saved_model")
"""Exports that answer as Keras does, in the order in which they start. 8 bits are a choice of the user's."""
_UNTRACED = 4
"""Images that a Keras model is asked for before its graph is built."""
EXPORTS_FILE = "exports.json"
"""One row a format: what comparing it with Keras gave."""

Answer = tuple[np.ndarray, dict[str, np.ndarray]]
"""Raw probabilities [B, C] or [B, 1], and scores of strangeness [B], as `Decision.apply` takes them."""


def fastest_format(run: Run) -> str:
    """The export that starts fastest among those of this very model, checked within the default bounds and installed.

    Args:
        run: a finished training.

    Returns:
        One of ``litert``, ``onnx``, ``saved_model``; ``keras`` where there is none, such as for a model of
        scikit-learn.
    """
    file = run.path / EXPORTS_FILE
    checked = {row["format"]: row for row in read_json(file)} if file.exists() else {}
    for name in _FASTEST_FIRST:
        row = checked.get(name)
        if row is None or not (run.path / name / FILES[name]).is_file() or not has_runtime(name):
            continue
        # Both: the figures, and the file that lies there now.
        made_of = {row.get("model_sha256"), read_metadata(run.path / name, name).get("model_sha256")}
        if made_of == {file_sha256(run.model_path)} and not beyond_bounds(row, DEFAULT_BOUNDS[name]):
            return name
    return "keras"


def open_model(run: Run, format: str, *, threads: int = 0) -> Callable[[np.ndarray], Answer]:
    """A function of pixels as they were read, uint8 (B, S, S, 3).

    Only ``keras`` and ``saved_model`` load TensorFlow.

    Args:
        run: a finished training.
        format: one of `FORMATS`; ``keras`` is the run's own model, also one of scikit-learn.
        threads: of LiteRT and ONNX Runtime; 0 for as many as there are processors.

    Raises:
        InputError: for an unknown format, an export that is missing or of another model, or a runtime that is not
            installed.
    """
    if format not in FORMATS:
        raise InputError(f"`format` is one of {', '.join(FORMATS)}. Received: {format!r}")
    prepared = _colours(run)
    if run.model_path.name == ESTIMATOR_FILE:
        if format != "keras":
            raise InputError(f"`format` is 'keras' for a model of scikit-learn, its own. Received: {format!r}")
        return lambda pixels: (np.asarray(run.model.predict_proba(prepared(pixels)), np.float32), {})
    scores = _scores(run)
    if format == "keras":
        forward = _keras(run)
        return lambda pixels: scores(forward(prepared(pixels)))
    from leukemia_tf.export.runners import Runner

    folder = run.path / format
    made_of = read_metadata(folder, format).get("model_sha256")
    if made_of and made_of != file_sha256(run.model_path):
        raise InputError(
            f"`{folder}` is an export of the run's model: leukemia-tf export RUN --to {format} writes it again. "
            "Received: that of an earlier one"
        )
    runner = Runner(folder, format, threads=threads)
    return lambda pixels: scores(runner(prepared(pixels)))


def file_sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes, computed again only where the file changed."""
    facts = os.stat(path)
    return _sha256(os.fspath(path), facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=16)
def _sha256(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _colours(run: Run) -> Callable[[np.ndarray], np.ndarray]:
    """What has to be done to pixels before any model of this run."""
    colour = run.info.get("colour", NONE)
    if colour["method"] != "clahe":
        return lambda pixels: pixels
    from leukemia_tf.data.colour import clahe

    numbers = {key: value for key, value in colour.items() if key != "method"}
    return lambda pixels: clahe(pixels, **numbers)


def _scores(run: Run) -> Callable[[dict[str, np.ndarray]], Answer]:
    """From the named outputs of a model to probabilities and scores, as `leukemia_tf.recipes.scoring` has them."""
    from leukemia_tf.evaluation import energy_score

    detector = run.detector

    def answer(found: dict[str, np.ndarray]) -> Answer:
        # A SavedModel gives the scores themselves.
        scores = {name: np.asarray(found[name], np.float64) for name in ("energy", "mahalanobis") if name in found}
        logits, features = found.get("logits"), found.get("features")
        if logits is not None and logits.shape[1] > 1:
            scores["energy"] = energy_score(logits)
        if features is not None and detector is not None:
            scores["mahalanobis"] = detector.score(features)
        return found["raw_probabilities"], scores

    return answer


def _keras(run: Run) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    import tensorflow as tf

    from leukemia_tf.models.features import with_features

    model = run.model
    inner = with_features(model)
    size = run.info["image_size"]

    def forward(images):
        if inner is None:
            return {"raw_probabilities": tf.nest.flatten(model(images, training=False))[0]}
        found = inner(images, training=False)
        return {"raw_probabilities" if name == "probabilities" else name: values for name, values in found.items()}

    signature = [tf.TensorSpec([None, size, size, 3], tf.float32)]
    traced = tf.function(forward, input_signature=signature, autograph=False)
    asked = 0

    def call(pixels: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal asked
        asked += len(pixels)
        # Tracing takes three times as long as the first image without it, and pays from the next few on.
        ask = forward if asked <= _UNTRACED else traced
        return {name: values.numpy() for name, values in ask(tf.constant(pixels, tf.float32)).items()}

    return call
