"""Predict with a trained run: files and folders, or arrays."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Iterable

from leukemia_tf.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.recipes.run import Run

_CHUNK = 512
"""Images decoded at a time, so that a folder of any size fits into memory."""


def predict_images(
    run: Run, images: Iterable, *, batch_size: int = 32, skip_broken: bool = False, progress: bool = False
) -> pd.DataFrame:
    """Probabilities for image files, folders of them (searched through), or one array (N, H, W, 3) in [0, 255].

    Args:
        run: a finished training.
        images: see above. Files are JPEG, PNG, BMP or TIFF. Pixels of an array are rounded to whole numbers, as those
            of all images are.
        batch_size: images a step.
        skip_broken: leave out files that cannot be read, with a line for each in the log.
        progress: show progress on standard error.

    Returns:
        One row an image: path (or the array's index), prediction, ``prob_<class>`` (calibrated), and what else
        `Decision.apply` gives: ``raw_prob_<class>``, scores of strangeness, ``out_of_distribution`` and ``abstain``.

    Raises:
        InputError: for a missing file, a folder without images, or broken files (all named).
    """
    import numpy as np
    import pandas as pd
    import tensorflow as tf

    from leukemia_tf.data import Manifest, load_pixels, scan_table
    from leukemia_tf.data.progress import track
    from leukemia_tf.data.resize import resize_images
    from leukemia_tf.data.table import make_table
    from leukemia_tf.recipes.colour import NONE, model_input
    from leukemia_tf.recipes.scoring import Scorer

    classes, size, decision = run.classes, run.info["image_size"], run.decision
    manifest = Manifest.from_dict(run.info["manifest"]).replace(root=pathlib.Path.cwd(), classes=tuple(classes))
    scorer = Scorer(run.model, manifest, image_size=size, batch_size=batch_size, detector=run.detector)

    def classify(part: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
        pixels = model_input(pixels, run.info.get("colour", NONE))
        return decision.apply(part, *scorer(part, pixels)).drop(columns=["label", "subject"])

    if isinstance(images, (np.ndarray, tf.Tensor)):
        if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise InputError(
                f"`images` is an array (N, H, W, 3), RGB in [0, 255]. Received: shape {tuple(images.shape)}"
            )
        numbers = pd.DataFrame({"path": [str(index) for index in range(len(images))]})
        return classify(numbers, np.asarray(resize_images(images, size)).round().astype(np.uint8))

    files = list_images(images)
    rows = [{"path": str(file)} for file in files]
    table = scan_table(manifest, make_table(rows, "images"), skip_broken=skip_broken, progress=progress)
    if not len(table):
        raise InputError(f"`images` holds no image that can be read. Received: {len(files)} files, all broken")
    parts = [table.iloc[start : start + _CHUNK] for start in range(0, len(table), _CHUNK)]
    return pd.concat(
        [
            classify(part, load_pixels(manifest, part, size, progress=False))
            for part in track(parts, len(parts), f"predicting {len(table):,} images, parts", enabled=progress)
        ],
        ignore_index=True,
    )


def list_images(images: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """The files named, and those in the folders named, in order, without hidden ones.

    Raises:
        InputError: for a path that does not exist or a folder without images; all of them are named.
    """
    from leukemia_tf.data.image_files import ImageFiles

    return [pathlib.Path(file) for file in ImageFiles(images)]
