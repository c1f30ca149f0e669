"""Multi-head attention among the pixels of a feature map."""

from __future__ import annotations

import warnings

import keras
from keras import ops

from leukemia_tf.errors import InputError
from leukemia_tf.layers._attention import AttentionLayer
from leukemia_tf.layers._checks import check_map, positive, rate

OUTPUTS = ("map", "tokens")


@keras.saving.register_keras_serializable(package="leukemia_tf")
class SpatialSelfAttention(AttentionLayer):
    """Every pixel of a map looks at all pixels: the map as h * w tokens, ``keras.layers.MultiHeadAttention``, no more.

    There is no residual, no normalisation and no position, as in the published system 004: pixels in another order
    give the same outputs in that order. On a map of one pixel, which is what 004 fed it, every score is exactly 1 and
    the layer is a linear map whose queries and keys never learn.

    Args:
        num_heads: number of attention heads.
        key_dim: width of queries, keys and values of each head.
        dropout: rate, on the attention scores.
        output: ``"map"`` (B, h, w, D) or ``"tokens"`` (B, h * w, D), the pixels row by row.

    Call arguments:
        inputs: feature map (B, h, w, D).
        return_attention_scores: return ``(output, scores)``; scores (B, num_heads, h * w, h * w) add up to one over
            the last axis, the pixels that are looked at.

    Raises:
        InputError: for an argument outside of the above, or an input that is not of rank 4.
    """

    def __init__(self, num_heads=4, key_dim=64, dropout=0.0, output="map", **kwargs):
        super().__init__(**kwargs)
        self.num_heads = positive("num_heads", num_heads)
        self.key_dim = positive("key_dim", key_dim)
        self.dropout = rate("dropout", dropout)
        if output not in OUTPUTS:
            raise InputError(f'`output` must be "map" or "tokens". Received: {output!r}')
        self.output_form = output

    def build(self, input_shape):
        check_map(self, input_shape)
        tokens = self._tokens_shape(input_shape)
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, self.key_dim, dropout=self.dropout, name="attention", dtype=self.dtype_policy
        )
        self.attention.build(tokens, tokens)
        super().build(input_shape)

    def call(self, inputs, return_attention_scores=False, training=None):
        batch, height, width, channels = ops.shape(inputs)
        tokens = ops.reshape(inputs, (batch, height * width, channels))
        with warnings.catch_warnings():
            # Keras warns of a softmax over one token. It is right, and it is what the published model did.
            warnings.filterwarnings("ignore", message=".*softmax over axis")
            output, scores = self.attention(tokens, tokens, return_attention_scores=True, training=training)
        if self.output_form == "map":
            output = ops.reshape(output, (batch, height, width, channels))
        return (output, scores) if return_attention_scores else output

    def compute_output_shape(self, input_shape):
        return tuple(input_shape) if self.output_form == "map" else self._tokens_shape(input_shape)

    def compute_scores_shape(self, input_shape):
        pixels = self._tokens_shape(input_shape)[1]
        return (input_shape[0], self.num_heads, pixels, pixels)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
            "output": self.output_form,
        }

    @staticmethod
    def _tokens_shape(shape):
        pixels = None if None in shape[1:3] else shape[1] * shape[2]
        return (shape[0], pixels, shape[3])
