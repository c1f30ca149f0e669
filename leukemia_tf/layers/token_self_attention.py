"""One block of a transformer's encoder: tokens look at each other."""

from __future__ import annotations

import keras

from leukemia_tf.layers._attention import EncoderBlock
from leukemia_tf.layers._checks import check_tokens


@keras.saving.register_keras_serializable(package="leukemia_tf")
class TokenSelfAttention(EncoderBlock):
    """Self-attention among tokens, then a perceptron on each token; both with residual and layer normalisation.

    ``y = norm(x + attention(x, x))``, ``output = norm(y + dropout(Dense(relu(Dense(y)))))``. It knows no positions:
    tokens in another order give the same outputs in that order. The self-attention blocks of system 002-C, whose
    description leaves open where the normalisation lies, the activation and the width of the perceptron; they are
    here as in Vaswani et al., "Attention Is All You Need", 2017.

    Args:
        num_heads: number of attention heads.
        key_dim: width of queries, keys and values of each head.
        ffn_dim: width of the perceptron's hidden layer.
        dropout: rate, on the attention scores and on the output of the perceptron.

    Call arguments:
        inputs: tokens (B, T, D).
        return_attention_scores: return ``(output, scores)``; scores (B, num_heads, T, T) add up to one over the last
            axis, the tokens that are looked at.

    Output shape: ``(B, T, D)``.

    Raises:
        InputError: for an argument outside of the above, or an input that is not of rank 3.
    """

    def build(self, input_shape):
        width = check_tokens(self, input_shape)
        self.build_block(input_shape[0], input_shape[1], input_shape[1], width)
        super().build(input_shape)

    def call(self, inputs, return_attention_scores=False, training=None):
        output, scores = self.run_block(inputs, inputs, training=training)
        return (output, scores) if return_attention_scores else output

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_scores_shape(self, input_shape):
        return (input_shape[0], self.num_heads, input_shape[1], input_shape[1])
