"""Parameters, floating point operations and size of every model and recipe, into leukemia_tf/models/figures.json.

    python experiments/benchmarks/zoo_figures.py [NAME ...]

Builds each registered model with the options of its publication, and each recipe's model at the recipe's image size,
with random weights. With names, only those models and recipes are built anew and the other figures stay. Minutes for
all, most of them for building the large backbones.

Floating point operations are those that TensorFlow's profiler counts in the graph that classifies one image: a
multiplication and an addition are two. It counts convolutions and matrix products, which are nearly all, and most
elementwise operations; it knows no Einsum, whose products are added here.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import math
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from leukemia_tf.files import write_text  # noqa: E402
from leukemia_tf.models import build_model, describe_model, list_models, open_layers  # noqa: E402
from leukemia_tf.models.figures import FILE  # noqa: E402
from leukemia_tf.recipes import Recipe, get_recipe, list_recipes  # noqa: E402
from leukemia_tf.recipes.train_recipe import build  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models and recipes to build anew (default: all)")
    names = parser.parse_args().names
    tf.get_logger().setLevel("ERROR")  # the profiler calls a deprecated function of TensorFlow
    figures = {"models": {}, "recipes": {}}
    if FILE.exists() and names:
        figures = json.loads(FILE.read_text(encoding="utf-8"))
    jobs = [("models", name) for name in list_models()] + [("recipes", name) for name in list_recipes()]
    known = {kind: {name for other, name in jobs if other == kind} for kind in figures}
    figures = {
        kind: {name: entries[name] for name in entries if name in known[kind]} for kind, entries in figures.items()
    }
    jobs = [job for job in jobs if not names or job[1] in names]
    for number, (kind, name) in enumerate(jobs, start=1):
        began = time.monotonic()
        entry = of_model(name) if kind == "models" else of_recipe(get_recipe(name))
        figures[kind][name] = entry
        print(f"{number}/{len(jobs)} {kind} {name}: {entry} {time.monotonic() - began:.1f} s", flush=True)
        keras.backend.clear_session()
        gc.collect()
    write_text(FILE, json.dumps(figures, indent=2, sort_keys=True) + "\n")


def of_model(name: str) -> dict:
    """Figures of a registered model, as published."""
    described = describe_model(name)
    options = described["options"]
    if described["kind"] != "keras":
        return no_network(options["image_size"], options["num_classes"])
    return of_network(build_model(name, weights=None), options["num_classes"])


def of_recipe(recipe: Recipe) -> dict:
    """Figures of a recipe's model, with the layers open that its last phase trains."""
    described = describe_model(recipe.model.builder)
    classes = described["options"]["num_classes"]
    if described["kind"] != "keras":
        return no_network(recipe.data.image_size, classes)
    model = build(dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, weights="none")), classes)
    if recipe.phases:
        open_layers(model, recipe.phases[-1].layers, freeze_batchnorm=recipe.phases[-1].freeze_batchnorm)
    return of_network(model, classes)


def of_network(model: keras.Model, num_classes: int) -> dict:
    """Figures of a Keras model as it is."""
    parameters = model.count_params()
    return {
        "parameters": parameters,
        "trainable_parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "gflops": round(count_flops(model) / 1e9, 4),
        "megabytes": round(4 * parameters / 1e6, 2),
        "image_size": model.input_shape[1],
        "num_classes": num_classes,
    }


def no_network(image_size: int, num_classes: int) -> dict:
    """An entry for a model whose size depends on what it is fitted to."""
    empty = dict.fromkeys(("parameters", "trainable_parameters", "gflops", "megabytes"))
    return {**empty, "image_size": image_size, "num_classes": num_classes}


def count_flops(model: keras.Model) -> int:
    """Floating point operations of the model for one image."""

    @tf.function(input_signature=[tf.TensorSpec([1, *model.input_shape[1:]])], autograph=False)
    def forward(images):
        return model(images, training=False)

    graph = forward.get_concrete_function().graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    counted = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"}).total_float_ops
    return counted + sum(map(_einsum_flops, (node for node in graph.get_operations() if node.type == "Einsum")))


def _einsum_flops(node: tf.Operation) -> int:
    """Two for each combination of the indices of an Einsum."""
    terms = node.get_attr("equation").decode().partition("->")[0].split(",")
    lengths = {}
    for term, tensor in zip(terms, node.inputs, strict=True):
        lengths |= zip(term, tensor.shape.as_list(), strict=True)
    return 2 * math.prod(lengths.values())


if __name__ == "__main__":
    main()
