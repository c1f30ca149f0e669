"""Pooled features of a frozen network, to put beside the handcrafted ones."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np

from leukemia_tf.data.progress import track
from leukemia_tf.models.backbones import build_backbones

_BATCH = 32


class CnnFeatures:
    """A backbone of the catalogue that turns images into its pooled features; nothing in it is ever trained.

    Args:
        backbone: its name.
        image_size: side of the images in pixels.
        weights, on_missing_weights: as in `leukemia_tf.models.backbones.build_backbones`.

    Raises:
        InputError: for an unknown name, a size below the backbone's minimum, or weights that cannot be had.
    """

    def __init__(
        self, backbone: str, image_size: int, weights: str | os.PathLike | None, on_missing_weights: str = "error"
    ):
        self.backbone = backbone
        (self._model,) = build_backbones((backbone,), image_size, weights, on_missing=on_missing_weights)
        self._model.trainable = False

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self._model.output_shape[-1])

    def __call__(self, pixels: np.ndarray, *, progress: bool = True) -> np.ndarray:
        """Features float32 (N, width) of uint8 images (N, S, S, 3)."""
        features = np.empty((len(pixels), self.width), np.float32)
        starts = range(0, len(pixels), _BATCH)
        for start in track(starts, len(starts), f"computing features of {self.backbone} in batches", progress):
            batch = np.asarray(pixels[start : start + _BATCH], np.float32)
            # Padded, so that the network is traced for one shape only.
            padded = np.concatenate([batch, np.zeros((_BATCH - len(batch), *batch.shape[1:]), np.float32)])
            features[start : start + len(batch)] = self._model.predict_on_batch(padded)[: len(batch)]
        return features

    def weights_file(self) -> bytes:
        """The bytes of a Keras ``.weights.h5`` file of the network."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "backbone.weights.h5"
            self._model.save_weights(path)
            return path.read_bytes()

    @classmethod
    def from_weights_file(cls, backbone: str, image_size: int, content: bytes) -> CnnFeatures:
        """The network whose `weights_file` this is.

        Raises:
            InputError: if it is that of another network.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "backbone.weights.h5"
            path.write_bytes(content)
            return cls(backbone, image_size, path)
