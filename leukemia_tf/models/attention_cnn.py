"""EfficientNetV2-B3 with squeeze and excitation on its last map: system 001."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.layers.squeeze_excite import SqueezeExcite
from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model


@register_model(
    "attention_cnn",
    system="001-B",
    reference="arXiv 2601.01026; github.com/DouglasBragaMestrado/tf_efficientnetv2_b3-C-NMC-2019, train_art.ipynb",
    parameters=14_149_024,
    published="test accuracy 97.89 % with thresholds and rules for single patients tuned on the test images, 96.5 % "
    "on the images without such rules; best validation F1 98.37 % on a patient-wise split",
)
def attention_cnn(
    num_classes: int = 2,
    image_size: int = 384,
    weights: str | os.PathLike | None = "imagenet",
    as_published: bool = False,
    backbone: str = "efficientnetv2b3",
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """EfficientNetV2-B3, squeeze and excitation, and a head of three dense layers (system 001).

    RGB (B, S, S, 3) in [0, 255] -> backbone, its map (12 x 12 x 1536 at 384 pixels) -> dropout 0.3 -> squeeze and
    excitation, ratio 16 (layer ``attention``) -> average over the pixels -> dropout 0.3 -> Dense 512, batch
    normalisation, ReLU -> dropout 0.2 -> Dense 256, batch normalisation, ReLU -> Dense 2, softmax.

    This is what the training notebook of the second repository ran. Its manuscript disagrees with itself on one more
    dropout of 0.3 before the last layer; the notebook has none, and so has this. The dropout on the map is in no text:
    it comes from the library's ``drop_rate`` option. Stochastic depth in the backbone grows from 0 to 0.194 in the last
    block, as in the original; Keras's own network would go up to 0.295.

    ``as_published=True`` is the model of the first repository as it ran. Its attention was written for a map and never
    called, because the backbone had pooled already; the head had no batch normalisation: backbone -> average ->
    dropout 0.3 -> Dense 512 ReLU -> dropout 0.2 -> Dense 256 ReLU -> Dense 2, without stochastic depth. That has
    13,849,408 parameters; the ones of the attention that never ran are not counted. It was trained at 224 pixels.

    Args:
        num_classes: classes, each with a unit of the softmax; two as published.
        image_size: side S in pixels; 384 as published, 224 in the first repository.
        weights: ``"imagenet"``, ``"none"``, or the backbone's weights, as a file or in a folder.
        as_published: the first repository's model, without attention and normalisation.
        backbone: a name of the backbone catalogue.
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
    _limit_stochastic_depth(base, 0.0 if as_published else 0.2 * 31 / 32)

    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    x = base(inputs)
    if not as_published:
        x = layers.Dropout(0.3, name="map_dropout")(x)
        x = SqueezeExcite(ratio=16, name="attention")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    for number, (rate, units) in enumerate([(0.3, 512), (0.2, 256)], start=1):
        x = layers.Dropout(rate, name=f"head_dropout{number}")(x)
        x = layers.Dense(units, name=f"head_dense{number}")(x)
        if not as_published:
            x = layers.BatchNormalization(name=f"head_norm{number}")(x)
        x = layers.ReLU(name=f"head_relu{number}")(x)
    return keras.Model(inputs, classify(x, num_classes, two_class_units=2), name=name or "attention_cnn")


def _limit_stochastic_depth(base: keras.Model, highest: float) -> None:
    """Scale the rates of a backbone's dropouts so that the last and highest is ``highest`` at most.

    EfficientNetV2-B3 has 32 blocks, and block i, from 0, drops out with 0.2 i / 32. Keras divides by 21, the number
    of blocks before they are multiplied for B3.
    """
    drops = [layer for layer in base.layers if isinstance(layer, layers.Dropout)]
    top = max((layer.rate for layer in drops), default=0.0)
    for layer in drops:
        layer.rate *= min(1.0, highest / top)
