"""The convolutions of ResNet-18, which ``keras.applications`` does not have, for the models that use it."""

from __future__ import annotations

import keras
from keras import layers

STAGE_OUTPUTS = ("stage1_block2_out", "stage2_block2_out", "stage3_block2_out", "stage4_block2_out")
"""Layers with the last map of each stage: at 224 pixels 56x56x64, 28x28x128, 14x14x256 and 7x7x512, all after ReLU."""


def resnet18(
    x: keras.KerasTensor,
    *,
    use_bias: bool = False,
    norm_momentum: float = 0.9,
    norm_epsilon: float = 1e-5,
    kernel_initializer: str = "he_normal",
) -> keras.KerasTensor:
    """The convolutions of ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

    Zero padding, 7x7 convolution with stride 2, batch normalisation, ReLU, zero padding, 3x3 max pooling with stride 2;
    then four stages of two blocks with 64, 128, 256 and 512 filters. A block is conv -> norm -> ReLU -> conv -> norm,
    plus its input, -> ReLU; where the size changes (the first block of stages 2 to 4) the input goes through a 1x1
    convolution with stride 2 and a normalisation. Strided convolutions are padded by the same number of zeros on all
    sides, as torchvision's are (Keras's "same" would pad one side only), so that the kernels mean the same in both.

    Args:
        x: images (B, S, S, 3), already preprocessed, S of at least 32 to leave one pixel.
        use_bias: of all convolutions. torchvision's have none, because the normalisation takes it off again.
        norm_momentum, norm_epsilon: of all normalisations; the defaults are torchvision's (whose momentum is 1 minus
            that of Keras).
        kernel_initializer: of the convolutions.

    Returns:
        The last map, (B, S/32, S/32, 512). `STAGE_OUTPUTS` names the layers with the last map of each stage.
        11,176,512 trainable parameters and 9,600 moving statistics, and 4,800 biases more with ``use_bias``.
    """
    conv = {"use_bias": use_bias, "kernel_initializer": kernel_initializer}
    norm = {"momentum": norm_momentum, "epsilon": norm_epsilon}
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1", **conv)(x)
    x = layers.BatchNormalization(name="conv1_norm", **norm)(x)
    x = layers.ReLU(name="conv1_relu")(x)
    # After a ReLU zeros are as good as the minus infinity that belongs around a maximum.
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in (1, 2):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, filters, strides, f"stage{stage}_block{block}", conv, norm)
    return x


def _block(x: keras.KerasTensor, filters: int, strides: int, name: str, conv: dict, norm: dict) -> keras.KerasTensor:
    shortcut = x
    if strides > 1:
        shortcut = layers.Conv2D(filters, 1, strides=strides, name=f"{name}_shortcut", **conv)(x)
        shortcut = layers.BatchNormalization(name=f"{name}_shortcut_norm", **norm)(shortcut)
    x = layers.ZeroPadding2D(1, name=f"{name}_pad1")(x)
    x = layers.Conv2D(filters, 3, strides=strides, name=f"{name}_conv1", **conv)(x)
    x = layers.BatchNormalization(name=f"{name}_norm1", **norm)(x)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2", **conv)(x)
    x = layers.BatchNormalization(name=f"{name}_norm2", **norm)(x)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)
