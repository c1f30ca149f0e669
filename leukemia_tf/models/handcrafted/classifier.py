"""A scikit-learn classifier on handcrafted features, with the interface that a trained run needs."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from leukemia_tf.errors import InputError
from leukemia_tf.models.handcrafted.estimators import CLASSIFIERS, fit_pipeline, make_estimator, predict_pipeline
from leukemia_tf.models.handcrafted.extract import FAMILIES, MIN_SIZE, check_families, extract_many, feature_names

if TYPE_CHECKING:
    from leukemia_tf.models.handcrafted.cnn_features import CnnFeatures

log = logging.getLogger(__name__)


class HandcraftedClassifier:
    """Features -> StandardScaler -> principal components -> classifier.

    The arguments are those of `leukemia_tf.models.handcrafted.handcrafted`. TensorFlow and Keras are imported only
    with ``cnn_features``; their network is built here, so that missing weights show before anything is computed.

    Attributes:
        pipeline: the scikit-learn pipeline, None before `fit`.
        cnn: the network whose pooled features are added, None without.
    """

    def __init__(
        self,
        num_classes: int = 2,
        image_size: int = 224,
        classifier: str = "vote",
        families: Sequence[str] = tuple(FAMILIES),
        cnn_features: str | None = None,
        weights: str | os.PathLike | None = "imagenet",
        variance: float = 0.95,
        name: str = "handcrafted",
        on_missing_weights: str = "error",
    ):
        if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__") or num_classes < 2:
            raise InputError(f"`num_classes` must be a whole number of at least 2. Received: {num_classes!r}")
        if isinstance(image_size, bool) or not hasattr(image_size, "__index__") or image_size < MIN_SIZE:
            raise InputError(
                f"`image_size` must be a whole number of pixels, at least {MIN_SIZE}. Received: {image_size!r}"
            )
        if classifier not in CLASSIFIERS:
            raise InputError(f"`classifier` must be one of {', '.join(CLASSIFIERS)}. Received: {classifier!r}")
        if isinstance(variance, bool) or not isinstance(variance, (int, float)) or not 0 < variance < 1:
            raise InputError(
                f"`variance` must be a share to keep, a number above 0 and below 1. Received: {variance!r}"
            )
        self.name = name
        self.num_classes, self.image_size = int(num_classes), int(image_size)
        self.classifier, self.variance = classifier, float(variance)
        self.families = check_families(families)
        self.pipeline: Pipeline | None = None
        self.cnn: CnnFeatures | None = None
        if cnn_features is not None:
            from leukemia_tf.models.handcrafted import cnn_features as network

            self.cnn = network.CnnFeatures(cnn_features, self.image_size, weights, on_missing_weights)

    @property
    def cnn_features(self) -> str | None:
        """Name of the backbone whose features are added."""
        return None if self.cnn is None else self.cnn.backbone

    @property
    def components(self) -> int | None:
        """Number of principal components, None before `fit`."""
        return None if self.pipeline is None else int(self.pipeline["components"].n_components_)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, handcrafted ones first, then those of the network by number."""
        names = feature_names(self.families)
        if self.cnn is not None:
            names += [f"{self.cnn.backbone}_{number}" for number in range(self.cnn.width)]
        return names

    def config(self) -> dict[str, Any]:
        """The options as JSON-able values."""
        return {
            "num_classes": self.num_classes,
            "image_size": self.image_size,
            "classifier": self.classifier,
            "families": list(self.families),
            "cnn_features": self.cnn_features,
            "variance": self.variance,
            "name": self.name,
        }

    def fit(
        self,
        train_pixels: np.ndarray,
        train_labels: np.ndarray,
        val_pixels: np.ndarray | None = None,
        val_labels: np.ndarray | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> HandcraftedClassifier:
        """Fit the scaler, the components and the classifier on the training images.

        Args:
            train_pixels: uint8 (N, S, S, 3), RGB.
            train_labels: whole numbers (N,), class indices; every class at least once.
            val_pixels, val_labels: another split, of which the accuracy is logged; nothing is chosen by it.
            seed: the same seed on the same images gives the same probabilities.
            progress: show progress on a terminal and log what was done.

        Returns:
            The object itself.

        Raises:
            InputError: for other arrays, labels out of range, a class without an example, or images that all look
                the same.
        """
        labels = self._check_labels("train_labels", train_labels, self._check_pixels("train_pixels", train_pixels))
        if (val_pixels is None) != (val_labels is None):
            raise InputError("`val_pixels` and `val_labels` belong together. Received: one of them")
        if val_pixels is not None:
            val_labels = self._check_labels("val_labels", val_labels, self._check_pixels("val_pixels", val_pixels))
        missing = sorted(set(range(self.num_classes)) - set(labels.tolist()))
        if missing:
            raise InputError(
                f"`train_labels` must hold each class at least once; class {', '.join(map(str, missing))} of "
                f"{self.num_classes} has no example. Received: {len(labels)} labels"
            )
        features = self.features(train_pixels, progress=progress)
        if not np.ptp(features, axis=0).any():
            raise InputError(
                "`train_pixels` must differ from each other: no feature varies. "
                f"Received: {len(labels)} images that look the same"
            )
        pipeline = Pipeline(
            [
                ("scaler", StandardScaler()),
                ("components", PCA(self.variance, svd_solver="full")),
                ("classifier", make_estimator(self.classifier, len(labels), seed)),
            ]
        )
        fit_pipeline(pipeline, features, labels)
        self.pipeline = pipeline
        if progress:
            log.info(
                "%s: %d features, %d components, fitted on %d images",
                self.classifier, features.shape[1], self.components, len(labels),
            )  # fmt: skip
            if val_pixels is not None:
                found = self.predict_proba(val_pixels).argmax(axis=1)
                log.info(
                    "%s: accuracy %.4f on %d images of val", self.classifier, np.mean(found == val_labels), len(found)
                )
        return self

    def features(self, pixels: np.ndarray, *, progress: bool = False) -> np.ndarray:
        """The features that the pipeline takes, float64 (N, D).

        Raises:
            InputError: for another array.
        """
        self._check_pixels("pixels", pixels)
        parts = [extract_many(pixels, self.families, progress=progress)]
        if self.cnn is not None:
            parts.append(self.cnn(pixels, progress=progress))
        return np.concatenate(parts, axis=1).astype(np.float64)

    def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
        """Probability of each class.

        Args:
            pixels: uint8 (N, S, S, 3), RGB.

        Returns:
            float32 (N, num_classes); rows sum to 1.

        Raises:
            InputError: for another array, or before `fit`.
        """
        if self.pipeline is None:
            raise InputError(f"`{self.name}` must be fitted before it predicts. Received: a model without `fit`")
        if len(pixels) == 0:
            self._check_pixels("pixels", pixels)
            return np.zeros((0, self.num_classes), np.float32)
        return predict_pipeline(self.pipeline, self.features(pixels))

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted model to a ``.skops`` file; see `leukemia_tf.models.handcrafted.persistence`.

        Raises:
            InputError: before `fit`, or for another ending.
            RunError: if the file cannot be written.
        """
        from leukemia_tf.models.handcrafted.persistence import save_handcrafted

        save_handcrafted(self, path)

    def _check_pixels(self, argument: str, pixels: np.ndarray) -> int:
        shape = (self.image_size, self.image_size, 3)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
            received = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else repr(type(pixels))
            raise InputError(
                f"`{argument}` must be a uint8 array (N, {self.image_size}, {self.image_size}, 3). Received: {received}"
            )
        return len(pixels)

    def _check_labels(self, argument: str, labels: np.ndarray, images: int) -> np.ndarray:
        labels = np.asarray(labels)
        if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"`{argument}` must be whole numbers, one for each of the {images} images. "
                f"Received: {labels.dtype} {labels.shape}"
            )
        if images and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise InputError(
                f"`{argument}` must be class indices from 0 to {self.num_classes - 1}. "
                f"Received: {labels.min()} to {labels.max()}"
            )
        return labels.astype(np.int64)
