"""What a classifier knows of an image before it names a class: features, logits and probabilities in one pass."""

from __future__ import annotations

import keras

from leukemia_tf.models.heads import LOGITS


def with_features(model: keras.Model) -> keras.Model | None:
    """The same layers with three outputs.

    Args:
        model: functional, ending as `classify` ends it.

    Returns:
        A model with the outputs ``probabilities`` (as those of `model`), ``logits`` (B, 1 or C) and ``features``
        (B, D), the input of the layer called ``logits``; it shares all weights with `model`. None where there is no
        such layer, or its input is no vector.
    """
    if LOGITS not in {layer.name for layer in model.layers}:
        return None
    layer = model.get_layer(LOGITS)
    features = layer.input
    if not isinstance(features, keras.KerasTensor) or len(features.shape) != 2:
        return None
    outputs = {"probabilities": model.outputs[0], "logits": layer.output, "features": features}
    return keras.Model(model.inputs, outputs, name=model.name)
