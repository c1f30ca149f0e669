"""What an exported file computes: from pixels to probabilities, in operations that every runtime has."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from leukemia_tf.errors import InputError
from leukemia_tf.models.features import with_features

INPUT = "images"
OUTPUTS = ("probabilities", "raw_probabilities", "logits", "features")
"""Names of a file's outputs; the last two only where the model ends as `leukemia_tf.models.heads.classify` ends it."""

_FIT_FLOOR = 1e-7
_ISOTONIC = ("given", "calibrated")
_TINY = float(np.finfo(np.float32).tiny)


class Served(tf.Module):
    """A model as LiteRT and ONNX files hold it.

    ``serve`` takes ``images`` float32 [B, S, S, 3], RGB in [0, 255], and returns a dictionary:

    =====================  ==========================================================================================
    ``probabilities``      float32 [B, C], calibrated, in the order of `classes`
    ``raw_probabilities``  float32 [B, C], as the model gives them
    ``logits``             float32 [B, C] or [B, 1]
    ``features``           float32 [B, D], what the last layer takes
    =====================  ==========================================================================================

    Args:
        model: RGB images (B, S, S, 3) in [0, 255] to one sigmoid or C softmax outputs.
        classes: names, in the order of the label index.
        image_size: side S of the model's input.
        calibration: of ``decision.json``, or None for probabilities as they are.

    Raises:
        InputError: if `classes` does not fit the model's output.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        classes: Sequence[str],
        image_size: int,
        calibration: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        check_classes(model, classes)
        inner = with_features(model)
        # A converter that freezes the graph looks for the variables here.
        self.weights = [weight.value for weight in model.variables]

        @tf.function(input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.float32, name=INPUT)])
        @tf.autograph.experimental.do_not_convert
        def serve(images):
            if inner is None:
                given = tf.cast(tf.nest.flatten(model(images, training=False))[0], tf.float32)
                logits = tf.math.log(given + _TINY) - (tf.math.log1p(_TINY - given) if given.shape[1] == 1 else 0.0)
                further = {}
            else:
                found = inner(images, training=False)
                logits = tf.cast(found["logits"], tf.float32)
                further = {"logits": logits, "features": tf.cast(found["features"], tf.float32)}
            # One logit is that of the second class against none of the first: quantisation then knows one tail only.
            both = logits if logits.shape[1] > 1 else tf.concat([tf.zeros_like(logits), logits], axis=1)
            raw = tf.nn.softmax(both, axis=1)
            return {"probabilities": _calibrated(both, raw, calibration), "raw_probabilities": raw, **further}

        self.serve = serve


def check_classes(model: keras.Model, classes: Sequence[str]) -> None:
    """Raise an `InputError` unless `model` has one output for each class, or one for two."""
    outputs = model.output_shape[-1]
    if outputs != len(classes) and not (outputs == 1 and len(classes) == 2):
        raise InputError(f"`classes` has one name for each of the {outputs} outputs. Received: {list(classes)}")


def _calibrated(logits: tf.Tensor, raw: tf.Tensor, calibration: Mapping[str, Any] | None) -> tf.Tensor:
    """`leukemia_tf.evaluation.Calibration.apply` in float32 and operations that LiteRT has."""
    if not calibration:
        return tf.identity(raw)
    method, parameters = calibration["method"], calibration["parameters"]
    if method == "temperature":
        return tf.nn.softmax(logits * (1.0 / parameters["temperature"]), axis=1)
    # All classes at once: slices put together again would be quantised on the way, whatever is said of them.
    binary = raw.shape[1] == 2
    if method == "platt":
        slopes, intercepts = parameters["slopes"], parameters["intercepts"]
        if binary:
            slopes, intercepts = [slopes[0]] * 2, [-intercepts[0], intercepts[0]]
        # Log-odds of a class against the rest, which is what stays when its own logit is taken out.
        taken_out = np.float32(-1e30) * np.eye(raw.shape[1], dtype=np.float32)
        scores = logits - tf.reduce_logsumexp(logits[:, None, :] + taken_out, axis=2)
        bound = float(np.log(1.0 - _FIT_FLOOR) - np.log(_FIT_FLOOR))
        scores = tf.clip_by_value(scores, -bound, bound)
        mapped = tf.sigmoid(np.float32(slopes) * scores + np.float32(intercepts))
    else:
        maps = [(np.asarray(x, float), np.asarray(y, float)) for x, y in zip(*(parameters[key] for key in _ISOTONIC))]
        if binary:
            maps = [(1.0 - maps[0][0][::-1], 1.0 - maps[0][1][::-1]), maps[0]]
        mapped = _interpolated(raw, maps)
    if binary:
        return mapped
    # Isotonic maps may give every class 0; then nothing is known of the image.
    mapped += _TINY
    return mapped / tf.reduce_sum(mapped, axis=1, keepdims=True)


def _interpolated(values: tf.Tensor, maps: Sequence[tuple[np.ndarray, np.ndarray]]) -> tf.Tensor:
    """`np.interp` of each column as a sum of ramps, one for each step: LiteRT has no search in a sorted list."""
    steps = max(len(given) for given, _ in maps) - 1
    begins, widths, heights = np.zeros((len(maps), steps)), np.ones((len(maps), steps)), np.zeros((len(maps), steps))
    for row, (given, calibrated) in enumerate(maps):
        begins[row, : len(given) - 1] = given[:-1]
        widths[row, : len(given) - 1] = np.maximum(np.diff(given), _TINY)
        heights[row, : len(given) - 1] = np.diff(calibrated)
    lowest = np.float32([calibrated[0] for _, calibrated in maps])
    if not steps:
        return tf.zeros_like(values) + lowest
    ramps = tf.clip_by_value((values[:, :, None] - np.float32(begins)) / np.float32(widths), 0.0, 1.0)
    return lowest + tf.reduce_sum(ramps * np.float32(heights), axis=2)
