"""A feature map brought into the form of another network's map, so that the two can be compared."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.layers._checks import check_map, positive
from leukemia_tf.layers._maps import resize_map, unit_rms


@keras.saving.register_keras_serializable(package="leukemia_tf")
class TapProjection(keras.layers.Layer):
    """Project a map's channels, resize it, and bring every pixel to a root mean square of 1.

    1x1 convolution without bias -> bilinear, antialiased resizing -> each pixel's vector of channels divided by its
    root mean square. The mean squared error of two such maps is 2 - 2 cos, averaged over the pixels, whatever the scale
    of either network (the hints of Romero et al., "FitNets", ICLR 2015, made independent of the scale).

    Args:
        size: (h, w) of the output.
        filters: channels of the output, those of the other map; ``None`` leaves the channels as they are, without a
            weight, which is how the other map itself goes through.

    Input shape: feature map (B, h, w, C), channels last. Output shape: (B, *size, filters).

    Raises:
        InputError: if an argument is no whole number above zero, or the input is not of rank 4.
    """

    def __init__(self, size, filters=None, **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(positive("size", side) for side in size)
        self.filters = None if filters is None else positive("filters", filters)

    def build(self, input_shape):
        check_map(self, input_shape)
        if self.filters is not None:
            self.project = keras.layers.Conv2D(
                self.filters, 1, use_bias=False, name="project", dtype=self.dtype_policy
            )
            self.project.build(input_shape)
        super().build(input_shape)

    def call(self, inputs):
        x = inputs if self.filters is None else self.project(inputs)
        return ops.cast(unit_rms(resize_map(x, self.size), axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.size, self.filters or input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "size": list(self.size), "filters": self.filters}
