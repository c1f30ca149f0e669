"""The first network of system 002-B: three convolutions and a dense layer."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.models.from_scratch import check_rate, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.weights import load_own_weights


@register_model(
    "basic_cnn",
    system="002-B",
    reference="github.com/yaniv-11/Automated-Leukemia-Diagnosis, basic CNN notebook",
    parameters=8_294_753,
    published="accuracy 88 % on 50 validation images, after 3 epochs on 750, on an image-level split that shares cells",
)
def basic_cnn(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """Three convolutions, one dense layer (system 002-B, basic CNN).

    RGB (B, S, S, 3) in [0, 255], divided by 255 -> unpadded 3x3 convolutions with 32, 64 and 95 filters (95 it is),
    each with ReLU and 2x2 max pooling -> Dense 128 ReLU -> dropout -> a softmax, over two units for two classes.

    There is no ``as_published``, because the fault of the original is not in the network: it trained the softmax with
    binary instead of categorical cross-entropy, which is for the training recipe to choose.

    Args:
        num_classes: two or more; always a softmax.
        image_size: side S in pixels, at least 22; 224 as published. Nearly all parameters are in the dense layer and
            grow with the square of it.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        dropout: rate before the classifier.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    inputs, x = image_input("basic_cnn", image_size, 22)
    for position, filters in enumerate((32, 64, 95), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{position}")(x)
        x = layers.MaxPooling2D(name=f"pool{position}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="head_dense")(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes, two_class_units=2), name=name or "basic_cnn")
    return load_own_weights(model, weights, "basic_cnn")
