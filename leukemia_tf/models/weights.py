"""Weights from a file, a folder or Keras's own download: of backbones, and of whole models trained from scratch.

EfficientNet V1 needs care, because ``keras.applications`` builds two different networks for it. Its published ImageNet
file stores the standard deviation where the ``Normalization`` layer reads a variance (tensorflow issue 49930), and only
``weights="imagenet"`` adds the layer that makes up for it, a ``Rescaling`` by 1/sqrt(standard deviation).
``weights=PATH`` loads the same numbers without that layer: the pixels arrive 2.1 times too small, and nothing says so.
Here the network is always the one without the extra layer, and the factor goes into the stored variance, so that
``sqrt(variance)`` is the standard deviation: a download, a copy of Keras's file, a file saved from a model with the
extra layer, and a file with right statistics all end in (x / 255 - mean) / std. Without weights, the statistics are set
to ImageNet's too, so that a network means the same thing by its input whatever it starts from.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import socket
import warnings
from typing import TYPE_CHECKING, Iterator

import h5py
import keras
import numpy as np

from leukemia_tf.errors import InputError

if TYPE_CHECKING:
    from leukemia_tf.models.backbones import Backbone

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_TIMEOUT_SECONDS = 30.0


class DownloadFailed(InputError):
    """The ImageNet weights could not be had from the internet."""


def load_weights(model: keras.Model, backbone: "Backbone", weights: str | os.PathLike | None) -> None:
    """Fill a backbone that was built with random weights.

    Args:
        model: what ``backbone.build`` made, without a top.
        backbone: its catalogue entry.
        weights: ``None`` or ``"none"`` (leave it random), ``"imagenet"`` (download, or Keras's cache), a Keras weights
            file (``.weights.h5``, or the ``_notop.h5`` that Keras itself downloads), or a folder that holds
            ``<backbone>_notop.weights.h5``.

    Raises:
        DownloadFailed: if ``"imagenet"`` is neither in the cache nor to be downloaded.
        InputError: if a file is missing, is no weights file, or belongs to another network.
    """
    weights = check_weights(weights)
    missing_std = False
    if weights == "imagenet":
        donor = _download(backbone)
        model.set_weights(donor.get_weights())
        missing_std = sum(isinstance(layer, keras.layers.Rescaling) for layer in donor.layers) > 1
    elif weights is not None:
        path = pathlib.Path(weights)
        if path.is_dir():
            path = path / f"{backbone.name}_notop.weights.h5"
        wanted = f"the weights of `{backbone.name}` without its top, saved with `model.save_weights`"
        _load_file(model, backbone.name, path, wanted)
        missing_std = _saved_with_extra_rescaling(path)
    layer = _learned_normalization(model)
    if layer is not None:
        _repair(layer, missing_std=missing_std, random=weights is None)


def load_own_weights(model: keras.Model, weights: str | os.PathLike | None, builder: str) -> keras.Model:
    """Fill a model that is trained from scratch, head included.

    Args:
        model: what the builder made.
        weights: ``None`` or ``"none"`` (leave it random), or a ``.weights.h5`` file that ``save_weights`` wrote from a
            model of the same builder and the same shapes. There is no ``"imagenet"``.
        builder: the registered name, for the messages.

    Returns:
        The same model.

    Raises:
        InputError: for ``"imagenet"``, and if a file is missing, is no weights file, or belongs to another network.
    """
    if weights is None or (isinstance(weights, str) and weights == "none"):
        return model
    accepted = f'"none" or a file `FILE.weights.h5` that was saved from a `{builder}` with `model.save_weights`'
    if weights == "imagenet":
        raise InputError(
            f"`weights`: there are no ImageNet weights for `{builder}`, which is trained from scratch. Give {accepted}."
            " Received: 'imagenet'"
        )
    if not isinstance(weights, (str, os.PathLike)) or not os.path.isfile(weights):
        raise InputError(f"`weights` must be {accepted}. Received: {str(weights)!r}")
    wanted = f"the weights of a `{builder}` of the same `num_classes` and `image_size`"
    _load_file(model, builder, pathlib.Path(weights), wanted)
    return model


def check_weights(weights: str | os.PathLike | None) -> str | None:
    """Return ``None``, ``"imagenet"`` or the path as a string.

    Raises:
        InputError: if it is another word, or a path that does not exist.
    """
    if weights is None or weights == "none":
        return None
    if weights == "imagenet":
        return "imagenet"
    if isinstance(weights, (str, os.PathLike)) and os.path.exists(weights):
        return os.fspath(weights)
    raise InputError(
        '`weights` must be "imagenet", "none", a file `FILE.weights.h5` that exists, or a folder of '
        f"`<backbone>_notop.weights.h5` files. Received: {str(weights)!r}"
    )


def _download(backbone: "Backbone") -> keras.Model:
    # At its native size, because the weights do not depend on the size and Keras warns about some others.
    size = backbone.native_size
    try:
        with _socket_timeout(_TIMEOUT_SECONDS):
            return backbone.constructor(weights="imagenet", include_top=False, input_shape=(size, size, 3))
    except Exception as error:
        # Keras raises a bare Exception for a failed download and a ValueError for one that arrived damaged.
        known = isinstance(error, (OSError, http.client.HTTPException)) or any(
            words in str(error) for words in ("URL fetch failure", "Incomplete or corrupted")
        )
        if not known:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadFailed(
            f"the ImageNet weights of `{backbone.name}` could not be downloaded ({reason}). Give them as a file: "
            "`--weights FILE.weights.h5` or a folder of `<backbone>_notop.weights.h5`; `--weights none` starts from "
            "random weights. Received: weights='imagenet'"
        ) from error


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _load_file(model: keras.Model, name: str, path: pathlib.Path, wanted: str) -> None:
    if not path.is_file():
        raise InputError(f"`weights`: `{path}` does not exist. It should hold {wanted}. Received: `{path.parent}`")
    if path.suffix != ".h5" or not h5py.is_hdf5(path):
        raise InputError(f"`weights` must be a Keras `.weights.h5` file, {wanted}. Received: `{path}`")
    found, expected = _arrays(path), len(model.weights)
    if found is not None and found != expected:
        raise InputError(
            f"`weights`: `{path}` holds {found} arrays where `{name}` has {expected}. "
            f"It should hold {wanted}. Received: `{path.name}`"
        )
    try:
        with warnings.catch_warnings():
            # For a file that does not fit, Keras warns of a hundred layers before it raises.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            model.load_weights(path)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"`weights`: `{path}` does not fit `{name}`: the shapes differ. It should hold {wanted}. "
            f"Received: `{path.name}`"
        ) from error


def _arrays(path: pathlib.Path) -> int | None:
    """Number of weight arrays, or None for a file of Keras 2, which Keras checks in full itself.

    Keras takes what it looks for and ignores the rest of the file, so a longer network would load into a shorter one.
    """
    names = []

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    with h5py.File(path) as file:
        if "layer_names" in file.attrs:
            return None
        file.visititems(collect)
    # The states of dropout's random numbers and of an optimizer are no weights.
    return sum("seed_generator" not in name and not name.startswith("optimizer") for name in names)


def _saved_with_extra_rescaling(path: pathlib.Path) -> bool:
    with h5py.File(path) as file:
        return "rescaling_1" in file.get("layers", {})


def _learned_normalization(model: keras.Model) -> keras.layers.Normalization | None:
    """The ``Normalization`` whose statistics are weights: EfficientNet V1's. Others have them as constants."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            return layer
    return None


def _repair(layer: keras.layers.Normalization, *, missing_std: bool, random: bool) -> None:
    mean, variance, *rest = layer.get_weights()
    if random:
        mean, variance = np.array(IMAGENET_MEAN), np.square(IMAGENET_STD)
    elif missing_std or np.allclose(variance, IMAGENET_STD, atol=1e-3):
        variance = variance * np.array(IMAGENET_STD)
    layer.set_weights([mean.astype("float32"), variance.astype("float32"), *rest])
    # The layer computes with copies of its weights, which it takes only here.
    layer.finalize_state()
