"""The heavier augmentations of keras-cv as steps whose randomness comes from the seed argument alone.

The only module that imports keras-cv. Its layers draw random numbers in three ways, none of which can be repeated in a
parallel pipeline: from a ``tf.random.Generator`` with a state, from "factor samplers" that call ``tf.random.uniform``
and ``tf.random.normal``, and (MixUp, CutMix) from ``tf.random.shuffle``, ``gamma`` and ``uniform`` called inside the
layer. Here the first two are replaced in the finished layers by draws from one :class:`_Draws`, which hands out
stateless numbers for the seed of the image at hand, and MixUp and CutMix are subclassed so that they draw there too.
"""

from __future__ import annotations

import contextlib
import dataclasses

import keras
import keras_cv
import tensorflow as tf

from leukemia_tf.data.augment.step import Step


class _Draws:
    """Stateless stand-in for ``tf.random.Generator``: the n-th draw after :meth:`seeded` depends on (seed, n).

    Draws are counted while a graph is traced, so one is in use only inside the ``tf.function`` of its own step.
    """

    def __init__(self):
        self._seed, self._count = None, 0

    @contextlib.contextmanager
    def seeded(self, seed):
        self._seed, self._count = seed, 0
        try:
            yield
        finally:
            self._seed = None

    def next_seed(self):
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)

    def uniform(self, shape=(), minval=0.0, maxval=1.0, dtype=tf.float32):
        return tf.random.stateless_uniform(shape, self.next_seed(), minval, maxval, dtype)

    def normal(self, shape=(), mean=0.0, stddev=1.0, dtype=tf.float32):
        return tf.random.stateless_normal(shape, self.next_seed(), mean, stddev, dtype)

    def beta(self, alpha: float, shape):
        one, two = (tf.random.stateless_gamma(shape, self.next_seed(), alpha) for _ in range(2))
        return tf.math.divide_no_nan(one, one + two)

    def permutation(self, count):
        return tf.random.experimental.stateless_shuffle(tf.range(count), self.next_seed())


class _Factor(keras_cv.core.FactorSampler):
    """A factor sampler of keras-cv that draws its numbers from a :class:`_Draws`."""

    def __init__(self, draws: _Draws, sampler: keras_cv.core.FactorSampler):
        self._draws, self._sampler = draws, sampler

    def __call__(self, shape=(), dtype="float32"):
        given = self._sampler
        if isinstance(given, keras_cv.core.UniformFactorSampler):
            return self._draws.uniform(shape, given.lower, given.upper, dtype)
        values = self._draws.normal(shape, given.mean, given.stddev, dtype)
        return tf.clip_by_value(values, given.min_value, given.max_value)


def _use_draws(layer: keras.layers.Layer, draws: _Draws) -> keras.layers.Layer:
    """Replace every source of randomness of a keras-cv layer, and of the layers inside it."""
    for name, value in list(vars(layer).items()):
        if isinstance(value, tf.random.Generator):
            setattr(layer, name, draws)
        elif isinstance(value, (keras_cv.core.UniformFactorSampler, keras_cv.core.NormalFactorSampler)):
            setattr(layer, name, _Factor(draws, value))
        elif name.startswith("_layers"):  # Keras's own list of all inner layers, met under their attributes
            continue
        elif isinstance(value, (list, tuple)):
            for inner in value:
                if isinstance(inner, keras.layers.Layer):
                    _use_draws(inner, draws)
        elif isinstance(value, keras.layers.Layer):
            _use_draws(value, draws)
    return layer


