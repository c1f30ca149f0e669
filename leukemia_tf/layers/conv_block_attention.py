"""CBAM: which channels matter, then which pixels do."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._attention import AttentionLayer
from leukemia_tf.layers._checks import check_map, positive


@keras.saving.register_keras_serializable(package="leukemia_tf")
class ConvBlockAttention(AttentionLayer):
    """Convolutional block attention module (Woo et al., "CBAM", ECCV 2018).

    Channels first: one perceptron (Dense C/ratio ReLU -> Dense C, with biases) reads the average and the maximum of
    each channel over the pixels; the sigmoid of the sum of both answers scales the channels. Pixels second: the mean
    and the maximum over the scaled channels, two maps, go through one convolution without bias, and its sigmoid scales
    the pixels.

    Args:
        ratio: by how much the hidden layer is narrower than the map; it has ``max(1, C // ratio)`` units.
        kernel_size: side of the convolution's kernel in pixels of the map; 7 in the paper.

    Call arguments:
        inputs: feature map (B, h, w, C), channels last.
        return_attention_scores: return ``(output, scores)``; scores (B, h, w) are the factors of the pixels, each in
            (0, 1). Those of the channels are not among them.

    Output shape: that of the input.

    Raises:
        InputError: if an argument is no whole number above zero, or the input is not of rank 4.
    """

    def __init__(self, ratio=16, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        self.ratio = positive("ratio", ratio)
        self.kernel_size = positive("kernel_size", kernel_size)

    def build(self, input_shape):
        channels = check_map(self, input_shape)
        batch, height, width, _ = input_shape
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

    def call(self, inputs, return_attention_scores=False):
        average = ops.mean(inputs, axis=(1, 2), keepdims=True)
        peak = ops.max(inputs, axis=(1, 2), keepdims=True)
        x = inputs * ops.sigmoid(self.excite(self.squeeze(average)) + self.excite(self.squeeze(peak)))
        average = ops.mean(x, axis=-1, keepdims=True)
        peak = ops.max(x, axis=-1, keepdims=True)
        scores = self.spatial(ops.concatenate([average, peak], axis=-1))
        return (x * scores, ops.squeeze(scores, axis=-1)) if return_attention_scores else x * scores

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_scores_shape(self, input_shape):
        return tuple(input_shape[:3])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "kernel_size": self.kernel_size}
