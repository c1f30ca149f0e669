"""A run's calibration and score of strangeness in TensorFlow operations, for an export that needs nothing else.

The dictionaries are those of ``decision.json``; the same numbers come out as in `leukemia_tf.evaluation`, computed in
float64.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import tensorflow as tf

_FIT_FLOOR = 1e-7
_FLOOR = np.finfo(np.float64).tiny


def calibrate(probabilities: tf.Tensor, calibration: Mapping[str, Any] | None) -> tf.Tensor:
    """Calibrated probabilities, float64 [B, C].

    Args:
        probabilities: [B, C], rows that sum to 1.
        calibration: ``method`` and ``parameters``, or None for probabilities as they are.
    """
    values = tf.cast(probabilities, tf.float64)
    if not calibration:
        return values
    method, parameters = calibration["method"], calibration["parameters"]
    if method == "temperature":
        return tf.nn.softmax(tf.math.log(tf.maximum(values, _FLOOR)) / parameters["temperature"], axis=1)
    binary = values.shape[1] == 2
    columns = [1] if binary else range(values.shape[1])
    mapped = tf.stack([_map(values[:, column], method, parameters, place) for place, column in enumerate(columns)], 1)
    if binary:
        return tf.concat([1.0 - mapped, mapped], axis=1)
    sums = tf.reduce_sum(mapped, axis=1, keepdims=True)
    return tf.where(sums > 0, mapped / tf.where(sums > 0, sums, 1.0), tf.ones_like(mapped) / values.shape[1])


def nearest_distance(features: tf.Tensor, means: tf.Tensor, precision: tf.Tensor) -> tf.Tensor:
    """Squared Mahalanobis distance to the nearest mean, float64 [B].

    Args:
        features: [B, D].
        means: float32 [C, D].
        precision: float32 [D, D].
    """
    means, precision = tf.cast(means, tf.float64), tf.cast(precision, tf.float64)
    difference = tf.cast(features, tf.float64)[:, None, :] - means[None]
    return tf.reduce_min(tf.reduce_sum(tf.linalg.matmul(difference, precision) * difference, axis=2), axis=1)


def energy(logits: tf.Tensor) -> tf.Tensor:
    """Energy of logits [B, C], float64 [B]."""
    return -tf.reduce_logsumexp(tf.cast(logits, tf.float64), axis=1)


def _map(values: tf.Tensor, method: str, parameters: Mapping[str, Any], place: int) -> tf.Tensor:
    if method == "platt":
        clipped = tf.clip_by_value(values, _FIT_FLOOR, 1.0 - _FIT_FLOOR)
        logit = tf.math.log(clipped) - tf.math.log1p(-clipped)
        return tf.sigmoid(parameters["slopes"][place] * logit + parameters["intercepts"][place])
    given = tf.constant(parameters["given"][place], tf.float64)
    calibrated = tf.constant(parameters["calibrated"][place], tf.float64)
    if given.shape[0] == 1:
        return tf.fill(tf.shape(values), calibrated[0])
    inside = tf.clip_by_value(values, given[0], given[-1])
    high = tf.clip_by_value(tf.searchsorted(given, inside, side="right"), 1, given.shape[0] - 1)
    x0, x1, y0, y1 = (tf.gather(of, at) for of in (given, calibrated) for at in (high - 1, high))
    return y0 + (y1 - y0) * (inside - x0) / (x1 - x0)
