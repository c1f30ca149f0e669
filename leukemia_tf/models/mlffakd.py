"""Teacher and student of system 000, a distillation from EfficientNetB3 to ResNet-18."""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.models.backbones import build_backbones
from leukemia_tf.models.from_scratch import check_rate, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.resnet18 import STAGE_OUTPUTS, resnet18
from leukemia_tf.models.weights import load_own_weights

REFERENCE = "github.com/HussamUmer/MLFFAKD-White-Blood-Cell-Detection, notebook"

STUDENT_TAPS = STAGE_OUTPUTS[:3]
"""Layers of `mlffakd_student` whose maps the distillation compares: at 224 pixels 56x56x64, 28x28x128 and 14x14x256.

The maps of the teacher are ``get_backbone("efficientnetb3").tap_outputs(model.get_layer("efficientnetb3"))``, of which
the first three have 56x56x32, 28x28x48 and 14x14x136."""


@register_model(
    "mlffakd_teacher",
    system="000",
    reference=REFERENCE,
    parameters=10_797_368,
    published="test accuracy 98.61 % (355 of 360) on an image-level split",
)
def mlffakd_teacher(
    num_classes: int = 9,
    image_size: int = 224,
    weights: str | os.PathLike | None = "imagenet",
    backbone: str = "efficientnetb3",
    name: str | None = None,
    on_missing_weights: str = "error",
) -> keras.Model:
    """EfficientNetB3 with a classifier (system 000, teacher).

    RGB (B, S, S, 3) in [0, 255] -> the backbone, which begins with its own preprocessing, average pooled -> Dense. The
    published run trained all layers and fed pixels in [-1, 1] where the weights want ImageNet's mean and deviation.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels; 224 as published.
        weights: ``"imagenet"``, ``"none"``, a file of the backbone's weights, or a folder of
            ``<backbone>_notop.weights.h5``.
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
    (branch,) = build_backbones([backbone], image_size, weights, on_missing=on_missing_weights)
    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    return keras.Model(inputs, classify(branch(inputs), num_classes), name=name or "mlffakd_teacher")


@register_model(
    "mlffakd_student",
    system="000",
    reference=REFERENCE,
    parameters=11_190_729,
    published="test accuracy 98.33 % (354 of 360) on an image-level split, distilled, from ImageNet weights",
)
def mlffakd_student(
    num_classes: int = 9,
    image_size: int = 224,
    weights: str | os.PathLike | None = None,
    as_published: bool = False,
    dropout: float = 0.4,
    name: str | None = None,
) -> keras.Model:
    """ResNet-18 (system 000, student), which has more parameters than its teacher.

    RGB (B, S, S, 3) in [0, 255], brought to [-1, 1] -> `leukemia_tf.models.resnet18.resnet18` in torchvision's layout
    -> global average -> dropout -> Dense. `STUDENT_TAPS` names the layers with the maps of stages 1 to 3.

    The published student started from torchvision's ImageNet weights. Keras has none for ResNet-18, so this one starts
    from random weights, or from a file.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side S in pixels, at least 32; 224 as published.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        as_published: put the dropout on the logits, behind the dense layer, where it hides whole classes from the loss.
            The default has it on the 512 features. The number of parameters is the same.
        dropout: its rate.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes). The layer
        ``logits`` is what a temperature applies to; as published, training saw ``logits_dropout`` after it.

    Raises:
        InputError: for a value outside of the above.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    inputs, x = image_input("mlffakd_student", image_size, 32, scale=1 / 127.5, offset=-1.0)
    x = resnet18(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    if not as_published:
        x = layers.Dropout(rate, name="head_dropout")(x)
    outputs = classify(x, num_classes, logits_dropout=rate if as_published else 0.0)
    model = keras.Model(inputs, outputs, name=name or "mlffakd_student")
    return load_own_weights(model, weights, "mlffakd_student")
