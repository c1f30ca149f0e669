"""One pretrained backbone with a small dense head: the baselines of systems 001 and 004."""

from __future__ import annotations

import os
from typing import Sequence

import keras
from keras import layers

from leukemia_tf.errors import InputError
from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.from_scratch import check_rate
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model


@register_model(
    "transfer",
    system="001, 004",
    reference=(
        "github.com/Jaffer74, Automated-Leukemia-Detection notebook; "
        "github.com/DouglasBragaMestrado/tf_efficientnetv2_b3-C-NMC-2019, train_cnn.ipynb"
    ),
    parameters=24_112_770,
    published=(
        "004: validation accuracy at the last epoch, on an image-level split that shares patients: ResNet50 87.49 %, "
        "EfficientNetB0 86.49 %, InceptionV3 81.86 %, DenseNet121 85.18 %, VGG19 84.43 %; its test figures pair "
        "predictions with other images' labels. 001: validation weighted F1 VGG16 .8683, VGG19 .5001 (collapsed), "
        "and .8933 for an Xception that was a ResNet-50"
    ),
)
def transfer(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    backbone: str = "resnet50",
    pooling: str = "avg",
    dense: Sequence[int] = (256,),
    dropout: float = 0.5,
    two_class_units: int = 2,
    as_published: bool = False,
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """A backbone of the catalogue, pooled, and dense layers (baselines of systems 001 and 004).

    RGB (B, S, S, 3) in [0, 255] -> the backbone with its preprocessing -> pooling -> for each number in ``dense``:
    Dense ReLU, dropout -> Dense.

    System 004 froze the backbone, ``open_layers(model, "head")``, and trained with ``pooling="avg"``: EfficientNetB0
    328,450 parameters, InceptionV3 (299 pixels) 525,058, DenseNet121 262,914, VGG19 131,842; for ResNet50 it had
    ``pooling="flatten"``, at 224 pixels 100,352 features and 25,690,882 parameters. It fed raw pixels to all of them,
    which only EfficientNet expects: ``as_published=True``. The heads that system 001 gave its VGG16, VGG19 and
    Xception are not known in full; here they have the head of 004.

    Args:
        num_classes: number of classes.
        image_size: side S in pixels; 224 as published, 299 for InceptionV3.
        weights: ``"imagenet"``, ``"none"``, a file of the backbone's weights, or a folder of
            ``<backbone>_notop.weights.h5``.
        backbone: a name of the backbone catalogue.
        pooling: ``"avg"`` or ``"max"`` over each channel of the last map, or ``"flatten"`` for all of its numbers.
        dense: units of the hidden dense layers; an empty list for none.
        dropout: rate after each of them.
        two_class_units: for two classes, 2 gives a softmax over both, as published, and 1 one sigmoid unit.
        as_published: feed raw pixels to the backbone. The number of parameters is the same.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, num_classes), or (B, 1) for two classes
        with ``two_class_units=1``.

    Raises:
        InputError: for a value outside of the above, an image size below the backbone's minimum, or missing weights.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    if pooling not in ("avg", "max", "flatten"):
        raise InputError(f'`pooling` must be "avg", "max" or "flatten". Received: {pooling!r}')
    if type(two_class_units) is not int or two_class_units not in (1, 2):
        raise InputError(f"`two_class_units` must be 1 or 2. Received: {two_class_units!r}")
    units = _check_dense(dense)
    (branch,) = build_backbones(
        [backbone],
        image_size,
        weights,
        preprocess=not as_published,
        pooling=None if pooling == "flatten" else pooling,
        on_missing=on_missing_weights,
    )

    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = branch(inputs)
    if pooling == "flatten":
        x = layers.Flatten(name="flatten")(x)
    for position, width in enumerate(units, start=1):
        number = "" if len(units) == 1 else str(position)
        x = layers.Dense(width, activation="relu", name=f"head_dense{number}")(x)
        x = layers.Dropout(rate, name=f"head_dropout{number}")(x)
    outputs = classify(x, num_classes, two_class_units=two_class_units)
    return keras.Model(inputs, outputs, name=name or "transfer")


def _check_dense(dense: Sequence[int]) -> list[int]:
    accepted = isinstance(dense, (list, tuple)) and all(
        isinstance(width, int) and not isinstance(width, bool) and width > 0 for width in dense
    )
    if not accepted:
        raise InputError(f"`dense` must be a list of whole numbers above zero, such as [256]. Received: {dense!r}")
    return list(dense)
