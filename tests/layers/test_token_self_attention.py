import numpy as np
import pytest

from leukemia_tf.layers import TokenSelfAttention
from tests.layers.harness import lively
from tests.layers.reference import encoder_block


@pytest.mark.parametrize("heads", [1, 3])
def test_against_numpy(heads):
    layer = lively(lambda: TokenSelfAttention(num_heads=heads, key_dim=2, ffn_dim=5), (4, 6))
    tokens = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    output, scores = layer(tokens, return_attention_scores=True)
    for image, result, seen in zip(tokens, output.numpy(), scores.numpy()):
        expected, expected_scores = encoder_block(layer, image, image)
        np.testing.assert_allclose(seen, expected_scores, rtol=1e-4)
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)


def test_order_of_tokens():
    """Tokens in another order give the same outputs in that order."""
    layer = lively(lambda: TokenSelfAttention(num_heads=2, key_dim=3, ffn_dim=5), (7, 6))
    rng = np.random.default_rng(1)
    tokens, order = rng.normal(size=(2, 7, 6)).astype("float32"), rng.permutation(7)
    output, scores = layer(tokens, return_attention_scores=True)
    shuffled, shuffled_scores = layer(tokens[:, order], return_attention_scores=True)
    np.testing.assert_allclose(shuffled, output.numpy()[:, order], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(shuffled_scores, scores.numpy()[:, :, order][..., order], rtol=1e-4)


def test_published_width():
    """Attention of 8 heads of 32 on 1280: 1,312,768; perceptron 656,896; two normalisations 5,120."""
    layer = TokenSelfAttention(num_heads=8, key_dim=32, ffn_dim=256, dropout=0.1)
    layer.build((None, 64, 1280))
    assert layer.attention.count_params() == 1_312_768
    assert layer.count_params() == 1_312_768 + 656_896 + 5_120
