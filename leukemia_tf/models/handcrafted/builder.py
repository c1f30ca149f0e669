"""The entry of the handcrafted classifier in the registry of models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Sequence

from leukemia_tf.models.registry import register_model

if TYPE_CHECKING:
    from leukemia_tf.models.handcrafted.classifier import HandcraftedClassifier

_FAMILIES = ("color", "glcm", "morphology", "contour", "dct", "gabor", "lbp")


@register_model(
    "handcrafted",
    kind="sklearn",
    system="001-A",
    reference="github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb",
    published="soft vote F1 .8398, hybrid F1 .7069, alpha integration F1 .8492 (weighted), all on the validation split "
    "that chose them; no gain over the network's .9555",
)
def handcrafted(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    classifier: str = "vote",
    families: Sequence[str] = _FAMILIES,
    cnn_features: str | None = None,
    variance: float = 0.95,
    as_published: bool = False,
    name: str | None = None,
    on_missing_weights: str = "error",
) -> HandcraftedClassifier:
    """1434 handcrafted features, principal components, and a scikit-learn classifier (extras of system 001-A).

    Args:
        num_classes: 2 or more.
        image_size: side S of the images in pixels, at least 16; 224 as published.
        weights: of the network behind ``cnn_features``; see `leukemia_tf.models.weights.load_weights`. Not used
            without.
        classifier: ``"vote"`` (mean probability of the four that follow, as published), ``"naive_bayes"``, ``"knn"``,
            ``"random_forest"``, ``"logistic"``; ``"gradient_boosting"`` (scikit-learn's histogram gradient boosting
            with the settings of the original's XGBoost, in its place); ``"mlp"`` (two hidden layers of 512 and 256,
            the original's "hybrid", here without its dropout).
        families: which features: of color, glcm, morphology, contour, dct, gabor and lbp.
        cnn_features: a backbone of the catalogue whose pooled features are put beside the handcrafted ones; None
            takes the handcrafted ones alone.
        variance: share of the variance that the principal components keep, in (0, 1).
        as_published: leave ``cnn_features`` aside, as the original's "hybrid" did: it took the image and never used
            it.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        An object with `fit`, `predict_proba` and `save`, not fitted yet.

    Raises:
        InputError: for a value outside of the above, or missing weights.
    """
    from leukemia_tf.models.handcrafted.classifier import HandcraftedClassifier

    return HandcraftedClassifier(
        num_classes=num_classes,
        image_size=image_size,
        classifier=classifier,
        families=families,
        cnn_features=None if as_published else cnn_features,
        weights=weights,
        variance=variance,
        name=name or "handcrafted",
        on_missing_weights=on_missing_weights,
    )
