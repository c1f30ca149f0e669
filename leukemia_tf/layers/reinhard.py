"""Colours brought to the mean and spread of a reference."""

from __future__ import annotations

import math

import keras
from keras import ops

from leukemia_tf.data.colour import BLACK
from leukemia_tf.errors import InputError
from leukemia_tf.layers._lab import check_black, check_images, lab_to_rgb, masked_mean, not_black, rgb_to_lab


@keras.saving.register_keras_serializable(package="leukemia_tf")
class Reinhard(keras.layers.Layer):
    """Give each image the mean and the standard deviation of a reference, in each channel of CIE Lab.

    ``(lab - mean of the image) * (reference deviation / deviation of the image) + reference mean`` (Reinhard et al.,
    "Color transfer between images", 2001). The paper's space is l-alpha-beta; this is CIE Lab from sRGB under D65, with
    the numbers of OpenCV's float32 conversion.

    A black background, such as that of cells cut out of their surroundings, takes no part and stays as it is. A
    deviation of an image below 1 counts as 1 (an eye sees differences from about 2 on), so that the noise of a uniform
    image is not blown up. Colours that no screen shows are clipped.

    Args:
        mean: of L, a and b of the reference, as `leukemia_tf.data.colour.fit_reinhard` gives it.
        std: their standard deviations, 0 or more.
        black: pixels whose brightest channel is at most this grey level are background.

    Input and output shape: ``(B, h, w, 3)``, RGB in [0, 255]. It computes in float32 under any precision policy, and
    gives float32 out unless ``dtype`` says otherwise.

    Raises:
        InputError: for numbers outside of the above, or an input that is no image of 3 channels.
    """

    def __init__(self, mean, std, black=BLACK, **kwargs):
        # Float16 has steps of a quarter of a grey level at 255, and the global policy may ask for it.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.mean = _three("mean", mean, -math.inf)
        self.std = _three("std", std, 0.0)
        self.black = check_black(black)

    def build(self, input_shape):
        check_images(self, input_shape)
        super().build(input_shape)

    def call(self, images):
        images = ops.cast(images, "float32")
        mask = not_black(images, self.black)
        lab = rgb_to_lab(images)
        centred = lab - masked_mean(lab, mask)
        # The floor is under the root, whose gradient at 0 is infinite.
        spread = ops.sqrt(ops.maximum(masked_mean(ops.square(centred), mask), 1.0))
        mean, std = (ops.convert_to_tensor(numbers, dtype="float32") for numbers in (self.mean, self.std))
        matched = lab_to_rgb(centred * (std / spread) + mean)
        return ops.cast(ops.where(mask > 0, matched, images), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "std": self.std, "black": self.black}


def _three(name: str, values, least: float) -> list[float]:
    """Three finite Python numbers of at least `least`."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(number) and number >= least for number in numbers):
        limit = "" if least == -math.inf else f" of at least {least:g}"
        raise InputError(f"`{name}` must be three numbers{limit}, for L, a and b. Received: {values!r}")
    return numbers
