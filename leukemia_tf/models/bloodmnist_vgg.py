"""VGG-16 for 64-pixel images: plain, slim, with squeeze and excitation, with CBAM (system 003)."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.layers.conv_block_attention import ConvBlockAttention
from leukemia_tf.layers.squeeze_excite import SqueezeExcite
from leukemia_tf.models.bloodmnist_cnn import PROTOCOL, REFERENCE
from leukemia_tf.models.from_scratch import check_initializer, check_rate, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.weights import load_own_weights

WIDTHS = (32, 64, 128, 256, 256)
"""Filters of the five blocks."""


@register_model(
    "bloodmnist_vgg16",
    system="003",
    reference=REFERENCE,
    parameters=5_787_560,
    published=f"accuracy 95.03 %, and with dropout (rate 0.3 to 0.5, unspecified) 96.43 %, {PROTOCOL}",
)
def bloodmnist_vgg16(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.0,
    kernel_initializer: str = "he_normal",
    name: str | None = None,
) -> keras.Model:
    """VGG-16 at half the width, without normalisation (system 003, VGG-16 and VGG-16 + Dropout).

    RGB (B, S, S, 3) in [0, 255], divided by 255 -> five blocks of 2, 2, 3, 3 and 3 padded 3x3 convolutions with 32, 64,
    128, 256 and 256 filters and ReLU, each block with 2x2 max pooling -> Dense 1024 ReLU, dropout, Dense 1024 ReLU,
    dropout -> the classifier.

    Train it with Adam at 3e-4 from He's start: without normalisation, Glorot's start at 1e-3 stays on the largest
    class. Accuracy on 512 validation images of PBC (2,048 to train, batch 64, dropout 0.4, one seed), 5 epochs at 32
    pixels: Glorot 1e-3 .172 (one class), 3e-4 .328; He 1e-3 .451, 3e-4 .688, 1e-4 .713. At 64 pixels He 3e-4 has .650
    after 4 epochs; 1e-3 falls back to one class even after two epochs of warm-up.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels, at least 32; 64 as published.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        dropout: rate after each hidden dense layer.
        kernel_initializer: of all layers but the classifier; ``"glorot_uniform"``, Keras's default, is what the
            published code is taken to have had.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    return _vgg(
        "bloodmnist_vgg16", (2, 2, 3, 3, 3), None, num_classes, image_size, weights, dropout, kernel_initializer, name
    )


@register_model(
    "bloodmnist_vgg16_slim",
    system="003",
    reference=REFERENCE,
    parameters=4_607_400,
    published=f"accuracy 96.20 % {PROTOCOL}",
)
def bloodmnist_vgg16_slim(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.0,
    kernel_initializer: str = "he_normal",
    name: str | None = None,
) -> keras.Model:
    """VGG-16 without one convolution each in blocks 4 and 5 (system 003, VGG-16 "Rm").

    As `bloodmnist_vgg16`, which has 2 x 590,080 parameters more. Whether its published run used dropout is not said.

    Args, returns, raises: as `bloodmnist_vgg16`.
    """
    return _vgg(
        "bloodmnist_vgg16_slim",
        (2, 2, 3, 2, 2),
        None,
        num_classes,
        image_size,
        weights,
        dropout,
        kernel_initializer,
        name,
    )


@register_model(
    "bloodmnist_vgg16_se",
    system="003",
    reference=REFERENCE,
    parameters=5_798_950,
    published=f"accuracy 91.70 % {PROTOCOL}; a reconstruction, where the attention sits is unpublished",
)
def bloodmnist_vgg16_se(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.0,
    kernel_initializer: str = "he_normal",
    name: str | None = None,
) -> keras.Model:
    """VGG-16 with squeeze and excitation (system 003); a reconstruction, where it sits is unpublished.

    As `bloodmnist_vgg16`, with `SqueezeExcite` (ratio 16) before the pooling of blocks 1 to 4.

    Args, returns, raises: as `bloodmnist_vgg16`.
    """
    return _vgg(
        "bloodmnist_vgg16_se",
        (2, 2, 3, 3, 3),
        SqueezeExcite,
        num_classes,
        image_size,
        weights,
        dropout,
        kernel_initializer,
        name,
    )


@register_model(
    "bloodmnist_vgg16_cbam",
    system="003",
    reference=REFERENCE,
    parameters=5_799_342,
    published=f"accuracy 93.31 % {PROTOCOL}; a reconstruction, where the attention sits is unpublished",
)
def bloodmnist_vgg16_cbam(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.0,
    kernel_initializer: str = "he_normal",
    name: str | None = None,
) -> keras.Model:
    """VGG-16 with CBAM attention (system 003); a reconstruction, where it sits is unpublished.

    As `bloodmnist_vgg16`, with `ConvBlockAttention` (ratio 16, 7x7) before the pooling of blocks 1 to 4: 1,652
    parameters fewer than the 5,800,994 that are published, which no usual placement meets exactly.

    Args, returns, raises: as `bloodmnist_vgg16`.
    """
    return _vgg(
        "bloodmnist_vgg16_cbam",
        (2, 2, 3, 3, 3),
        ConvBlockAttention,
        num_classes,
        image_size,
        weights,
        dropout,
        kernel_initializer,
        name,
    )


def _vgg(
    builder: str,
    depths: tuple[int, ...],
    attention: type[layers.Layer] | None,
    num_classes: int,
    image_size: int,
    weights: str | os.PathLike | None,
    dropout: float,
    kernel_initializer: str,
    name: str | None,
) -> keras.Model:
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    options = {"activation": "relu", "kernel_initializer": check_initializer("kernel_initializer", kernel_initializer)}
    inputs, x = image_input(builder, image_size, 32)
    for block, (filters, depth) in enumerate(zip(WIDTHS, depths), start=1):
        for position in range(1, depth + 1):
            x = layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv{position}", **options)(x)
        if attention and block < len(WIDTHS):
            x = attention(ratio=16, name=f"block{block}_attention")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for position in (1, 2):
        x = layers.Dense(1024, name=f"head_dense{position}", **options)(x)
        x = layers.Dropout(rate, name=f"head_dropout{position}")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or builder)
    return load_own_weights(model, weights, builder)
