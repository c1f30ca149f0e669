"""Small plain networks for BloodMNIST: the baselines of system 003 and its variants with dropout, normalisation, SE.

The authors print parameter counts and no code that could be read. Where a count is given here as exact, it fixes the
architecture; where a model is called a reconstruction, its details are unpublished and ours are a plausible choice.
"""

from __future__ import annotations

import os

import keras
from keras import layers

from leukemia_tf.layers.squeeze_excite import SqueezeExcite
from leukemia_tf.models.from_scratch import check_l2, check_rate, conv_norm_relu, image_input
from leukemia_tf.models.heads import check_num_classes, classify
from leukemia_tf.models.registry import register_model
from leukemia_tf.models.weights import load_own_weights

REFERENCE = "github.com/ranaislek/BloodMNIST-Prediction-DL, report of Islek and Nushi"
PROTOCOL = "on the 3,421 images of the official test split at 64 pixels, one run, best of about 15 configurations there"


@register_model(
    "bloodmnist_cnn2",
    system="003",
    reference=REFERENCE,
    parameters=407_080,
    published=f"accuracy 88.95 % {PROTOCOL}; a reconstruction, no count is published",
)
def bloodmnist_cnn2(
    num_classes: int = 8, image_size: int = 64, weights: str | os.PathLike | None = None, name: str | None = None
) -> keras.Model:
    """Two convolutions and a dense layer (system 003, CNN-2); a reconstruction, its details are unpublished.

    It continues the row of `bloodmnist_cnn4` and `bloodmnist_cnn3` downwards: unpadded 3x3 convolutions with 16 and 32
    filters, each with ReLU and 2x2 max pooling, then Dense 64 ReLU and the classifier.

    Args:
        num_classes: two classes give one sigmoid unit (the probability of class 1), more give a softmax.
        image_size: side in pixels of the RGB input in [0, 255], at least 10; the model divides by 255.
        weights: ``None`` or ``"none"``, or a ``.weights.h5`` file of this same model.
        name: of the model.

    Returns:
        A functional model; the output is float32 in any precision policy, (B, 1) or (B, num_classes).

    Raises:
        InputError: for a value outside of the above.
    """
    return _plain("bloodmnist_cnn2", (16, 32), 10, num_classes, image_size, weights, name)


@register_model(
    "bloodmnist_cnn3",
    system="003",
    reference=REFERENCE,
    parameters=171_624,
    published=f"accuracy 88.07 % {PROTOCOL}",
)
def bloodmnist_cnn3(
    num_classes: int = 8, image_size: int = 64, weights: str | os.PathLike | None = None, name: str | None = None
) -> keras.Model:
    """Three convolutions and a dense layer (system 003, CNN-3).

    Unpadded 3x3 convolutions with 16, 32 and 64 filters, each with ReLU and 2x2 max pooling, then Dense 64 ReLU and the
    classifier. Only the size of its file is printed, 0.67 MB, which these 171,624 parameters have.

    Args:
        num_classes, weights, name: as in `bloodmnist_cnn2`.
        image_size: at least 22.

    Returns, raises: as `bloodmnist_cnn2`.
    """
    return _plain("bloodmnist_cnn3", (16, 32, 64), 22, num_classes, image_size, weights, name)


@register_model(
    "bloodmnist_cnn4",
    system="003",
    reference=REFERENCE,
    parameters=130_792,
    published=f"accuracy 88.78 % {PROTOCOL}",
)
def bloodmnist_cnn4(
    num_classes: int = 8, image_size: int = 64, weights: str | os.PathLike | None = None, name: str | None = None
) -> keras.Model:
    """Four convolutions and a dense layer (system 003, CNN-4).

    Unpadded 3x3 convolutions with 16, 32, 64 and 128 filters, each with ReLU and 2x2 max pooling, then Dense 64 ReLU
    and the classifier.

    Args:
        num_classes, weights, name: as in `bloodmnist_cnn2`.
        image_size: at least 46.

    Returns, raises: as `bloodmnist_cnn2`.
    """
    return _plain("bloodmnist_cnn4", (16, 32, 64, 128), 46, num_classes, image_size, weights, name)


@register_model(
    "bloodmnist_cnn_dropout",
    system="003",
    reference=REFERENCE,
    parameters=549_032,
    published=f"accuracy 91.90 % with rate 0.4 and 90.0 % with 0.5 {PROTOCOL}",
)
def bloodmnist_cnn_dropout(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.4,
    name: str | None = None,
) -> keras.Model:
    """Three padded convolutions, a dense layer and dropout (system 003, CNN + Dropout).

    3x3 convolutions with 16, 32 and 64 filters that keep the size of the map, each with ReLU and 2x2 max pooling, then
    Dense 128 ReLU, dropout and the classifier.

    Args:
        num_classes, weights, name: as in `bloodmnist_cnn2`.
        image_size: at least 8.
        dropout: rate before the classifier; 0.4 and 0.5 are published.

    Returns, raises: as `bloodmnist_cnn2`.
    """
    check_num_classes(num_classes)
    rate = check_rate("dropout", dropout)
    inputs, x = image_input("bloodmnist_cnn_dropout", image_size, 8)
    x = _conv_pool(x, (16, 32, 64), "same")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="head_dense")(x)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_cnn_dropout")
    return load_own_weights(model, weights, "bloodmnist_cnn_dropout")


