"""The input of networks trained with Caffe's conventions: ResNet50, VGG16 and VGG19 of ``keras.applications``."""

from __future__ import annotations

import keras
from keras import ops

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="leukemia_tf")
class CaffePreprocessing(keras.layers.Layer):
    """Turn RGB pixels in [0, 255] into BGR pixels with the ImageNet mean taken off.

    The same numbers as ``keras.applications.resnet.preprocess_input``, as a layer: it is saved with the model, so that
    nobody has to remember it. There is no division: values lie between -124 and 152.

    Args:
        mean: what is subtracted from blue, green and red, in this order.

    Input and output shape: ``(..., 3)``, channels last.

    Raises:
        ValueError: if the last axis of the input is not 3 wide.
    """

    def __init__(self, mean=IMAGENET_MEAN_BGR, **kwargs):
        super().__init__(**kwargs)
        self.mean = [float(value) for value in mean]

    def build(self, input_shape):
        if input_shape[-1] != 3:
            raise ValueError(f"`CaffePreprocessing` takes images of 3 channels (RGB). Received shape: {input_shape}")
        super().build(input_shape)

    def call(self, images):
        images = ops.cast(images, self.compute_dtype)
        return ops.flip(images, axis=-1) - ops.convert_to_tensor(self.mean, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean}