@contextlib.contextmanager
def _float32():
    """Layers made in here compute in float32, whatever precision the model is to be trained in."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class _MixUp(keras_cv.layers.MixUp):
    def __init__(self, draws: _Draws, **kwargs):
        super().__init__(**kwargs)
        self._random_generator = draws

    def _mixup(self, images):
        count = tf.shape(images)[0]
        order = self._random_generator.permutation(count)
        keep = self._random_generator.beta(self.alpha, [count])
        weight = keep[:, None, None, None]
        return weight * images + (1.0 - weight) * tf.gather(images, order), keep, order


class _CutMix(keras_cv.layers.CutMix):
    def __init__(self, draws: _Draws, **kwargs):
        super().__init__(**kwargs)
        self._random_generator = draws

    def _cutmix(self, images):
        draws, (count, height, width) = self._random_generator, tf.unstack(tf.shape(images)[:3])
        order = draws.permutation(count)
        side = tf.sqrt(1.0 - draws.beta(self.alpha, [count]))
        # A rectangle of the drawn area about a centre anywhere in the image, cut off at the border; the share of the
        # label is that of the pixels which really changed (Yun et al. 2019, where keras-cv takes the uncut area).
        centre = [draws.uniform([count], 0, limit, tf.int32) for limit in (height, width)]
        spans = []
        for middle, limit in zip(centre, (height, width)):
            half = side * tf.cast(limit, tf.float32) / 2.0
            first = tf.maximum(tf.cast(tf.round(tf.cast(middle, tf.float32) - half), tf.int32), 0)
            last = tf.minimum(tf.cast(tf.round(tf.cast(middle, tf.float32) + half), tf.int32), limit)
            place = tf.range(limit)[None]
            spans.append((place >= first[:, None]) & (place < last[:, None]))
        cut = spans[0][:, :, None] & spans[1][:, None, :]
        keep = 1.0 - tf.reduce_mean(tf.cast(cut, tf.float32), axis=[1, 2])
        images = tf.where(cut[..., None], tf.gather(images, order), images)
        return images, keep, order, None, None, None, None


@dataclasses.dataclass(frozen=True)
class _KerasCVStep(Step):
    """A step that runs a keras-cv layer on dictionaries of images and labels, inside a ``tf.function`` of its own."""

    def __post_init__(self):
        self._check()
        draws = _Draws()
        with _float32():
            layer = _use_draws(self._layer(draws), draws)

        # A graph of its own: both branches of a condition are traced, and so counted, whoever calls; and some keras-cv
        # layers (Equalization) hold a Python `if` on a tensor, which needs the autograph that comes with it.
        @tf.function
        def run(images, labels, seed):
            return self._run(layer, draws, images, labels, seed)

        object.__setattr__(self, "_graph", run)

    def __call__(self, images, labels, seed):
        mixed, labels = self._graph(images, labels, seed)
        return tf.ensure_shape(tf.clip_by_value(mixed, 0.0, 255.0), images.shape), labels

    def _check(self):
        raise NotImplementedError

    def _layer(self, draws):
        raise NotImplementedError

    def _run(self, layer, draws, images, labels, seed):
        """Each image by itself, with its own seed."""
        seeds = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, None, None, tf.int32)

        def one(pair):
            image, image_seed = pair
            with draws.seeded(image_seed):
                result = self._one(layer, draws, image)
            return tf.ensure_shape(result, image.shape)

        return tf.map_fn(one, (images, seeds), fn_output_signature=tf.float32), labels

    def _one(self, layer, draws, image):
        return layer({"images": image})["images"]


class _MixingStep(_KerasCVStep):
    """A step that mixes the images of a batch with one another, and their labels alike."""

    def _check(self):
        self._check_range("alpha", 0.01, 10)

    def _run(self, layer, draws, images, labels, seed):
        with draws.seeded(seed):
            mixed = layer({"images": images, "labels": labels})
        return mixed["images"], tf.ensure_shape(mixed["labels"], labels.shape)


@dataclasses.dataclass(frozen=True)
class RandAugment(_KerasCVStep):
    """A few operations drawn at random for each image (Cubuk et al. 2020, arXiv 1909.13719).

    Operations: auto-contrast, equalisation, solarisation, saturation, contrast, brightness, shear and translation.

    Args:
        count: operations for each image, 1 to 10.
        magnitude: strength, 0 to 1.
        magnitude_stddev: spread of the strength, 0 to 1.
        rate: probability that one of the ``count`` operations takes place; 10/11 is the paper's, which counts "do
            nothing" as one of eleven operations.
        geometric: False leaves out shear and translation.
    """

    name = "rand_augment"

    count: int = 2
    magnitude: float = 0.3
    magnitude_stddev: float = 0.15
    rate: float = 10 / 11
    geometric: bool = True

    def _check(self):
        self._check_range("count", 1, 10)
        for field in ("magnitude", "magnitude_stddev", "rate"):
            self._check_range(field, 0, 1)
        self._check_flag("geometric")

    def _layer(self, draws):
        return keras_cv.layers.RandAugment(
            value_range=(0, 255),
            augmentations_per_image=int(self.count),
            magnitude=self.magnitude,
            magnitude_stddev=self.magnitude_stddev,
            rate=self.rate,
            geometric=self.geometric,
            seed=1,
        )


@dataclasses.dataclass(frozen=True)
class GridMask(_KerasCVStep):
    """Black squares on a turned grid (Chen et al. 2020, arXiv 2001.04086).

    Args:
        rate: probability that an image gets a grid.
        ratio: largest side of a square, as a fraction of the grid's unit, 0 to 1; drawn uniformly from 0.
        rotation: largest turn of the grid, as a fraction of a full turn, 0 to 1.
    """

    name = "grid_mask"

    rate: float = 0.5
    ratio: float = 0.5
    rotation: float = 0.15

    def _check(self):
        for field in ("rate", "ratio", "rotation"):
            self._check_range(field, 0, 1)

    def _layer(self, draws):
        return keras_cv.layers.GridMask(ratio_factor=(0.0, self.ratio), rotation_factor=self.rotation, seed=1)

    def _one(self, layer, draws, image):
        # keras_cv.layers.RandomApply would do, but its Python `if` on a tensor fails in a graph under Keras 3.
        return tf.cond(draws.uniform() < self.rate, lambda: layer({"images": image})["images"], lambda: image)


@dataclasses.dataclass(frozen=True)
class MixUp(_MixingStep):
    """Weighted mean of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412).

    Works for one-hot ``[B, C]`` and for binary ``[B, 1]`` labels, which become the weighted mean of 0 and 1.

    Args:
        alpha: both parameters of the Beta distribution of the weight, 0.01 to 10; small leaves most images alone.
    """

    name = "mix_up"

    alpha: float = 0.2

    def _layer(self, draws):
        return _MixUp(draws, alpha=self.alpha, name=self.name)


@dataclasses.dataclass(frozen=True)
class CutMix(_MixingStep):
    """A rectangle of each image replaced by that of another, labels mixed by area (Yun et al. 2019, arXiv 1905.04899).

    Labels as for :class:`MixUp`.

    Args:
        alpha: both parameters of the Beta distribution of the area that stays, 0.01 to 10; 1 is uniform.
    """

    name = "cut_mix"

    alpha: float = 1.0

    def _layer(self, draws):
        return _CutMix(draws, alpha=self.alpha, name=self.name)