@register_model(
    "bloodmnist_cnn_bn",
    system="003",
    reference=REFERENCE,
    parameters=626_024,
    published=(
        "accuracy 95.59 % with dropout 0.4, 93.92 % without, 91.11 / 86.64 / 90.47 % without but with an L2 penalty of "
        f"1e-4 / 1e-3 / 1e-2, {PROTOCOL}"
    ),
)
def bloodmnist_cnn_bn(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.4,
    l2: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Four normalised convolutions, a normalised dense layer, dropout (system 003, CNN + BN + Dropout).

    Padded 3x3 convolutions with 16, 32, 64 and 128 filters, each with batch normalisation, ReLU and 2x2 max pooling,
    then Dense 256, batch normalisation, ReLU, dropout and the classifier. One model for three published rows: with
    dropout 0.4, without (``dropout=0``), and without but with an L2 penalty (``dropout=0, l2=1e-4``).

    Args:
        num_classes, weights, name: as in `bloodmnist_cnn2`.
        image_size: at least 16.
        dropout: rate before the classifier.
        l2: factor of the penalty on the kernels of the convolutions and of the hidden dense layer. Which kernels were
            penalised is unpublished.

    Returns, raises: as `bloodmnist_cnn2`.
    """
    check_num_classes(num_classes)
    rate, penalty = check_rate("dropout", dropout), check_l2(l2)
    inputs, x = image_input("bloodmnist_cnn_bn", image_size, 16)
    for position, filters in enumerate((16, 32, 64, 128), start=1):
        x = conv_norm_relu(x, filters, f"conv{position}", kernel_regularizer=penalty)
        x = layers.MaxPooling2D(name=f"pool{position}")(x)
    x = _dense_norm_relu(layers.Flatten(name="flatten")(x), 256, penalty)
    x = layers.Dropout(rate, name="head_dropout")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_cnn_bn")
    return load_own_weights(model, weights, "bloodmnist_cnn_bn")


@register_model(
    "bloodmnist_cnn_se",
    system="003",
    reference=REFERENCE,
    parameters=287_807,
    published=f"accuracy 95.03 % {PROTOCOL}",
)
def bloodmnist_cnn_se(
    num_classes: int = 8,
    image_size: int = 64,
    weights: str | os.PathLike | None = None,
    l2: float = 1e-4,
    name: str | None = None,
) -> keras.Model:
    """Three normalised convolutions with squeeze and excitation, an L2 penalty (system 003, CNN + SE + L2).

    Padded 3x3 convolutions with 16, 32 and 64 filters, each with batch normalisation, ReLU, squeeze and excitation
    (ratio 16, so a single hidden unit in the first) and 2x2 max pooling, then Dense 64, batch normalisation, ReLU and
    the classifier.

    Args:
        num_classes, weights, name: as in `bloodmnist_cnn2`.
        image_size: at least 8.
        l2: factor of the penalty on the kernels of the convolutions and of the hidden dense layer.

    Returns, raises: as `bloodmnist_cnn2`.
    """
    check_num_classes(num_classes)
    penalty = check_l2(l2)
    inputs, x = image_input("bloodmnist_cnn_se", image_size, 8)
    for position, filters in enumerate((16, 32, 64), start=1):
        x = conv_norm_relu(x, filters, f"conv{position}", kernel_regularizer=penalty)
        x = SqueezeExcite(ratio=16, name=f"attention{position}")(x)
        x = layers.MaxPooling2D(name=f"pool{position}")(x)
    x = _dense_norm_relu(layers.Flatten(name="flatten")(x), 64, penalty)
    model = keras.Model(inputs, classify(x, num_classes), name=name or "bloodmnist_cnn_se")
    return load_own_weights(model, weights, "bloodmnist_cnn_se")


def _plain(
    builder: str,
    filters: tuple[int, ...],
    min_size: int,
    num_classes: int,
    image_size: int,
    weights: str | os.PathLike | None,
    name: str | None,
) -> keras.Model:
    check_num_classes(num_classes)
    inputs, x = image_input(builder, image_size, min_size)
    x = _conv_pool(x, filters, "valid")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="head_dense")(x)
    model = keras.Model(inputs, classify(x, num_classes), name=name or builder)
    return load_own_weights(model, weights, builder)


def _conv_pool(x: keras.KerasTensor, filters: tuple[int, ...], padding: str) -> keras.KerasTensor:
    for position, width in enumerate(filters, start=1):
        x = layers.Conv2D(width, 3, padding=padding, activation="relu", name=f"conv{position}")(x)
        x = layers.MaxPooling2D(name=f"pool{position}")(x)
    return x


def _dense_norm_relu(x: keras.KerasTensor, units: int, penalty: keras.regularizers.Regularizer | None):
    x = layers.Dense(units, kernel_regularizer=penalty, name="head_dense")(x)
    x = layers.BatchNormalization(name="head_norm")(x)
    return layers.ReLU(name="head_relu")(x)
