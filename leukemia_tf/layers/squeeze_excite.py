"""Squeeze and excitation: every channel of a map is weighted by what the whole image holds."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._attention import AttentionLayer
from leukemia_tf.layers._checks import check_map, positive


@keras.saving.register_keras_serializable(package="leukemia_tf")
class SqueezeExcite(AttentionLayer):
    """Scale each channel of a feature map by a number in (0, 1) that depends on the average of all channels.

    Average over the pixels -> Dense C/ratio ReLU -> Dense C sigmoid -> the map times these C numbers
    (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018).

    Args:
        ratio: by how much the hidden layer is narrower than the map; it has ``max(1, C // ratio)`` units.
        use_bias: of both dense layers.

    Call arguments:
        inputs: feature map (B, h, w, C), channels last.
        return_attention_scores: return ``(output, scores)``; scores (B, C) are the factors, each in (0, 1).

    Output shape: that of the input.

    Raises:
        InputError: if ``ratio`` is no whole number above zero, or the input is not of rank 4.
    """

    def __init__(self, ratio=16, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.ratio = positive("ratio", ratio)
        self.use_bias = bool(use_bias)

    def build(self, input_shape):
        channels = check_map(self, input_shape)
        hidden = max(1, channels // self.ratio)
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.squeeze = keras.layers.Dense(hidden, activation="relu", name="squeeze", **options)
        self.excite = keras.layers.Dense(channels, activation="sigmoid", name="excite", **options)
        self.squeeze.build((input_shape[0], channels))
        self.excite.build((input_shape[0], hidden))
        super().build(input_shape)

    def call(self, inputs, return_attention_scores=False):
        scores = self.excite(self.squeeze(ops.mean(inputs, axis=(1, 2))))
        output = inputs * ops.expand_dims(scores, (1, 2))
        return (output, scores) if return_attention_scores else output

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_scores_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "use_bias": self.use_bias}
