"""SavedModel: images or encoded bytes in, class probabilities out, with TensorFlow alone."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from typing import Any, Sequence

import keras
import numpy as np
import tensorflow as tf

from leukemia_tf.data.decode import decode_image
from leukemia_tf.data.resize import resize_images
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.export.calibration_ops import calibrate, energy, nearest_distance
from leukemia_tf.files import explain_write_errors, write_json
from leukemia_tf.models.features import with_features


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    classes: Sequence[str],
    image_size: int,
    notice: str = "",
    colour: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
    detector: tuple[np.ndarray, np.ndarray] | None = None,
) -> pathlib.Path:
    """Write a SavedModel folder with two signatures; resize and preprocessing are inside.

    ======================  ==========================================================================
    ``serving_default``     ``images`` float32 [B, H, W, 3], RGB in [0, 255], any height and width
    ``serve_bytes``         ``encoded`` string [B], each a JPEG, PNG or BMP file's bytes, any size
    ======================  ==========================================================================

    Both return ``probabilities`` float32 [B, C], calibrated, one column a class in the order of `classes`;
    ``raw_probabilities``, as the model gives them; ``prediction`` string [B], by the operating point; ``classes``
    string [C]; where the decision has a rule, ``abstain`` bool [B] (too unsure) and ``out_of_distribution`` bool [B],
    with the scores ``energy`` and ``mahalanobis`` float32 [B] that it comes from. The same pixels give the same
    numbers as the run's own predictions.

    Args:
        model: RGB images (B, `image_size`, `image_size`, 3) in [0, 255] to one sigmoid or C softmax outputs.
        path: the folder; one that exists is replaced once the new one is complete.
        classes: names, in the order of the label index.
        image_size: side of the model's input.
        notice: stored beside the classes in ``assets.extra/model.json``.
        colour: stored there as well: how colours were normalised, and whether the caller has to do it before.
        decision: of ``decision.json``, stored there and carried out; None for probabilities as they are, a threshold of
            .5 and no flags.
        detector: means [C, D] and precision [D, D] of the features, for the score ``mahalanobis``.

    Raises:
        InputError: if `classes` does not fit the model's output.
        RunError: if the folder cannot be written.
    """
    path = pathlib.Path(path)
    outputs = model.output_shape[-1]
    if outputs != len(classes) and not (outputs == 1 and len(classes) == 2):
        raise InputError(f"`classes` has one name for each of the {outputs} outputs. Received: {list(classes)}")

    decision = decision or {}
    strange = (decision.get("out_of_distribution") or {}).get("thresholds", {})
    inner = with_features(model) if strange else None
    # Parameters of the detector are variables, so that they lie with the weights and not in the graph.
    kept = [tf.Variable(np.asarray(values, np.float32), trainable=False) for values in detector or ()]

    # One traced body for both signatures: tracing three backbones twice takes as long as saving them.
    @tf.function(input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.float32)], autograph=False)
    def forward(images):
        found = inner(images, training=False) if inner else {"probabilities": model(images, training=False)}
        raw = tf.cast(found["probabilities"], tf.float32)
        if outputs == 1:
            raw = tf.concat([1 - raw, raw], axis=-1)
        scores = {}
        if "energy" in strange:
            scores["energy"] = energy(found["logits"])
        if "mahalanobis" in strange and kept:
            scores["mahalanobis"] = nearest_distance(found["features"], *kept)
        return _decided(raw, scores, list(classes), decision)

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
    module.detector = kept
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
                | ({"colour": colour} if colour else {})
                | ({"decision": decision} if decision else {}),
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


def _decided(
    raw: tf.Tensor, scores: dict[str, tf.Tensor], classes: list[str], decision: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """The outputs of the signatures, from probabilities float32 [B, C] and scores float64 [B]."""
    probabilities = calibrate(raw, decision.get("calibration"))
    if len(classes) == 2:
        threshold = (decision.get("operating_point") or {}).get("threshold", 0.5)
        index = tf.cast(probabilities[:, 1] >= threshold, tf.int64)
    else:
        index = tf.argmax(probabilities, axis=1)
    outputs = {
        "probabilities": tf.cast(probabilities, tf.float32),
        "raw_probabilities": raw,
        "prediction": tf.gather(tf.constant(classes), index),
        "classes": tf.constant(classes),
    }
    if decision.get("abstention"):
        confidence = tf.gather(probabilities, index, axis=1, batch_dims=1)
        outputs["abstain"] = confidence < decision["abstention"]["threshold"]
    if scores:
        thresholds = decision["out_of_distribution"]["thresholds"]
        flags = [score > thresholds[name] for name, score in scores.items()]
        outputs["out_of_distribution"] = tf.reduce_any(tf.stack(flags), axis=0)
        outputs |= {name: tf.cast(score, tf.float32) for name, score in scores.items()}
    return outputs
