"""Whether four cores keep a GPU busy that trains EfficientNetB0 at 224 pixels: measured on a GPU.

    KERAS_BACKEND=jax python experiments/benchmarks/feed_gpu.py [--cores 4] [--batch 64] [--layers head,top:50,all]

Trains through ``fit`` from two sources: batches that are ready in memory, as fast as the GPU takes them (the copy to
the GPU included), and the pipeline as training has it (uint8 pixels in memory, augmentation in batches on the cores
that this process may use). The share of the time in which the GPU is busy is the speed of the second relative to the
first. Epochs in turn. Keras on JAX or PyTorch; the pipeline needs TensorFlow, for a CPU. `feed.py` simulates GPUs.

Writes experiments/results/benchmarks/feed_gpu.csv: layers that are open; precision; policy; batch; cores;
images_per_s_ready and images_per_s (medians of the epochs); busy, lowest and highest (of the epochs in turn); device.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=4, help="that this process uses (default: 4)")
    parser.add_argument("--size", type=int, default=224, help="side of the images (default: 224)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--layers", default="head,top:50,all", help="that are open")
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--policy", default="cells", help="augmentation (default: cells)")
    parser.add_argument("--steps", type=int, default=40, help="of an epoch (default: 40)")
    parser.add_argument("--epochs", type=int, default=5, help="from each source (default: 5)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "feed_gpu.csv")
    options = parser.parse_args(arguments)
    # Before TensorFlow and XLA count the cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])

    import pandas as pd

    from leukemia_tf.files import atomic_path

    rows = []
    for layers in options.layers.split(","):
        rows.append(measure(layers, options))
        print(rows[-1], flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(options.output) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.4g", lineterminator="\n")
    return pd.DataFrame(rows)


def measure(layers: str, options: argparse.Namespace) -> dict:
    """One row: epochs from memory and from the pipeline, in turn."""
    import keras
    from feed import pipeline
    from train_step_gpu import again, epoch_clock, random_batches, versions

    from leukemia_tf.models import build_model, open_layers

    keras.config.set_dtype_policy(options.precision)
    model = build_model(
        "transfer", backbone="efficientnetb0", two_class_units=1, image_size=options.size, weights=None
    )
    open_layers(model, layers, freeze_batchnorm=True)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    sources = {
        "ready": random_batches(options.batch, options.size),
        "pipeline": in_numpy(pipeline(options.size, options.batch, options.policy)),
    }
    seconds = {name: [] for name in sources}
    for _ in range(options.epochs + 1):
        for name, source in sources.items():
            clock = epoch_clock(seconds[name])
            model.fit(again(source), steps_per_epoch=options.steps, verbose=0, callbacks=[clock])
    # The first epoch compiles, and fills the buffers.
    rates = {name: [options.steps * options.batch / second for second in found[1:]] for name, found in seconds.items()}
    busy = [one / other for one, other in zip(rates["pipeline"], rates["ready"])]
    return {
        "layers": layers,
        "precision": options.precision,
        "policy": options.policy,
        "size": options.size,
        "batch": options.batch,
        "cores": len(os.sched_getaffinity(0)),
        "images_per_s_ready": statistics.median(rates["ready"]),
        "images_per_s": statistics.median(rates["pipeline"]),
        "busy": statistics.median(busy),
        "lowest": min(busy),
        "highest": max(busy),
        **versions(keras.backend.backend()),
    }


def in_numpy(dataset):
    """The elements of a data set as NumPy arrays."""
    for images, labels in dataset:
        yield images.numpy(), labels.numpy()


if __name__ == "__main__":
    print(main(sys.argv[1:]).to_string(index=False))
