"""Late fusion of the probabilities of several models."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from leukemia_tf.errors import InputError


def alpha_integration(probabilities: Sequence[np.ndarray], alpha: float = 0.3) -> np.ndarray:
    """Combine models by the power mean of their probabilities: ((p1^a + ... + pK^a) / K)^(1/a), scaled to sum 1.

    With 1 that is the arithmetic mean, with 0 the geometric one, which any model can veto. The notebook of system
    001-A combined its five best models on handcrafted features so, with 0.3 (F1 .8492 on the split that had chosen
    the five); its network was not among them.

    Args:
        probabilities: two or more arrays (N, C), rows that sum to 1, the same images and classes in each: such as
            `HandcraftedClassifier.predict_proba` and a network's softmax. One sigmoid column p is to be given as
            (1 - p, p).
        alpha: the power, in [0, 1].

    Returns:
        float32 (N, C).

    Raises:
        InputError: for fewer than two arrays, other shapes or values, or an ``alpha`` out of range.
    """
    arrays = [np.asarray(array, np.float64) for array in probabilities]
    shapes = sorted({array.shape for array in arrays})
    if len(arrays) < 2 or len(shapes) > 1 or len(shapes[0]) != 2 or shapes[0][1] < 2:
        raise InputError(
            "`probabilities` must be two or more arrays of one shape (N, C), C at least 2. "
            f"Received: {len(arrays)} of {' and '.join(map(str, shapes)) or 'no shape'}"
        )
    stacked = np.stack(arrays)
    sums = stacked.sum(axis=2)
    if not (np.isfinite(stacked).all() and stacked.min(initial=0) >= 0 and np.allclose(sums, 1, atol=1e-3)):
        raise InputError(
            "`probabilities` must be 0 or more and sum to 1 in each row. "
            f"Received: values from {stacked.min():.3g} to {stacked.max():.3g}, sums from {sums.min():.3g} to "
            f"{sums.max():.3g}"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise InputError(f"`alpha` must be a number from 0 to 1. Received: {alpha!r}")
    if alpha == 0:
        # A probability of exactly 0 in every class by one model or another would leave nothing to scale.
        combined = np.exp(np.mean(np.log(np.maximum(stacked, 1e-10)), axis=0))
    else:
        combined = np.mean(stacked**alpha, axis=0) ** (1 / alpha)
    return (combined / combined.sum(axis=1, keepdims=True)).astype(np.float32)
