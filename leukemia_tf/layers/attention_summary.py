"""Where a feature map is strong: one number a pixel, as attention transfer compares it."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._checks import check_map, positive
from leukemia_tf.layers._maps import resize_map, unit_rms


@keras.saving.register_keras_serializable(package="leukemia_tf")
class AttentionSummary(keras.layers.Layer):
    """The mean of the squared channels of each pixel, resized, and brought to a root mean square of 1 over the map.

    The attention map of Zagoruyko and Komodakis ("Paying More Attention to Attention", ICLR 2017: squares summed over
    the channels, divided by the length of the whole map). The mean squared error of two such maps is the square of the
    distance of theirs, 2 - 2 cos: the authors' code has that distance's mean over the pixels, their paper its root.

    Args:
        size: (h, w) of the output; two networks are compared at the smaller of their sizes.

    Input shape: feature map (B, h, w, C), channels last. Output shape: (B, *size), nothing below zero.

    Raises:
        InputError: if a side is no whole number above zero, or the input is not of rank 4.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(positive("size", side) for side in size)

    def build(self, input_shape):
        check_map(self, input_shape)
        super().build(input_shape)

    def call(self, inputs):
        energy = ops.mean(ops.square(ops.cast(inputs, "float32")), axis=-1, keepdims=True)
        summary = unit_rms(resize_map(energy, self.size), axis=(1, 2))
        return ops.cast(ops.squeeze(summary, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.size)

    def get_config(self):
        return {**super().get_config(), "size": list(self.size)}
