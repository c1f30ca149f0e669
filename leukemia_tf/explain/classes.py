"""Which class of an image is explained."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from leukemia_tf.errors import InputError


def check_classes(classes: int | Sequence[int], images: int, num_classes: int) -> np.ndarray:
    """int64 (images,) of class indices; one number stands for all images.

    Raises:
        InputError: for another number of them, or an index that is none.
    """
    found = np.asarray(classes)
    if found.ndim == 0:
        found = np.full(images, found)
    if found.shape != (images,) or found.dtype.kind not in "iu" or (images and not 0 <= found.min()):
        raise InputError(
            f"`classes` must be one class index, or one for each of {images} images. Received: {classes!r}"
        )
    if images and found.max() >= num_classes:
        raise InputError(
            f"`classes` must be class indices from 0 to {num_classes - 1}. Received: {found.min()} to {found.max()}"
        )
    return found.astype(np.int64)
