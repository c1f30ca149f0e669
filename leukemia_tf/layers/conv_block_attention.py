"""CBAM: which channels matter, then which pixels do."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._checks import check_map, positive


@keras.saving.register_keras_serializable(package="leukemia_tf")
class ConvBlockAttention(keras.layers.Layer):
    """Convolutional block attention module (Woo et al., "CBAM", ECCV 2018).

    Channels first: one perceptron (Dense C/ratio ReLU -> Dense C, with biases) reads the average and the maximum of
    each channel over the pixels; the sigmoid of the sum of both answers scales the channels. Pixels second: the mean
    and the maximum over the scaled channels, two maps, go through one convolution without bias, and its sigmoid scales
    the pixels.

    Args:
        ratio: by how much the hidden layer is narrower than the map; it has ``max(1, C // ratio)`` units.
        kernel_size: side of the convolution's kernel in pixels of the map; 7 in the paper.

    Input and output shape: ``(B, h, w, C)``, channels last.

    Raises:
        ValueError: if an argument is no whole number above zero, or the input is no map.
    """

    def __init__(self, ratio=16, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        self.ratio = positive("ratio", ratio)
        self.kernel_size = positive("kernel_size", kernel_size)

    def build(self, input_shape):
        batch, height, width, _ = input_shape
        channels = check_map(self, input_shape)
        hidden = max(1, channels // self.ratio)
        self.squeeze = keras.layers.Dense(hidden, activation="relu", name="squeeze", dtype=self.dtype_policy)
        self.excite = keras.layers.Dense(channels, name="excite", dtype=self.dtype_policy)
        self.spatial = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            activation="sigmoid",
            use_bias=False,
            data_format="channels_last",
            name="spatial",
            dtype=self.dtype_policy,
        )
        self.squeeze.build((batch, channels))
        self.excite.build((batch, hidden))
        self.spatial.build((batch, height, width, 2))
        super().build(input_shape)

    def call(self, inputs):
        average = ops.mean(inputs, axis=(1, 2), keepdims=True)
        peak = ops.max(inputs, axis=(1, 2), keepdims=True)
        x = inputs * ops.sigmoid(self.excite(self.squeeze(average)) + self.excite(self.squeeze(peak)))
        average = ops.mean(x, axis=-1, keepdims=True)
        peak = ops.max(x, axis=-1, keepdims=True)
        return x * self.spatial(ops.concatenate([average, peak], axis=-1))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "kernel_size": self.kernel_size}
