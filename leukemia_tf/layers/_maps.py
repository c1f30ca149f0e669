"""What layers that compare feature maps share: one way to resize, one way to normalise."""

from __future__ import annotations

import numpy as np
from keras import ops

_EPSILON = 1e-6


def resize_map(x, size: tuple[int, int]):
    """Resize maps (B, h, w, C) to (B, *size, C), bilinear and antialiased, as ``tf.image.resize`` does.

    As two products with constant matrices: `ops.image.resize` has no kernel for this on a GPU under TensorFlow, and
    XLA cannot compile it.
    """
    for axis, (letters, target) in enumerate(zip(("bhwc,gh->bgwc", "bhwc,gw->bhgc"), size), start=1):
        if x.shape[axis] != target:
            weights = ops.convert_to_tensor(resize_weights(x.shape[axis], target), dtype=x.dtype)
            x = ops.einsum(letters, x, weights)
    return x


def resize_weights(source: int, target: int) -> np.ndarray:
    """float32 (target, source): row i says what each pixel of a line contributes to pixel i of the new line."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distances = np.abs(np.arange(source)[None, :] - centres[:, None]) / max(1.0, scale)
    weights = np.maximum(0.0, 1.0 - distances)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")


def unit_rms(x, axis):
    """`x` divided by the root of the mean of its squares along `axis`, in float32; zeros stay zeros."""
    x = ops.cast(x, "float32")
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=axis, keepdims=True) + _EPSILON)
