"""A student for system 000 that is what its authors promised: much smaller and faster than its teacher."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.errors import InputError
from leukemia_tf.models.from_scratch import check_rate, conv_norm_relu, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.weights import load_own_weights

STEM = 24
WIDTHS = (36, 72, 144)
"""Channels of the three stages, whose maps have a quarter, an eighth and a sixteenth of the image's side."""


@register_model("mlffakd_tiny_student", system="000", reference="our own, for what system 000 promises")
def mlffakd_tiny_student(
    num_classes: int = 9,
    image_size: int = 224,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.2,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """Seven convolutions, half of them residual: 0.37 million parameters, a 29th of the teacher of system 000.

    RGB (B, S, S, 3) in [0, 255], brought to [-1, 1] -> 3x3 convolution with 24 filters and stride 2; then three stages
    of `WIDTHS`: 3x3 convolution with stride 2, and a residual 3x3 convolution, each with batch normalisation and ReLU
    -> global average -> dropout -> Dense. Plain convolutions, because a CPU is quicker with them than with as many
    operations of depthwise ones. Layers ``stage1_out`` to ``stage3_out`` have the maps that a distillation compares: at
    224 pixels 56x56x36, 28x28x72 and 14x14x144, the sizes that system 000 fuses.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels, at least 16; 224 as published for the system.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        dropout: rate before the classifier.
        width: factor of all numbers of filters, above 0 and at most 4. Parameters and operations go with its square.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= 4:
        raise InputError(f"`width` must be a number above 0 and at most 4. Received: {width!r}")
    stem, *stages = (max(1, round(width * filters)) for filters in (STEM, *WIDTHS))
    inputs, x = image_input("mlffakd_tiny_student", image_size, 16, scale=1 / 127.5, offset=-1.0)
    options = {"use_bias": False, "kernel_initializer": "he_normal"}
    x = conv_norm_relu(x, stem, "stem", strides=2, **options)
    for stage, filters in enumerate(stages, start=1):
        x = conv_norm_relu(x, filters, f"stage{stage}_down", strides=2, **options)
        y = layers.Conv2D(filters, 3, padding="same", name=f"stage{stage}_conv", **options)(x)
        y = layers.BatchNormalization(name=f"stage{stage}_norm")(y)
        x = layers.ReLU(name=f"stage{stage}_out")(layers.Add(name=f"stage{stage}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "mlffakd_tiny_student")
    return load_own_weights(model, weights, "mlffakd_tiny_student")
