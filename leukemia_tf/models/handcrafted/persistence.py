"""Files of handcrafted classifiers: no pickle, and the weights of the network inside.

The file is one of skops: a zip archive of JSON and arrays, from which only known types are rebuilt. Two members are
added, which skops passes over: ``leukemia_tf.json`` (the options, and the versions that computed) and
``backbone.weights.h5`` where features of a network are used, so that no later download can change a prediction.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import warnings
import zipfile
import zlib
from typing import Any

import cv2
import skops
import skops.io
import sklearn
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from leukemia_tf.errors import InputError
from leukemia_tf.files import atomic_path
from leukemia_tf.models.handcrafted.classifier import HandcraftedClassifier

log = logging.getLogger(__name__)

_FORMAT = 1
_OPTIONS = "leukemia_tf.json"
_WEIGHTS = "backbone.weights.h5"
_VERSIONS = {"scikit-learn": sklearn.__version__, "OpenCV": cv2.__version__, "skops": skops.__version__}
_MATTER = ("scikit-learn", "OpenCV")
_TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)
"""What the classifiers here need beyond the types that skops trusts itself. Loading them runs no code of the file."""


_DAMAGE = (zipfile.BadZipFile, LookupError, TypeError, ValueError, AttributeError, ImportError, EOFError, zlib.error)
"""What reading a damaged or foreign archive raises."""


def save_handcrafted(model: HandcraftedClassifier, path: str | os.PathLike) -> None:
    """Write a fitted model atomically.

    Raises:
        InputError: before `fit`, or if the name does not end in ``.skops``.
        RunError: if the file cannot be written.
    """
    if pathlib.Path(path).suffix != ".skops":
        raise InputError(f"`path` must end in .skops. Received: `{path}`")
    if model.pipeline is None:
        raise InputError(f"`{model.name}` must be fitted before it is saved. Received: a model without `fit`")
    facts = {"format": _FORMAT, "options": model.config(), "versions": _VERSIONS}
    with atomic_path(path) as temporary:
        skops.io.dump(model.pipeline, temporary, compression=zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_OPTIONS, json.dumps(facts, indent=2))
            if model.cnn is not None:
                # Weights are noise to a compressor.
                archive.writestr(_WEIGHTS, model.cnn.weights_file(), zipfile.ZIP_STORED)


def load_handcrafted(path: str | os.PathLike) -> HandcraftedClassifier:
    """Read a file that `HandcraftedClassifier.save` wrote. Code inside it is never run.

    A line in the log says so where scikit-learn or OpenCV is another version than the one that wrote the file.

    Raises:
        InputError: if the file is missing, no such file, damaged, or holds types that are not trusted.
    """
    path = pathlib.Path(path)
    if path.suffix != ".skops" or not path.is_file():
        raise InputError(f"`path` must be a `.skops` file that exists. Received: `{path}`")
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            facts = json.loads(archive.read(_OPTIONS))
            weights = archive.read(_WEIGHTS) if _WEIGHTS in archive.namelist() else None
        options, versions = dict(facts["options"]), dict(facts["versions"])
        if facts["format"] != _FORMAT:
            raise ValueError(f"its format is {facts['format']!r} where this version reads {_FORMAT}")
        strange = sorted(set(skops.io.get_untrusted_types(data=content)) - set(_TRUSTED))
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    if strange:
        raise InputError(
            f"`{path}` holds types that are not trusted, and nothing of it was loaded: {', '.join(strange)}. "
            f"Load only files that `save` of this package wrote. Received: `{path.name}`"
        )
    _compare(path, versions)
    try:
        with warnings.catch_warnings():
            # Said in one line already, where scikit-learn would say it of each part.
            warnings.filterwarnings("ignore", category=InconsistentVersionWarning)
            pipeline = skops.io.loads(content, trusted=list(_TRUSTED))
        backbone = options.pop("cnn_features")
        model = HandcraftedClassifier(**options)
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    if backbone is not None:
        from leukemia_tf.models.handcrafted.cnn_features import CnnFeatures

        if weights is None:
            raise _unreadable(path, f"the weights of {backbone} are missing")
        model.cnn = CnnFeatures.from_weights_file(backbone, model.image_size, weights)
    if not isinstance(pipeline, Pipeline) or list(pipeline.named_steps) != ["scaler", "components", "classifier"]:
        raise _unreadable(path, f"it holds a {type(pipeline).__name__}, not the pipeline of a handcrafted classifier")
    width = len(model.feature_names)
    if pipeline.n_features_in_ != width or list(pipeline.classes_) != list(range(model.num_classes)):
        raise _unreadable(
            path,
            f"its pipeline tells {len(pipeline.classes_)} classes by {pipeline.n_features_in_} features, its options "
            f"speak of {model.num_classes} and {width}",
        )
    model.pipeline = pipeline
    return model


def _compare(path: pathlib.Path, stored: dict[str, Any]) -> None:
    differ = [f"{name} {stored.get(name)}" for name in _MATTER if stored.get(name) != _VERSIONS[name]]
    if differ:
        here = " and ".join(f"{name} {_VERSIONS[name]}" for name in _MATTER)
        log.warning("`%s` was written with %s; here is %s: probabilities may differ", path, " and ".join(differ), here)


def _unreadable(path: pathlib.Path, reason: Exception | str) -> InputError:
    text = " ".join(str(reason).split()) or type(reason).__name__
    return InputError(f"`{path}` cannot be read as a handcrafted classifier: {text}. Received: `{path.name}`")
