"""SavedModel: images or encoded bytes in, class probabilities out, with TensorFlow alone."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from typing import Any, Sequence

import keras
import tensorflow as tf

from leukemia_tf.data.decode import decode_image
from leukemia_tf.data.resize import resize_images
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import explain_write_errors, write_json


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    classes: Sequence[str],
    image_size: int,
    notice: str = "",
    colour: dict[str, Any] | None = None,
) -> pathlib.Path:
    """Write a SavedModel folder with two signatures; resize and preprocessing are inside.

    ======================  ==========================================================================
    ``serving_default``     ``images`` float32 [B, H, W, 3], RGB in [0, 255], any height and width
    ``serve_bytes``         ``encoded`` string [B], each a JPEG, PNG or BMP file's bytes, any size
    ======================  ==========================================================================

    Both return ``probabilities`` float32 [B, C], one column a class in the order of `classes`, and ``classes``
    string [C]. The same pixels give the same probabilities as the training pipeline did.

    Args:
        model: RGB images (B, `image_size`, `image_size`, 3) in [0, 255] to one sigmoid or C softmax outputs.
        path: the folder; one that exists is replaced once the new one is complete.
        classes: names, in the order of the label index.
        image_size: side of the model's input.
        notice: stored beside the classes in ``assets.extra/model.json``.
        colour: stored there as well: how colours were normalised, and whether the caller has to do it before.

    Raises:
        InputError: if `classes` does not fit the model's output.
        RunError: if the folder cannot be written.
    """
    path = pathlib.Path(path)
    outputs = model.output_shape[-1]
    if outputs != len(classes) and not (outputs == 1 and len(classes) == 2):
        raise InputError(f"`classes` has one name for each of the {outputs} outputs. Received: {list(classes)}")

    # One traced body for both signatures: tracing three backbones twice takes as long as saving them.
    @tf.function(input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.float32)], autograph=False)
    def forward(images):
        probabilities = tf.cast(model(images, training=False), tf.float32)
        if outputs == 1:
            probabilities = tf.concat([1 - probabilities, probabilities], axis=-1)
        return {"probabilities": probabilities, "classes": tf.constant(list(classes))}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")])
    def from_images(images):
        return forward(resize_images(images, image_size))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="encoded")])
    def from_bytes(encoded):
        resized = tf.map_fn(
            lambda one: resize_images(decode_image(one), image_size),
            encoded,
            fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.float32),
        )
        return forward(resized)

    # `keras.export.ExportArchive` also walks and stores every layer object, which doubles the time; the functions and
    # the variables that they read are all that serving needs.
    module = tf.Module()
    module.weights = [weight.value for weight in model.variables]
    module.serve_images, module.serve_bytes = from_images, from_bytes
    signatures = {"serving_default": from_images, "serve_bytes": from_bytes}
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
        try:
            new = temporary / path.name
            # Gradients through the exported graph are of no use, and saving them takes most of the time.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(new), signatures=signatures, options=options)
            write_json(
                new / "assets.extra" / "model.json",
                {"classes": list(classes), "image_size": image_size, "value_range": [0, 255], "notice": notice}
                | ({"colour": colour} if colour else {}),
            )
            if path.exists():
                os.replace(path, temporary / "old")
            os.replace(new, path)
        except tf.errors.OpError as error:
            raise RunError(
                f"TensorFlow could not write `{path}`: {error.message.splitlines()[0]}. Free some space or choose "
                "another folder; what was written before is intact."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return path
