"""How strongly the two dyes of a Romanowsky stain took, varied at random."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.step import Step
from leukemia_tf.data.colour import BLACK

# Optical density of red, green and blue for one unit of dye: G. Landini's vectors for Giemsa in ImageJ's Colour
# Deconvolution (methylene blue, which stands for the azures that come of it, and eosin).
AZURE = (0.834750233, 0.513556283, 0.196330403)
EOSIN = (0.092789, 0.954111, 0.283111)


def stain_directions() -> np.ndarray:
    """Float64 ``[3, 3]``: the optical densities (red, green, blue) of one unit of azure, of eosin, and of the rest.

    The rest is the direction at right angles to both, so that any colour is some amount of each of the three.
    """
    rows = np.array([AZURE, EOSIN, np.cross(AZURE, EOSIN)])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def adjust_stain(images: tf.Tensor, factors: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Change the amounts of the dyes: ``amount * factor + shift`` in each pixel that is not black.

    Args:
        images: float32 ``[B, S, S, 3]``, RGB, 0 to 255.
        factors, shifts: float32 ``[B, 2]``, of azure and of eosin; a shift is in units of optical density (natural
            logarithm).

    Returns:
        float32 ``[B, S, S, 3]``, 0 to 255. Pixels whose brightest channel is at most `BLACK` are background and stay.
    """
    directions = stain_directions()
    into = tf.constant(np.linalg.inv(directions), tf.float32)
    back = tf.constant(directions, tf.float32)
    ones = tf.ones_like(factors[:, :1])
    matrices = into @ (tf.concat([factors, ones], axis=1)[:, :, None] * back)
    size = images.shape[1]
    # Zero has no logarithm; one grey level below the darkest is as good.
    density = -tf.math.log(tf.reshape(tf.maximum(images, 1.0), [-1, size * size, 3]) / 255.0)
    density = density @ matrices + (shifts @ back[:2])[:, None, :]
    changed = tf.reshape(tf.clip_by_value(255.0 * tf.exp(-density), 0.0, 255.0), [-1, size, size, 3])
    return tf.where(tf.reduce_max(images, axis=-1, keepdims=True) > BLACK, changed, images)


@dataclasses.dataclass(frozen=True)
class StainJitter(Step):
    """The amounts of azure and eosin of each image, scaled and shifted at random.

    Pixels become optical densities, these amounts of two dyes and a rest (colour deconvolution: Ruifrok and Johnston,
    2001), the amounts change, and pixels come back, as Tellez et al. (2018) did for haematoxylin and eosin. Where
    `color` varies lamp and camera, this leaves bare glass white. A black background stays as it is.

    Args:
        scale: the amount of each dye is multiplied by a factor from ``1 - scale`` to ``1 + scale``, 0 to 1.
        shift: and up to so much, either way, is added everywhere, in units of optical density, 0 to 0.5.

    Every number is drawn uniformly from its range, for each dye by itself.
    """

    name = "stain_jitter"

    scale: float = 0.2
    shift: float = 0.02

    def __post_init__(self):
        self._check_range("scale", 0, 1)
        self._check_range("shift", 0, 0.5)

    def __call__(self, images, labels, seed):
        drawn = tf.random.stateless_uniform([2, tf.shape(images)[0], 2], seed, -1.0, 1.0)
        changed = adjust_stain(images, 1.0 + drawn[0] * self.scale, drawn[1] * self.shift)
        return tf.ensure_shape(changed, images.shape), labels
