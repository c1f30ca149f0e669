"""Sanity check by weights (Adebayo et al., NeurIPS 2018): a map that stays when the model forgets explains nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.explain.attribution import check_maps
from leukemia_tf.explain.scorer import network_of

STAGES = {"logits": 0.0, "half": 0.5, "all": 1.0}
"""Stages of the cascade, each with the share of the layers with weights, from the last to the first, that have lost
theirs; one layer at least."""

PASS_BELOW = 0.5
"""A median rank correlation of this or more, with a model that knows nothing any more, fails."""


@dataclasses.dataclass(frozen=True)
class RandomisationCheck:
    """Outcome of `randomisation_check`.

    Attributes:
        stages: names of the stages.
        layers: how many layers had lost their weights at each.
        correlations: float64 (stages, N), Spearman's between the map of the model and that of the stage; 0 where one
            of them is constant.
        empty: how many maps of the last stage are constant, as those of a Grad-CAM are when nothing speaks for the
            class any more.
    """

    stages: tuple[str, ...]
    layers: tuple[int, ...]
    correlations: np.ndarray
    empty: int

    @property
    def passed(self) -> bool:
        """Whether the median of the absolute correlations at the last stage is below `PASS_BELOW`."""
        return bool(np.median(np.abs(self.correlations[-1])) < PASS_BELOW)

    @property
    def verdict(self) -> str:
        """A sentence."""
        last = np.median(np.abs(self.correlations[-1]))
        meaning = "the maps follow from what was learnt" if self.passed else "the maps hardly depend on what was learnt"
        empty = f", {self.empty} of them with an empty map then" if self.empty else ""
        return (
            f"{meaning}: rank correlation {last:.2f} with those of shuffled weights "
            f"(median of {self.correlations.shape[1]} images{empty})"
        )


def randomisation_check(
    model: Any,
    images: np.ndarray,
    maps_of: Callable[[Any], np.ndarray],
    *,
    before: np.ndarray | None = None,
    stages: Sequence[str] = tuple(STAGES),
    seed: int = 0,
) -> RandomisationCheck:
    """Compare maps with those of the same model after its weights were shuffled, layer by layer from the last one on.

    The numbers of each weight change places at random, which destroys what was learnt and keeps their size; the vectors
    of a normalisation do so together. Weights drawn anew, as in the paper, do not fit the statistics that these keep,
    and the logits of a deep network would become almost nothing. The model has its own weights again when this returns
    or fails.

    Args:
        model: a Keras model, or its `Network`.
        images: what ``maps_of`` explains; only their number is used here.
        maps_of: takes the `Network` and returns maps (N, S, S). It has to explain the same classes each time.
        before: its maps with the weights as they are, where they are known already.
        stages: names out of `STAGES`, in their order.
        seed: of the shuffling.

    Raises:
        InputError: for an unknown stage or maps of another shape.
        RunError: if a map is not finite with shuffled weights.
    """
    network = network_of(model)
    if not stages or not set(stages) <= set(STAGES):
        raise InputError(f"`stages` must be of {', '.join(STAGES)}. Received: {list(stages)!r}")
    before = check_maps(maps_of(network) if before is None else before, len(images))
    layers = network.weighted[::-1]
    counts = [max(1, math.ceil(STAGES[stage] * len(layers))) for stage in stages]
    rng = np.random.default_rng(seed)
    saved = [layer.get_weights() for layer in layers]
    found: list[np.ndarray] = []
    done = 0
    try:
        for stage, count in zip(stages, counts):
            for layer, weights in zip(layers[done:count], saved[done:count]):
                layer.set_weights(_shuffled(weights, rng))
            done = max(done, count)
            after = maps_of(network)
            if not np.isfinite(after).all():
                raise RunError(f"with the weights of {done} layers shuffled the maps are not finite numbers")
            found.append(rank_correlations(before, check_maps(after, len(images))))
    finally:
        for layer, weights in zip(layers, saved):
            layer.set_weights(weights)
    empty = int((np.ptp(after, axis=(1, 2)) == 0).sum())
    return RandomisationCheck(tuple(stages), tuple(counts), np.array(found), empty)


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps (N, h, w), float64 (N,); 0 where a map is constant."""
    ranks = [rankdata(np.reshape(maps, (len(maps), -1)), axis=1) for maps in (first, second)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    lengths = np.prod([np.linalg.norm(one, axis=1) for one in centred], axis=0)
    return (centred[0] * centred[1]).sum(axis=1) / np.where(lengths > 0, lengths, 1)


def _shuffled(weights: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    orders = {weight.shape: rng.permutation(weight.size) for weight in weights}
    return [weight.ravel()[orders[weight.shape]].reshape(weight.shape) for weight in weights]
