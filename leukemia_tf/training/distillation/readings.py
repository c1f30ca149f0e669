"""What the feature maps of a network say, in the form in which a teacher and a student are compared."""

from __future__ import annotations

from typing import Sequence

import keras

from leukemia_tf.layers import AttentionSummary, MapFusion, TapProjection
from leukemia_tf.training.distillation.settings import Distillation

Shape = tuple[int, int, int]


# Not registered for saving: it lives in a distiller alone, which is made again from its settings.
class Readings(keras.layers.Layer):
    """The maps of one network's taps -> ``{"features_1": ..., "attention_1": ..., "fusion": ...}``, terms in use only.

    Args:
        settings: which terms, and the width of the fused map.
        shapes: (h, w, C) of each of this network's maps.
        others: those of the other network's. Two maps are compared at the smaller of their sizes.
        fixed: for the teacher: its maps are projected nowhere, and its fusion keeps the weights that it begins with.
    """

    def __init__(
        self, settings: Distillation, shapes: Sequence[Shape], others: Sequence[Shape], *, fixed: bool, **kwargs
    ):
        super().__init__(**kwargs)
        sizes = [(min(one[0], other[0]), min(one[1], other[1])) for one, other in zip(shapes, others, strict=True)]
        self.features, self.attention, self.fusion = [], [], None
        if settings.features:
            self.features = [
                TapProjection(size, None if fixed else other[2]) for size, other in zip(sizes, others, strict=True)
            ]
        if settings.attention:
            self.attention = [AttentionSummary(size) for size in sizes]
        for layers in (self.features, self.attention):
            for layer, shape in zip(layers, shapes):
                layer.build((None, *shape))
        if settings.fusion:
            # A fixed one is orthogonal: what differs in the maps then differs as much in what stands for them.
            self.fusion = MapFusion(
                (min(size[0] for size in sizes), min(size[1] for size in sizes)),
                settings.fusion_width,
                kernel_initializer="orthogonal" if fixed else "he_normal",
            )
            self.fusion.build([(None, *shape) for shape in shapes])
        self.trainable = not fixed
        self.built = True

    def call(self, maps, training=False):
        found = {}
        for name, layers in (("features", self.features), ("attention", self.attention)):
            found |= {f"{name}_{number}": layer(x) for number, (layer, x) in enumerate(zip(layers, maps), start=1)}
        if self.fusion is not None:
            found["fusion"] = self.fusion(maps, training=training)
        return found
