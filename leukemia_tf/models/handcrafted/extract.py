"""All handcrafted features of an image, or of many with a thread pool."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import numpy as np

from leukemia_tf.data.progress import track
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError
from leukemia_tf.models.handcrafted.color import COLOR_NAMES, color_features
from leukemia_tf.models.handcrafted.contour import CONTOUR_NAMES, contour_features
from leukemia_tf.models.handcrafted.dct import DCT_NAMES, dct_features
from leukemia_tf.models.handcrafted.gabor import GABOR_NAMES, gabor_features
from leukemia_tf.models.handcrafted.glcm import GLCM_NAMES, glcm_features
from leukemia_tf.models.handcrafted.lbp import LBP_NAMES, lbp_features
from leukemia_tf.models.handcrafted.morphology import MORPHOLOGY_NAMES, morphology_features

MIN_SIZE = 16
"""The smallest side in pixels; below it the texture features have next to nothing to count."""


class Family(NamedTuple):
    """Features that are computed together: their names, and the function from an image to as many float32 numbers."""

    names: tuple[str, ...]
    function: Callable[[np.ndarray], np.ndarray]


FAMILIES: dict[str, Family] = {
    "color": Family(COLOR_NAMES, color_features),
    "glcm": Family(GLCM_NAMES, glcm_features),
    "morphology": Family(MORPHOLOGY_NAMES, morphology_features),
    "contour": Family(CONTOUR_NAMES, contour_features),
    "dct": Family(DCT_NAMES, dct_features),
    "gabor": Family(GABOR_NAMES, gabor_features),
    "lbp": Family(LBP_NAMES, lbp_features),
}
"""In the order of system 001-A: 66 + 75 + 19 + 160 + 1024 + 36 + 54 = 1434 features."""


def check_families(families: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        InputError: if one is unknown or comes twice, or there is none.
    """
    if isinstance(families, str) or not families or set(families) - set(FAMILIES) or len(set(families)) < len(families):
        raise InputError(
            f"`families` must be a list of one or more of {', '.join(FAMILIES)}, each once. Received: {families!r}"
        )
    return tuple(families)


def feature_names(families: Sequence[str] = tuple(FAMILIES)) -> list[str]:
    """The names of the features, in the order of `extract_features`.

    Raises:
        InputError: for an unknown family.
    """
    return [name for family in check_families(families) for name in FAMILIES[family].names]


def extract_features(image: np.ndarray, families: Sequence[str] = tuple(FAMILIES)) -> np.ndarray:
    """The features of one image; finite for any image, 0 where there is nothing to measure.

    Args:
        image: uint8 (S, S, 3), RGB, S at least `MIN_SIZE`.
        families: keys of `FAMILIES`.

    Returns:
        float32 (D,); 1434 with all families.

    Raises:
        InputError: for another array or an unknown family.
    """
    families = check_families(families)
    if not _is_image(image, 3):
        raise InputError(f"`image` must be uint8 (S, S, 3), RGB, S at least {MIN_SIZE}. Received: {_describe(image)}")
    # OpenCV wants its rows whole.
    image = np.ascontiguousarray(image)
    return np.concatenate([FAMILIES[family].function(image) for family in families])


def extract_many(pixels: np.ndarray, families: Sequence[str] = tuple(FAMILIES), *, progress: bool = True) -> np.ndarray:
    """The features of many images, with as many threads as there are processors.

    Args:
        pixels: uint8 (N, S, S, 3), RGB, S at least `MIN_SIZE`; may be mapped from a file.
        families: keys of `FAMILIES`.
        progress: show progress on a terminal, log one line otherwise.

    Returns:
        float32 (N, D), row i of image i.

    Raises:
        InputError: for another array or an unknown family.
    """
    names = feature_names(families)
    if not _is_image(pixels, 4):
        raise InputError(
            f"`pixels` must be uint8 (N, S, S, 3), RGB, S at least {MIN_SIZE}. Received: {_describe(pixels)}"
        )
    features = np.empty((len(pixels), len(names)), np.float32)
    rows = map_threads(lambda image: extract_features(image, families), pixels)
    for index, row in enumerate(track(rows, len(pixels), "computing handcrafted features", progress)):
        features[index] = row
    return features


def _is_image(array: np.ndarray, dimensions: int) -> bool:
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.uint8
        and array.ndim == dimensions
        and array.shape[-1] == 3
        and min(array.shape[-3:-1]) >= MIN_SIZE
    )


def _describe(array: np.ndarray) -> str:
    if isinstance(array, np.ndarray):
        return f"{array.dtype} {array.shape}"
    return repr(array)
