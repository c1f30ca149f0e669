"""What the attention layers have in common: the second output, and the block of a transformer's encoder."""

from __future__ import annotations

import keras

from leukemia_tf.layers._checks import positive, rate


class AttentionLayer(keras.layers.Layer):
    """A layer of one input whose call takes ``return_attention_scores`` and then returns ``(output, scores)``.

    A subclass gives `compute_output_shape` and `compute_scores_shape`.
    """

    def compute_scores_shape(self, input_shape):
        """The shape of the scores that ``return_attention_scores=True`` adds."""
        raise NotImplementedError(f"{type(self).__name__}.compute_scores_shape")

    def compute_output_spec(self, inputs, return_attention_scores=False, training=None):
        # Without this Keras would believe in one output, whatever the call says.
        output = keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        return output, keras.KerasTensor(self.compute_scores_shape(inputs.shape), dtype=self.compute_dtype)


class EncoderBlock(AttentionLayer):
    """Multi-head attention and a small perceptron, each added to its input and normalised afterwards.

    Post-norm with a ReLU in between, as in Vaswani et al., "Attention Is All You Need", 2017. Arguments are those of
    the two layers that inherit from it.
    """

    def __init__(self, num_heads, key_dim, ffn_dim, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = positive("num_heads", num_heads)
        self.key_dim = positive("key_dim", key_dim)
        self.ffn_dim = positive("ffn_dim", ffn_dim)
        self.dropout = rate("dropout", dropout)

    def build_block(self, batch, queries, keys, width):
        """Make and build the sublayers for ``queries`` tokens that look at ``keys`` tokens."""
        shape = (batch, queries, width)
        policy = self.dtype_policy
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, self.key_dim, dropout=self.dropout, name="attention", dtype=policy
        )
        # Keras's default epsilon of 1e-3 would be more than the variance of fresh filter tokens (8e-4).
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_norm", dtype=policy)
        self.ffn_hidden = keras.layers.Dense(self.ffn_dim, activation="relu", name="ffn_hidden", dtype=policy)
        self.ffn_output = keras.layers.Dense(width, name="ffn_output", dtype=policy)
        self.ffn_dropout = keras.layers.Dropout(self.dropout, name="ffn_dropout", dtype=policy)
        self.ffn_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="ffn_norm", dtype=policy)
        self.attention.build(shape, (batch, keys, width))
        self.ffn_output.build((batch, queries, self.ffn_dim))
        for layer in (self.attention_norm, self.ffn_hidden, self.ffn_dropout, self.ffn_norm):
            layer.build(shape)

    def run_block(self, tokens, seen, training=None):
        """New ``tokens`` (B, queries, D) after a look at ``seen`` (B, keys, D), and the scores."""
        x, scores = self.attention(tokens, seen, return_attention_scores=True, training=training)
        tokens = self.attention_norm(tokens + x)
        x = self.ffn_dropout(self.ffn_output(self.ffn_hidden(tokens)), training=training)
        return self.ffn_norm(tokens + x), scores

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "ffn_dim": self.ffn_dim,
            "dropout": self.dropout,
        }
