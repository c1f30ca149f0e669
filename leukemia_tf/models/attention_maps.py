"""Where a model looks: the scores of its attention layers for given images."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Sequence

import keras
import numpy as np
from keras import ops

from leukemia_tf.errors import InputError
from leukemia_tf.models.graph_run import check_images, graph_of, run_graph

BATCH = 16


def attention_maps(
    model: keras.Model, images: np.ndarray, layers: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """The scores of a model's attention layers, in the order in which they run.

    Every layer whose call takes ``return_attention_scores`` counts: those of this package and
    ``keras.layers.MultiHeadAttention``. The model is as it was afterwards; nothing is trained, and dropout is off.

    =============================  ==============================================================
    ``FilterTokenCrossAttention``  (B, heads, filter tokens, pixels), last axis adds up to one
    ``TokenSelfAttention``         (B, heads, tokens, tokens), last axis adds up to one
    ``SpatialSelfAttention``       (B, heads, pixels, pixels), last axis adds up to one
    ``SqueezeExcite``              (B, channels), factors between 0 and 1
    ``ConvBlockAttention``         (B, h, w), factors of the pixels between 0 and 1
    =============================  ==============================================================

    Args:
        model: functional or sequential, freshly built or loaded. Models nested in it are searched too.
        images: RGB float32 (B, S, S, 3) in [0, 255], as the model takes them.
        layers: names of the ones that are wanted; all by default.

    Returns:
        Layer name -> float32 array. A layer in a nested model is called ``model/layer``; where a layer runs more
        than once, the later ones are called ``layer:2`` and so on.

    Raises:
        InputError: if the model has no attention layer, has none of a given name, is neither functional nor
            sequential, or takes images of another shape.
    """
    return {name: scores for name, (scores, _) in _collect(model, images, layers).items()}


def spatial_attention(
    model: keras.Model, images: np.ndarray, layers: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Where a model looks, as one map (B, h, w) for each attention layer that looks at the pixels of a map.

    For filter tokens and self-attention of pixels this is `attention_grid` of their scores: values add up to one over
    an image. For ``ConvBlockAttention`` it is the factors of the pixels. Layers that look at tokens or channels have no
    such map and are left out. To lay it over an image, resize it to the image's size.

    Arguments, names and errors are those of `attention_maps`.

    Raises:
        InputError: also if no layer looks at pixels, or one that was asked for does not.
    """
    maps = {}
    for name, (scores, shape) in _collect(model, images, layers).items():
        if scores.ndim == 4 and len(shape) == 4:
            maps[name] = attention_grid(scores, shape[1:3])
        elif scores.ndim == 3 and len(shape) == 4:
            maps[name] = scores
        elif layers is not None:
            raise InputError(f"`layers` must be attention layers that look at the pixels of a map. Received: {name!r}")
    if not maps:
        raise InputError(f"`model` must have an attention layer that looks at pixels. Received: `{model.name}`")
    return maps


def attention_grid(scores: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Scores (B, heads, queries, h * w) as maps (B, h, w): the mean over heads and queries, row by row.

    Args:
        scores: of a layer that looks at the pixels of a map.
        grid: ``(h, w)`` of that map, such as (7, 7) for EfficientNetB0 at 224 pixels.

    Returns:
        float32; the values of an image add up to one, as the scores of each query do.

    Raises:
        InputError: if the last axis of ``scores`` is not h * w long, or there are not four axes.
    """
    scores = np.asarray(scores, "float32")
    height, width = (int(side) for side in grid)
    if scores.ndim != 4 or scores.shape[-1] != height * width:
        raise InputError(
            f"`scores` must have the shape (B, heads, queries, {height * width}) for a grid of {height} x {width}. "
            f"Received: shape {scores.shape}"
        )
    return scores.mean(axis=(1, 2)).reshape(len(scores), height, width)


@dataclasses.dataclass
class _Scores:
    """What one layer gave: its input's shape, and the scores of each batch."""

    input_shape: tuple
    parts: list[np.ndarray]


def _collect(model, images, wanted) -> dict[str, tuple[np.ndarray, tuple]]:
    """Name -> scores, and the shape of what the layer looked at."""
    graph = graph_of(model)
    images = check_images(graph, images)
    found: dict[str, _Scores] = {}
    for start in range(0, len(images), BATCH):
        _run(graph, ops.convert_to_tensor(images[start : start + BATCH]), found)
        if not found:
            raise InputError(f"`model` must have an attention layer. Received: `{model.name}`")
        unknown = [name for name in wanted or () if name not in found]
        if unknown:
            raise InputError(f"`layers` must be among {', '.join(found)}. Received: {', '.join(map(repr, unknown))}")
    return {
        name: (np.concatenate(scores.parts), scores.input_shape)
        for name, scores in found.items()
        if wanted is None or name in wanted
    }


def _run(graph, images, found) -> None:
    """Run a functional model with the scores put into ``found`` on the way."""
    runs: dict[str, int] = {}

    def watch(operation, path):
        if not isinstance(operation, keras.layers.Layer):
            return operation
        if "return_attention_scores" not in inspect.signature(operation.call).parameters:
            return operation

        def call(*args, **kwargs):
            asked = kwargs.get("return_attention_scores", False)
            output, scores = operation(*args, **{**kwargs, "return_attention_scores": True})
            runs[path] = run = runs.get(path, 0) + 1
            name = path + (f":{run}" if run > 1 else "")
            looked_at = [*args, *kwargs.values()][0]
            record = found.setdefault(name, _Scores(tuple(looked_at.shape), []))
            record.parts.append(np.asarray(ops.convert_to_numpy(scores), "float32"))
            return (output, scores) if asked else output

        return call

    run_graph(graph, images, watch)
