"""Learned filter tokens that read a feature map, each by its own question."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._attention import EncoderBlock
from leukemia_tf.layers._checks import check_map, positive


@keras.saving.register_keras_serializable(package="leukemia_tf")
class FilterTokenCrossAttention(EncoderBlock):
    """A set of learned tokens looks at the pixels of a map and becomes a description of the image (system 002-C).

    The tokens plus their positions are the queries, the pixels of the map are keys and values:
    ``y = norm(tokens + attention(tokens, pixels))``, ``output = norm(y + dropout(Dense(relu(Dense(y)))))``.

    The published description fixes the tokens, the positional embeddings, the heads and the widths; it leaves open
    whose positions they are, where the normalisation lies, and the perceptron's activation. The positions belong to
    the tokens here, one for each, and the rest is as in Vaswani et al., "Attention Is All You Need", 2017. The pixels
    have no positions, so a map with its pixels in another order gives the same output: what is known of a place is
    what the backbone's receptive fields put there.

    Tokens and positions begin with a deviation of 0.02: enough for every token to become another, and too little to
    drown the first look at the image in the sum that is normalised (about 0.2 with ImageNet weights).

    Args:
        num_tokens: number of tokens Q.
        num_heads: number of attention heads.
        key_dim: width of queries, keys and values of each head.
        ffn_dim: width of the perceptron's hidden layer.
        dropout: rate, on the attention scores and on the output of the perceptron.

    Call arguments:
        inputs: feature map (B, h, w, D).
        return_attention_scores: return ``(output, scores)``; scores (B, num_heads, Q, h * w) add up to one over the
            last axis, the pixels row by row.

    Output shape: ``(B, Q, D)``.

    Raises:
        InputError: for an argument outside of the above, or an input that is not of rank 4.
    """

    def __init__(self, num_tokens=64, num_heads=8, key_dim=32, ffn_dim=256, dropout=0.1, **kwargs):
        super().__init__(num_heads, key_dim, ffn_dim, dropout, **kwargs)
        self.num_tokens = positive("num_tokens", num_tokens)

    def build(self, input_shape):
        width = check_map(self, input_shape)
        for name in ("tokens", "positions"):
            initializer = keras.initializers.RandomNormal(stddev=0.02)
            setattr(self, name, self.add_weight(shape=(self.num_tokens, width), initializer=initializer, name=name))
        self.build_block(input_shape[0], self.num_tokens, _pixels(input_shape), width)
        super().build(input_shape)

    def call(self, inputs, return_attention_scores=False, training=None):
        batch, width = ops.shape(inputs)[0], inputs.shape[-1]
        pixels = ops.reshape(inputs, (batch, -1, width))
        tokens = ops.broadcast_to(self.tokens + self.positions, (batch, self.num_tokens, width))
        output, scores = self.run_block(tokens, pixels, training=training)
        return (output, scores) if return_attention_scores else output

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_tokens, input_shape[-1])

    def compute_scores_shape(self, input_shape):
        return (input_shape[0], self.num_heads, self.num_tokens, _pixels(input_shape))

    def get_config(self):
        return {**super().get_config(), "num_tokens": self.num_tokens}


def _pixels(shape):
    """h * w, or None where one of them is open."""
    return None if None in shape[1:3] else shape[1] * shape[2]
