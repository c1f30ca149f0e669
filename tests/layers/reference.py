"""Attention in NumPy, one image, one head and one query at a time, from the weights of a Keras layer."""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def multi_head(layer, queries, seen):
    """Output (Q, D) and scores (heads, Q, K) of a ``keras.layers.MultiHeadAttention`` for one image."""
    query, query_bias, key, key_bias, value, value_bias, out, out_bias = layer.get_weights()
    heads, key_dim = query_bias.shape
    output = np.tile(out_bias, (len(queries), 1))
    scores = np.zeros((heads, len(queries), len(seen)))
    for head in range(heads):
        keys = seen @ key[:, head] + key_bias[head]
        values = seen @ value[:, head] + value_bias[head]
        for position, token in enumerate(queries):
            question = token @ query[:, head] + query_bias[head]
            scores[head, position] = softmax(keys @ question / np.sqrt(key_dim))
            output[position] += (scores[head, position] @ values) @ out[head]
    return output, scores


def normalise(layer, x):
    """A layer normalisation over the last axis."""
    gamma, beta = layer.get_weights()
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.epsilon) * gamma + beta


def encoder_block(layer, tokens, seen):
    """Output (Q, D) and scores of one of our encoder blocks for one image."""
    x, scores = multi_head(layer.attention, tokens, seen)
    tokens = normalise(layer.attention_norm, tokens + x)
    kernel, bias = layer.ffn_hidden.get_weights()
    x = np.maximum(tokens @ kernel + bias, 0)
    kernel, bias = layer.ffn_output.get_weights()
    return normalise(layer.ffn_norm, tokens + x @ kernel + bias), scores
