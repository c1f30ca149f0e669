"""Three pretrained backbones side by side, one head: the detection model of system 002-A."""

from __future__ import annotations

import os
from typing import Sequence

import keras
from keras import layers

from leukemia_tf.errors import InputError
from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model

PUBLISHED_BACKBONES = ("efficientnetb3", "resnet152v2", "convnexttiny")


@register_model(
    "ensemble",
    system="002-A",
    reference="github.com/yaniv-11/Automated-Leukemia-Diagnosis, detection-hybrid-model.ipynb",
    parameters=99_181_968,
    published="accuracy 93.50 % (748 of 800) at threshold 0.7, on an image-level split that shares cells",
)
def ensemble(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    backbones: Sequence[str] = PUBLISHED_BACKBONES,
    as_published: bool = False,
    norm_momentum: float = 0.99,
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """Several backbones, pooled, concatenated, and one dense head (system 002-A).

    RGB (B, S, S, 3) in [0, 255] -> each backbone with its own preprocessing, average pooled -> concatenate (4352 wide
    with the published three) -> batch normalisation -> Dense 512 ReLU -> dropout 0.5 -> Dense.

    Which layers train is chosen afterwards, with `leukemia_tf.models.freeze.open_layers`. The published run trained
    the head and the last 50 layers of each backbone, batch normalisation included:
    ``open_layers(model, "top:50", freeze_batchnorm=False)``, 43,314,101 parameters.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels; 224 as published.
        weights: ``"imagenet"``, ``"none"``, a folder of ``<backbone>_notop.weights.h5``, or one file where all
            backbones are of one architecture.
        backbones: two to five names of the backbone catalogue; the same one may come twice.
        as_published: feed raw pixels to the backbones that want them rescaled (ResNet152V2 here), as the published
            notebook did. The number of parameters is the same.
        norm_momentum: of the head's batch normalisation. The published 0.99 needs some hundred steps before the
            statistics used for prediction fit the features; with few steps an epoch take 0.9.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above, an image size below a backbone's minimum, or missing weights.
    """
    check_num_classes(num_classes)
    if isinstance(backbones, str) or not 2 <= len(backbones) <= 5:
        raise InputError(f"`backbones` must be a list of two to five backbone names. Received: {backbones!r}")

    # --- backbones ---
    branches = build_backbones(
        tuple(backbones), image_size, weights, preprocess=not as_published, on_missing=on_missing_weights
    )

    # --- model ---
    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = layers.Concatenate(name="features")([branch(inputs) for branch in branches])
    x = layers.BatchNormalization(momentum=norm_momentum, name="head_norm")(x)
    x = layers.Dense(512, activation="relu", name="head_dense")(x)
    x = layers.Dropout(0.5, name="head_dropout")(x)
    return keras.Model(inputs, classify(x, num_classes), name=name or "ensemble")
