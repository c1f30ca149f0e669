"""White balance by the grey-world assumption."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.data.colour import BLACK
from leukemia_tf.layers._lab import check_black, check_images, masked_mean, not_black


@keras.saving.register_keras_serializable(package="leukemia_tf")
class GreyWorld(keras.layers.Layer):
    """Scale red, green and blue of each image so that their means become equal, at the mean of the three.

    The assumption is that a scene is grey on average, so that a cast comes from lamp and camera (Buchsbaum, "A spatial
    processor model for object colour perception", 1980). A smear is not: where a purple nucleus fills the image, part
    of the stain is taken for a cast. There is nothing to fit.

    A black background, such as that of cells cut out of their surroundings, takes no part and stays as it is. A channel
    whose mean is below one grey level is scaled as if it were one.

    Args:
        black: pixels whose brightest channel is at most this grey level are background.

    Input and output shape: ``(B, h, w, 3)``, RGB in [0, 255]. It computes in float32 under any precision policy, and
    gives float32 out unless ``dtype`` says otherwise.

    Raises:
        InputError: if ``black`` is no grey level, or the input no image of 3 channels.
    """

    def __init__(self, black=BLACK, **kwargs):
        # Float16 has steps of a quarter of a grey level at 255, and the global policy may ask for it.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.black = check_black(black)

    def build(self, input_shape):
        check_images(self, input_shape)
        super().build(input_shape)

    def call(self, images):
        images = ops.cast(images, "float32")
        mask = not_black(images, self.black)
        means = masked_mean(images, mask)
        gains = ops.mean(means, axis=-1, keepdims=True) / ops.maximum(means, 1.0)
        balanced = ops.clip(images * gains, 0.0, 255.0)
        return ops.cast(ops.where(mask > 0, balanced, images), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "black": self.black}
