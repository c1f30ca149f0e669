"""EfficientNet with multi-head attention on its last map: system 004."""

from __future__ import annotations

import logging
import os

import keras
from keras import layers

from leukemia_tf.layers.spatial_self_attention import SpatialSelfAttention
from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model

log = logging.getLogger(__name__)


@register_model(
    "mha_efficientnet",
    system="004",
    reference="github.com/Jaffer74/Automated-Leukemia-Detection, notebook and report",
    parameters=30_643_237,
    published="validation accuracy 94.06 % in the last epoch, on an image-level split that shares patients; the "
    "published test figures compare predictions with labels in another order",
)
def mha_efficientnet(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    as_published: bool = False,
    backbone: str = "efficientnetb0",
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """EfficientNetB0 with four heads of self-attention between the pixels of its last map (system 004).

    RGB (B, S, S, 3) in [0, 255] -> backbone, its map (7 x 7 x 1280 at 224 pixels) -> multi-head attention among the
    49 pixels, key width 1280, dropout 0.3, no residual (layer ``attention``) -> average over the pixels -> Dense 256,
    LeakyReLU 0.1, batch normalisation, dropout 0.5 -> Dense 128, LeakyReLU 0.1, batch normalisation, dropout 0.3 ->
    Dense 2, softmax.

    The paper puts the attention before the pooling, and so does the default. The notebook pooled first: its attention
    saw one token, a softmax over one score is 1, and what remained is a linear map in which 13,117,440 of the
    26,231,040 parameters, those of queries and keys, never receive a gradient. ``as_published=True`` does the same.
    Weights fit both ways.

    Args:
        num_classes: classes, each with a unit of the softmax; two as published.
        image_size: side S in pixels; 224 as published. At 32 pixels the map is one pixel, with a warning in the
            log unless ``as_published``.
        weights: ``"imagenet"``, ``"none"``, or the backbone's weights, as a file or in a folder.
        as_published: pool before the attention, as the notebook did.
        backbone: a name of the backbone catalogue; the key width is its number of features.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        A functional model; the output (B, num_classes) is float32 in any precision policy.

    Raises:
        InputError: for a value outside of the above, an image size below the backbone's minimum, or missing weights.
    """
    check_num_classes(num_classes)
    [base] = build_backbones([backbone], image_size, weights, pooling=None, on_missing=on_missing_weights)
    _, height, width, features = base.output.shape
    if height * width == 1 and not as_published:
        log.warning("at %d pixels the map is one pixel, so the attention has nothing to choose from", image_size)

    attention = SpatialSelfAttention(num_heads=4, key_dim=features, dropout=0.3, name="attention")
    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = base(inputs)
    if as_published:
        x = attention(layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x))
        x = layers.Flatten(name="flatten")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="pool")(attention(x))
    for number, (units, rate) in enumerate([(256, 0.5), (128, 0.3)], start=1):
        x = layers.Dense(units, name=f"head_dense{number}")(x)
        x = layers.LeakyReLU(negative_slope=0.1, name=f"head_relu{number}")(x)
        x = layers.BatchNormalization(name=f"head_norm{number}")(x)
        x = layers.Dropout(rate, name=f"head_dropout{number}")(x)
    return keras.Model(inputs, classify(x, num_classes, two_class_units=2), name=name or "mha_efficientnet")
