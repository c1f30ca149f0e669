"""An Inception-v3-like network for BloodMNIST (system 003), a reconstruction."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.models.bloodmnist_cnn import PROTOCOL, REFERENCE
from leukemia_tf.models.from_scratch import check_rate, conv_norm_relu, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.weights import load_own_weights

STAGES = ((3, 64), (4, 128), (2, 224))
"""Modules of each stage, as many as Inception-v3 has, and the filters in each of a module's four branches."""

REDUCTIONS = (256, 512)
"""Filters of both strided branches between the stages."""


@register_model(
    "bloodmnist_inception",
    system="003",
    reference=REFERENCE,
    parameters=10_314_152,
    published=f"accuracy 88.02 % {PROTOCOL}; a reconstruction, 352 parameters above the published 10,313,800",
)
def bloodmnist_inception(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.4,
    name: str | None = None,
) -> keras.Model:
    """An Inception-v3-like network (system 003); a reconstruction, only its parts are published and not their numbers.

    RGB (B, S, S, 3) in [0, 255], divided by 255 -> a stem of padded 3x3 convolutions with 32, 64 and 96 filters, 2x2
    max pooling after the second and the third -> three stages of 3, 4 and 2 modules -> global average -> dropout -> the
    classifier. A module puts four branches of 64, 128 or 224 filters beside each other: 1x1; 1x1 and 3x3; 1x1 and a 5x5
    factorised into 1x5 and 5x1; 3x3 average pooling and 1x1. Between the stages the map is halved by a strided 3x3
    convolution, a strided depthwise-separable one and 3x3 max pooling, beside each other. Every convolution has batch
    normalisation and ReLU. The numbers of modules are Inception-v3's; the widths bring the parameters within 352 of the
    published 10,313,800.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels, at least 16; 64 as published.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        dropout: rate before the classifier.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    inputs, x = image_input("bloodmnist_inception", image_size, 16)
    x = conv_norm_relu(x, 32, "stem1")
    x = conv_norm_relu(x, 64, "stem2")
    x = layers.MaxPooling2D(name="stem_pool1")(x)
    x = conv_norm_relu(x, 96, "stem3")
    x = layers.MaxPooling2D(name="stem_pool2")(x)
    for stage, (modules, width) in enumerate(STAGES, start=1):
        for module in range(1, modules + 1):
            x = _mixed(x, width, f"stage{stage}_mixed{module}")
        if stage < len(STAGES):
            x = _reduction(x, REDUCTIONS[stage - 1], f"reduction{stage}")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_inception")
    return load_own_weights(model, weights, "bloodmnist_inception")


def _mixed(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    one = conv_norm_relu(x, width, f"{name}_1x1", kernel_size=1)
    three = conv_norm_relu(x, width, f"{name}_3x3_reduce", kernel_size=1)
    three = conv_norm_relu(three, width, f"{name}_3x3")
    five = conv_norm_relu(x, width, f"{name}_5x5_reduce", kernel_size=1)
    five = conv_norm_relu(five, width, f"{name}_1x5", kernel_size=(1, 5))
    five = conv_norm_relu(five, width, f"{name}_5x1", kernel_size=(5, 1))
    pool = layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    pool = conv_norm_relu(pool, width, f"{name}_pool_1x1", kernel_size=1)
    return layers.Concatenate(name=name)([one, three, five, pool])


def _reduction(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    conv = conv_norm_relu(x, width, f"{name}_conv", strides=2)
    separable = layers.SeparableConv2D(width, 3, strides=2, padding="same", name=f"{name}_separable")(x)
    separable = layers.BatchNormalization(name=f"{name}_separable_norm")(separable)
    separable = layers.ReLU(name=f"{name}_separable_relu")(separable)
    pool = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Concatenate(name=name)([conv, separable, pool])
