"""Learned tokens that look at a CNN's feature map: the ALL / healthy classifier of system 002-C."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.errors import InputError
from leukemia_tf.layers.filter_token_cross_attention import FilterTokenCrossAttention
from leukemia_tf.layers.token_self_attention import TokenSelfAttention
from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model


@register_model(
    "filter_token",
    system="002-C",
    reference="github.com/yaniv-11/Automated-Leukemia-Diagnosis, README (the code is not in the repository)",
    parameters=10_794_148,
    published="accuracy 91.22 % (540 of 592 images, ALL against healthy); how they were split is not said",
)
def filter_token(
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    num_tokens: int = 64,
    num_heads: int = 8,
    key_dim: int = 32,
    ffn_dim: int = 256,
    self_attention_blocks: int = 2,
    backbone: str = "efficientnetb0",
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """Filter tokens read the map of a CNN and talk it over (system 002-C).

    RGB (B, S, S, 3) in [0, 255] -> backbone, its map (7 x 7 x 1280 at 224 pixels) -> 64 learned tokens look at the
    pixels of the map (layer ``filter_tokens``) -> two blocks of self-attention among the tokens
    (``self_attention1``, ``self_attention2``) -> average over the tokens -> Dense 512 ReLU -> dropout 0.4 -> Dense.

    Only a description is published, no code. It fixes every width that is here by default and dropout 0.1 in the
    attention blocks. The width of the perceptron in the self-attention blocks, the place of the normalisation and the
    activation are not given; see the two layers for what stands in. There is no ``as_published`` variant because
    nothing is known to differ. Where the network looks: `leukemia_tf.models.attention_maps.spatial_attention`.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels; 224 as published. At 32 pixels the map is one pixel and there is nothing to
            choose from.
        weights: ``"imagenet"``, ``"none"``, or the backbone's weights, as a file or in a folder.
        num_tokens: number of filter tokens.
        num_heads: attention heads of every block.
        key_dim: width of each head.
        ffn_dim: width of the hidden layer of each block's perceptron.
        self_attention_blocks: number of blocks after the filter tokens, 0 or more.
        backbone: a name of the backbone catalogue.
        name: of the model.
        on_missing_weights: ``"error"``, or ``"random"`` to go on with a warning when ImageNet weights cannot be
            downloaded.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above, an image size below the backbone's minimum, or missing weights.
    """
    check_num_classes(num_classes)
    blocks = self_attention_blocks
    if isinstance(blocks, bool) or not hasattr(blocks, "__index__") or blocks < 0:
        raise InputError(f"`self_attention_blocks` must be a whole number of at least 0. Received: {blocks!r}")
    block = {"num_heads": num_heads, "key_dim": key_dim, "ffn_dim": ffn_dim, "dropout": 0.1}
    read = FilterTokenCrossAttention(num_tokens, **block, name="filter_tokens")
    [base] = build_backbones([backbone], image_size, weights, pooling=None, on_missing=on_missing_weights)

    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = read(base(inputs))
    for number in range(1, blocks + 1):
        x = TokenSelfAttention(**block, name=f"self_attention{number}")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(512, activation="relu", name="head_dense")(x)
    x = layers.Dropout(0.4, name="head_dropout")(x)
    return keras.Model(inputs, classify(x, num_classes), name=name or "filter_token")
