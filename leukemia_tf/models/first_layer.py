"""A model with one more layer, in front of all others."""

from __future__ import annotations

import keras


def with_first_layer(model: keras.Model, first: keras.layers.Layer) -> keras.Model:
    """A copy of ``model`` whose image goes through ``first`` before anything else.

    The graph is built anew instead of nesting the model in another one: its layers keep their names and their places,
    so that ``get_layer``, `backbones_of` and `open_layers` find what they found before. And the layers are copies,
    because a layer that was called in two graphs answers ``layer.output`` with the tensor of the old one.

    Args:
        model: functional, with one input and one output, as those of all builders are.
        first: images in, images of the same shape out; its name is not yet taken in the model.

    Returns:
        A model with the name and the weights of ``model``, not compiled. Both can be used independently.
    """
    (image,) = model.inputs
    inputs = keras.Input(batch_shape=image.shape, dtype=image.dtype, name=image.name)
    changed = first(inputs)

    def call(layer, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(lambda value: changed if value is inputs else value, (args, kwargs))
        return layer(*args, **kwargs)

    # A clone would be compiled as the model is, so it is that of a model which is not.
    (output,) = model.outputs
    plain = keras.Model(image, output, name=model.name)
    copy = keras.models.clone_model(plain, input_tensors=inputs, call_function=call)
    for layer in model.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy
