"""Residual networks for BloodMNIST: ResNet-18 and a small one of the authors' own (system 003)."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.models.bloodmnist_cnn import PROTOCOL, REFERENCE
from leukemia_tf.models.from_scratch import check_rate, conv_norm_relu, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.resnet18 import resnet18
from leukemia_tf.models.weights import load_own_weights


@register_model(
    "bloodmnist_resnet18",
    system="003",
    reference=REFERENCE,
    parameters=11_195_016,
    published=f"accuracy 95.67 % {PROTOCOL}; a figure calls it ResNet50, its parameter count is ResNet-18's",
)
def bloodmnist_resnet18(
    num_classes: int = 8, image_size: int = 64, weights: str | os.PathLike | None = None, name: str | None = None
) -> keras.Model:
    """ResNet-18 with biases in all convolutions, from random weights (system 003).

    RGB (B, S, S, 3) in [0, 255], divided by 255 -> `leukemia_tf.models.resnet18.resnet18` with Keras's defaults in the
    batch normalisation -> global average -> the classifier. The published run trained it with SGD and cosine decay.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels, at least 32; 64 as published.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    check_num_classes(num_classes)
    inputs, x = image_input("bloodmnist_resnet18", image_size, 32)
    x = resnet18(x, use_bias=True, norm_momentum=0.99, norm_epsilon=1e-3)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_resnet18")
    return load_own_weights(model, weights, "bloodmnist_resnet18")


@register_model(
    "bloodmnist_residual",
    system="003",
    reference=REFERENCE,
    parameters=602_152,
    published=f"accuracy 92.43 % {PROTOCOL}; a reconstruction, neither layers nor a count are published",
)
def bloodmnist_residual(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.4,
    name: str | None = None,
) -> keras.Model:
    """A small residual network (system 003, custom residual CNN); a reconstruction, its details are unpublished.

    The widths of the authors' other small networks with a shortcut around each pair of convolutions: RGB in [0, 255],
    divided by 255 -> conv 16 -> stages of 32, 64 and 128 filters, each one residual block (conv, norm, ReLU, conv,
    norm, plus a 1x1 convolution of its input with a normalisation, ReLU) and 2x2 max pooling -> one more block of 128
    -> global average -> dropout -> the classifier.

    Args:
        num_classes, weights, name: as in `bloodmnist_resnet18`.
        image_size: at least 8.
        dropout: rate before the classifier.

    Returns, raises: as `bloodmnist_resnet18`.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    inputs, x = image_input("bloodmnist_residual", image_size, 8)
    x = conv_norm_relu(x, 16, "conv1")
    for stage, filters in enumerate((32, 64, 128), start=1):
        x = _block(x, filters, f"block{stage}")
        x = layers.MaxPooling2D(name=f"pool{stage}")(x)
    x = _block(x, 128, "block4")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_residual")
    return load_own_weights(model, weights, "bloodmnist_residual")


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, name=f"{name}_shortcut")(x)
        shortcut = layers.BatchNormalization(name=f"{name}_shortcut_norm")(shortcut)
    x = conv_norm_relu(x, filters, f"{name}_conv1")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(x)
    x = layers.BatchNormalization(name=f"{name}_conv2_norm")(x)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)
