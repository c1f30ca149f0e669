import numpy as np
import pytest

from leukemia_tf.layers import FilterTokenCrossAttention
from tests.layers.harness import lively
from tests.layers.reference import encoder_block


def small(heads=2):
    return lively(
        lambda: FilterTokenCrossAttention(num_tokens=5, num_heads=heads, key_dim=3, ffn_dim=6, dropout=0.0), (2, 4, 6)
    )


def maps(batch=2):
    return np.random.default_rng(0).normal(size=(batch, 2, 4, 6)).astype("float32")


@pytest.mark.parametrize("heads", [1, 2])
def test_against_numpy(heads):
    layer = small(heads)
    output, scores = layer(maps(), return_attention_scores=True)
    tokens = layer.tokens.numpy() + layer.positions.numpy()
    for image, result, seen in zip(maps(), output.numpy(), scores.numpy()):
        expected, expected_scores = encoder_block(layer, tokens, image.reshape(8, 6))
        np.testing.assert_allclose(seen, expected_scores, rtol=1e-4)
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)


def test_order_of_pixels():
    """The tokens see a set of pixels: another order changes the order of the scores and nothing else."""
    layer, order = small(), np.random.default_rng(1).permutation(8)
    output, scores = layer(maps(), return_attention_scores=True)
    moved = maps().reshape(2, 8, 6)[:, order].reshape(2, 2, 4, 6)
    again, moved_scores = layer(moved, return_attention_scores=True)
    np.testing.assert_allclose(again, output, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(moved_scores, scores.numpy()[..., order], rtol=1e-4)
    assert np.ptp(scores) > 0.05


def test_order_of_tokens():
    """Tokens moved together with their positions move the outputs, so each token asks its own question."""
    layer, order = small(), np.random.default_rng(2).permutation(5)
    before = layer(maps()).numpy()
    tokens, positions, *rest = layer.get_weights()
    layer.set_weights([tokens[order], positions[order], *rest])
    np.testing.assert_allclose(layer(maps()), before[:, order], rtol=1e-4, atol=1e-5)
    assert np.abs(before[:, 0] - before[:, 1]).max() > 0.1


def test_a_uniform_map_is_seen_uniformly():
    scores = small()(np.ones((1, 2, 4, 6), "float32"), return_attention_scores=True)[1]
    np.testing.assert_allclose(scores, 1 / 8, rtol=1e-5)


def test_published_size():
    layer = FilterTokenCrossAttention()
    layer.build((None, 7, 7, 1280))
    assert layer.tokens.shape == layer.positions.shape == (64, 1280)
    assert 0.019 < np.std(layer.tokens.numpy()) < 0.021
    assert layer.attention.count_params() == 1_312_768
    assert layer.count_params() == 2 * 64 * 1280 + 1_312_768 + 656_896 + 5_120
