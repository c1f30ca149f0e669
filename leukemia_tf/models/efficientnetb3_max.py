"""EfficientNetB3 with maximum pooling and a regularised head: the single-backbone detector of system 002-B."""

from __future__ import annotations

import os

import keras
from keras import layers, regularizers

from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.from_scratch import check_rate
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model


@register_model(
    "efficientnetb3_max",
    system="002-B",
    reference="github.com/yaniv-11/Automated-Leukemia-Diagnosis, efficientnet-model notebook",
    parameters=11_183_408,
    published="validation accuracy 84.75 % at epoch 9 of 10, chosen there, on an image-level split that shares cells",
)
def efficientnetb3_max(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    backbone: str = "efficientnetb3",
    dropout: float = 0.45,
    norm_momentum: float = 0.99,
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """One backbone, maximum pooling, and a head with three penalties (system 002-B).

    RGB (B, S, S, 3) in [0, 255] -> EfficientNetB3, which begins with its own preprocessing, the maximum of each of its
    1536 channels -> batch normalisation -> Dense 256 ReLU -> dropout 0.45 -> Dense. The penalties on the dense layer
    are as published: L2 1e-4 on its kernel, L1 1e-5 on its bias and L1 1e-5 on its output, the last divided by the
    number of images (Keras 3). They are in ``model.losses`` and ``fit`` adds them.

    The published run trained the head alone: ``open_layers(model, "head")``, 396,801 parameters. It then opened the
    last 100 layers and compiled, and never called ``fit`` again.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels; 224 as published.
        weights: ``"imagenet"``, ``"none"``, a file of the backbone's weights, or a folder of
            ``<backbone>_notop.weights.h5``.
        backbone: a name of the backbone catalogue.
        dropout: rate before the classifier.
        norm_momentum: of the head's batch normalisation; see `ensemble`.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above, an image size below the backbone's minimum, or missing weights.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    (branch,) = build_backbones([backbone], image_size, weights, pooling="max", on_missing=on_missing_weights)

    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = layers.BatchNormalization(momentum=norm_momentum, name="head_norm")(branch(inputs))
    # In float32 throughout: under mixed precision the penalty on a float16 output cannot be added to the other losses.
    x = layers.Dense(
        256,
        activation="relu",
        kernel_regularizer=regularizers.L2(1e-4),
        bias_regularizer=regularizers.L1(1e-5),
        activity_regularizer=regularizers.L1(1e-5),
        dtype="float32",
        name="head_dense",
    )(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    return keras.Model(inputs, classify(x, num_classes), name=name or "efficientnetb3_max")
