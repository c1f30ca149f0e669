"""Several feature maps of one network fused into one, with attention to the channels of each."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.errors import InputError
from leukemia_tf.layers._checks import check_map, positive
from leukemia_tf.layers._maps import resize_map, unit_rms
from leukemia_tf.layers.squeeze_excite import SqueezeExcite


@keras.saving.register_keras_serializable(package="leukemia_tf")
class MapFusion(keras.layers.Layer):
    """Multi-layer feature fusion as system 000 declares it, and never calls it.

    For each map: root mean square brought to 1 -> 1x1 convolution C -> C, batch normalisation, ReLU -> squeeze and
    excitation (ratio 16) -> resizing to ``size``. Then the maps are joined along the channels, and a 1x1 convolution
    makes ``filters`` of them, each pixel brought to a root mean square of 1. In system 000 the maps have 64, 128 and
    256 channels, 448 together, and 256 come out; its code has no normalisation.

    Args:
        size: (h, w) of the output.
        filters: channels of the output.
        ratio: of the squeeze and excitation.
        kernel_initializer: of the 1x1 convolutions.

    Input: a list of feature maps (B, h, w, C) of any sizes, channels last. Output shape: (B, *size, filters).

    Raises:
        InputError: if an argument is no whole number above zero, or the input is no list of maps.
    """

    def __init__(self, size, filters=256, ratio=16, kernel_initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(positive("size", side) for side in size)
        self.filters = positive("filters", filters)
        self.ratio = positive("ratio", ratio)
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        if not input_shape or not isinstance(input_shape[0], (list, tuple)):
            raise InputError(f"`{type(self).__name__}` takes a list of feature maps. Received: shape {input_shape}")
        widths = [check_map(self, shape) for shape in input_shape]
        options = {"use_bias": False, "kernel_initializer": self.kernel_initializer, "dtype": self.dtype_policy}
        self.branches = []
        for number, (shape, width) in enumerate(zip(input_shape, widths), start=1):
            convolution = keras.layers.Conv2D(width, 1, name=f"conv{number}", **options)
            norm = keras.layers.BatchNormalization(name=f"norm{number}", dtype=self.dtype_policy)
            attention = SqueezeExcite(self.ratio, name=f"attention{number}", dtype=self.dtype_policy)
            for layer in (convolution, norm, attention):
                layer.build(tuple(shape))
            self.branches.append([convolution, norm, attention])
        self.fuse = keras.layers.Conv2D(self.filters, 1, name="fuse", **options)
        self.fuse.build((None, *self.size, sum(widths)))
        super().build(input_shape)

    def call(self, inputs, training=False):
        maps = []
        for x, (convolution, norm, attention) in zip(inputs, self.branches):
            x = convolution(ops.cast(unit_rms(x, axis=(1, 2, 3)), self.compute_dtype))
            x = attention(ops.relu(norm(x, training=training)))
            maps.append(resize_map(x, self.size))
        fused = self.fuse(ops.concatenate(maps, axis=-1))
        return ops.cast(unit_rms(fused, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], *self.size, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "size": list(self.size),
            "filters": self.filters,
            "ratio": self.ratio,
            "kernel_initializer": self.kernel_initializer,
        }
