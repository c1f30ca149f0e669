"""What the builders without a pretrained backbone share: the input, one convolution unit, checks of options."""

from __future__ import annotations

import keras
from keras import layers

from leukemia_tf.errors import InputError


def image_input(
    builder: str, image_size: int, min_size: int, *, scale: float = 1 / 255, offset: float = 0.0
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input of a model and the same images rescaled.

    The rescaling computes in float32 under mixed precision too: float16 has no room for 0..255 with fractions.

    Args:
        builder: the registered name, for the message.
        image_size: side S in pixels.
        min_size: the smallest side that leaves something of the last map.
        scale, offset: RGB in [0, 255] times ``scale`` plus ``offset`` is what the first convolution sees.

    Returns:
        ``image``, RGB (B, S, S, 3) in [0, 255], and the output of the layer ``preprocessing``.

    Raises:
        InputError: if ``image_size`` is no whole number or too small.
    """
    if isinstance(image_size, bool) or not hasattr(image_size, "__index__"):
        raise InputError(f"`image_size` must be a whole number of pixels. Received: {image_size!r}")
    if image_size < min_size:
        raise InputError(f"`image_size` must be at least {min_size} for the model `{builder}`. Received: {image_size}")
    inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
    return inputs, layers.Rescaling(scale, offset=offset, dtype="float32", name="preprocessing")(inputs)


def conv_norm_relu(
    x: keras.KerasTensor, filters: int, name: str, *, kernel_size: int | tuple[int, int] = 3, **options
) -> keras.KerasTensor:
    """Convolution -> batch normalisation -> ReLU, in layers ``NAME``, ``NAME_norm`` and ``NAME_relu``.

    Args:
        x: map (B, h, w, C).
        filters, kernel_size: of the convolution, which keeps the size of the map.
        name: of the convolution.
        **options: further arguments of ``keras.layers.Conv2D``.
    """
    x = layers.Conv2D(filters, kernel_size, **{"padding": "same", **options}, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def check_rate(option: str, value: float) -> float:
    """A dropout rate as a float.

    Raises:
        InputError: if it is no number from 0 to below 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise InputError(f"`{option}` must be a number from 0 to below 1. Received: {value!r}")
    return float(value)


def check_l2(value: float) -> keras.regularizers.Regularizer | None:
    """The penalty on a kernel, or None for 0.

    Raises:
        InputError: if ``value`` is no number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InputError(f"`l2` must be a number of at least 0. Received: {value!r}")
    return keras.regularizers.L2(float(value)) if value else None


def check_initializer(option: str, value: str) -> str:
    """The name of a Keras initializer.

    Only a name: one initializer object that several layers share would give all of them the same numbers.

    Raises:
        InputError: if Keras knows none of this name.
    """
    try:
        known = isinstance(value, str) and keras.initializers.get(value) is not None
    except ValueError:
        known = False
    if not known:
        raise InputError(
            f'`{option}` must be the name of a Keras initializer, such as "he_normal" or "glorot_uniform". '
            f"Received: {value!r}"
        )
    return value
