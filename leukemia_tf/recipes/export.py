"""Export a trained run to other runtimes, each file checked against Keras before it is kept."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import os
import pathlib
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any, Sequence

from leukemia_tf.errors import InputError
from leukemia_tf.export.check import DEFAULT_BOUNDS, Bounds, check_bounds, compare_probabilities
from leukemia_tf.export.runners import FILES, METADATA, RUNTIMES, Runner, check_runtimes
from leukemia_tf.files import atomic_path, explain_write_errors, read_json, write_json
from leukemia_tf.recipes.answering import EXPORTS_FILE, file_sha256
from leukemia_tf.recipes.colour import NONE
from leukemia_tf.recipes.run import ESTIMATOR_FILE, RESEARCH_USE, Run

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

TABLE = "exports.csv"
"""Lies beside the exports, and ``exports.json`` with the same: one row a format."""
RESIZE = "bilinear with antialiasing to a square, rounded to whole numbers (TensorFlow; Pillow's BILINEAR within 1)"
_BATCH = 32


def export_run(
    run: Run,
    formats: Sequence[str],
    *,
    output: str | os.PathLike | None = None,
    data: str | None = None,
    max_difference: float | None = None,
    max_accuracy_loss: float | None = None,
    images: int = 2000,
    calibration_images: int = 200,
    progress: bool = True,
) -> pd.DataFrame:
    """Write exports of the run's model, a folder for each format, and what comparing them with Keras gave.

    All formats are written into a temporary folder and compared there; if one of them fails, none is kept.

    Args:
        run: a finished training of a network.
        formats: some of ``saved_model``, ``litert``, ``litert-int8``, ``onnx``.
        output: folder to write to, by default the run's own.
        data: where the run's images are now, if not where they were.
        max_difference, max_accuracy_loss: bounds for all of `formats`; by default those of `DEFAULT_BOUNDS`.
        images: at most so many validation images are compared, drawn with the run's seed.
        calibration_images: training images that show the 8-bit quantisation its ranges, drawn with the run's seed.
        progress: show progress on standard error.

    Returns:
        One row a format: file, bytes, ``images``, ``max_difference`` and ``mean_difference`` of the calibrated
        probabilities, ``agreement`` of the predictions, ``accuracy_keras``, ``accuracy``, ``accuracy_loss`` with its
        paired 95 % bootstrap interval (``loss_low``, ``loss_high``; ``unit`` says what was resampled), bounds, runtime
        and seconds; of 8 bits ``float_layers``, the convolutions that stayed in float32.

    Raises:
        InputError: for an unknown format, a runtime that is not installed, images that are gone, or a model of
            scikit-learn.
        RunError: if a conversion fails, an export lies beyond a bound, or the folder cannot be written.
    """
    import pandas as pd

    formats = list(dict.fromkeys(formats))
    unknown = [name for name in formats if name not in FILES]
    if unknown or not formats:
        raise InputError(f"`to` names some of {', '.join(FILES)}. Received: {', '.join(unknown) or 'nothing'}")
    if images < 1 or calibration_images < 1:
        raise InputError(f"`images` and `calibration_images` are 1 or more. Received: {images}, {calibration_images}")
    given = {"max_difference": max_difference, "max_accuracy_loss": max_accuracy_loss}
    given = {name: value for name, value in given.items() if value is not None}
    bounds = {name: dataclasses.replace(DEFAULT_BOUNDS[name], **given) for name in formats}
    if run.model_path.name == ESTIMATOR_FILE:
        raise InputError(
            f"`run` is one of a network. Received: {run.path} (a model of scikit-learn, which has no exports; "
            "`leukemia-tf predict` takes it as it is)"
        )
    check_runtimes(formats, converting=True)

    target = pathlib.Path(output) if output else run.path
    checked = _Checked(run, data, images, calibration_images, progress)
    rows = []
    with explain_write_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=".tmp-", dir=target))
        try:
            for name in formats:
                began = time.monotonic()
                figures = _write_and_compare(checked, name, temporary / name, bounds[name])
                check_bounds(name, figures, bounds[name])
                file = temporary / name
                rows.append(
                    {
                        "format": name,
                        "file": f"{name}/{FILES[name]}" if name != "saved_model" else name,
                        "bytes": sum(item.stat().st_size for item in file.rglob("*") if item.is_file()),
                        **figures,
                        **{f"bound_{key}": value for key, value in dataclasses.asdict(bounds[name]).items()},
                        "runtime": _version(name),
                        "model_sha256": checked.model_sha256,
                        "seconds": round(time.monotonic() - began, 1),
                    }
                )
                log.info("%s", _sentence(rows[-1]))
            for name in formats:
                if (target / name).exists():
                    os.replace(target / name, temporary / f"old-{name}")
                os.replace(temporary / name, target / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    _write_table(target, rows)
    return pd.DataFrame(rows)


class _Checked:
    """The model, the images it is compared on, and what Keras says of them."""

    def __init__(self, run: Run, data: str | None, images: int, calibration_images: int, progress: bool):
        from leukemia_tf.evaluation.predictions import plain_columns
        from leukemia_tf.recipes.prepare import prepare_table

        self.run, self.size = run, run.info["image_size"]
        self.model, self.decision = run.model, run.decision
        self.model_sha256 = file_sha256(run.model_path)
        recipe = run.recipe
        if data is not None:
            recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=data))
        self.seed = recipe.seed
        self.manifest, table = prepare_table(recipe, run, progress)
        self.table = self._drawn(table[table["split"] == "val"], images)
        self.pixels = self._load(self.table, progress)
        self._training = lambda: self._load(self._drawn(table[table["split"] == "train"], calibration_images), progress)
        raw = self.decision.apply(self.table, self._ask_keras())
        self.keras = raw[plain_columns(run.classes)]

    @property
    def representative(self) -> np.ndarray:
        """uint8 (N, S, S, 3): training images for quantisation."""
        return self._training()

    def compare(self, folder: pathlib.Path, name: str) -> dict[str, Any]:
        """Figures of the export in `folder`."""
        import numpy as np

        runner = Runner(folder, name)
        starts = range(0, len(self.pixels), _BATCH)
        found = [runner(self.pixels[start : start + _BATCH])["probabilities"] for start in starts]
        frame = self._frame(np.concatenate(found))
        return compare_probabilities(self.keras, frame, self.run.classes) | self._accuracy_lost(frame)

    def _accuracy_lost(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Accuracy of both, and the loss with its 95 % interval: the same images are drawn for both."""
        from leukemia_tf.evaluation import compare_predictions

        row = compare_predictions(
            {"keras": self.keras, "export": frame}, self.run.classes, metrics=["accuracy"], seed=self.seed
        ).iloc[0]
        return {
            "accuracy_keras": float(row["value_first"]),
            "accuracy": float(row["value_second"]),
            "accuracy_loss": float(row["value_first"] - row["value_second"]),
            "loss_low": 0.0 - float(row["high"]),
            "loss_high": 0.0 - float(row["low"]),
            "unit": row["unit"],
        }

    def _drawn(self, table: pd.DataFrame, most: int) -> pd.DataFrame:
        return table.sample(most, random_state=self.seed).sort_index() if len(table) > most else table

    def _load(self, table: pd.DataFrame, progress: bool) -> np.ndarray:
        from leukemia_tf.data import load_pixels
        from leukemia_tf.recipes.colour import model_input

        pixels = load_pixels(self.manifest, table, self.size, progress=progress)
        return model_input(pixels, self.run.info.get("colour", NONE))

    def _ask_keras(self) -> np.ndarray:
        from leukemia_tf.recipes.predicting import predict_table

        return predict_table(
            self.model, self.manifest, self.table, self.pixels, image_size=self.size, batch_size=_BATCH
        )

    def _frame(self, probabilities: np.ndarray) -> pd.DataFrame:
        from leukemia_tf.evaluation import make_predictions

        return make_predictions(self.table, probabilities, self.run.classes, threshold=self.decision.threshold)


def _write_and_compare(checked: _Checked, name: str, folder: pathlib.Path, bounds: Bounds) -> dict[str, Any]:
    """One export and its figures.

    Of 8 bits the first with at most half of the accuracy lost that is accepted, with ever more in float32, because
    other images may lose more than these; otherwise the one that lost least.
    """
    kept: dict[str, Any] = {}
    for layers in _float_layers(checked.model) if name == "litert-int8" else [None]:
        place = folder.with_name(f"{folder.name}-{layers}")
        _write(checked, name, place, layers)
        figures = {"float_layers": layers, **checked.compare(place, name)}
        # Not "smaller": what cannot be compared is kept as well, and fails.
        if not kept or not figures["accuracy_loss"] >= kept["accuracy_loss"]:
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(place, folder)
            kept = figures
        if kept["accuracy_loss"] <= bounds.max_accuracy_loss / 2:
            break
        log.info("%s, %s convolutions in float32: %s", name, layers, _lost(figures))
    return kept


def _float_layers(model: keras.Model) -> list[int]:
    """How many convolutions are left in float32 in turn: one, then more, but never more than half of all layers."""
    kernels = sum(weight.path.endswith("kernel") for weight in model.weights)
    return [count for count in (1, 3, 6) if count == 1 or 2 * count <= kernels]


def _write(checked: _Checked, name: str, folder: pathlib.Path, float_layers: int | None) -> None:
    """One export, with what a reader has to know beside it."""
    run = checked.run
    if name == "saved_model":
        write_saved_model(run, checked.model, folder)
        file = folder / "assets.extra" / METADATA
        write_json(file, {**read_json(file), "model_sha256": checked.model_sha256})
        return
    from leukemia_tf.export.graph import Served

    decision = checked.decision.to_dict()
    common = {"classes": run.classes, "image_size": checked.size}
    served = Served(checked.model, **common, calibration=decision["calibration"])
    if name == "onnx":
        from leukemia_tf.export.onnx import convert_onnx

        content = convert_onnx(served)
    else:
        from leukemia_tf.export.litert import convert_litert

        if float_layers is None:
            content = convert_litert(served)
        else:
            content = convert_litert(served, checked.representative, float_layers=float_layers)
    folder.mkdir()
    (folder / FILES[name]).write_bytes(content)
    colour = run.info.get("colour", NONE)
    write_json(
        folder / METADATA,
        {
            **common,
            "format": name,
            "input": "images: float32 [B, S, S, 3], RGB; preprocessing is inside",
            "value_range": [0, 255],
            "resize": RESIZE,
            "outputs": sorted(served.serve.get_concrete_function().structured_outputs),
            "colour": {**colour, "before_the_model": colour["method"] == "clahe"},
            "decision": decision,
            "notice": RESEARCH_USE,
            "model_sha256": checked.model_sha256,
        },
    )


def write_saved_model(run: Run, model: keras.Model, folder: pathlib.Path) -> None:
    """SavedModel of a run's model, which carries out what the run decided."""
    from leukemia_tf.export import export_saved_model

    colour, detector = run.info.get("colour", NONE), run.detector
    export_saved_model(
        model,
        folder,
        classes=run.classes,
        image_size=run.info["image_size"],
        notice=RESEARCH_USE,
        colour={**colour, "before_the_model": colour["method"] == "clahe"},
        decision=run.decision.to_dict(),
        detector=(detector.means, detector.precision) if detector else None,
    )


def _version(name: str) -> str:
    package = {"ai_edge_litert": "ai-edge-litert"}.get(RUNTIMES.get(name, ""), RUNTIMES.get(name, "tensorflow"))
    return f"{package} {importlib.metadata.version(package)}"


def _sentence(row: dict[str, Any]) -> str:
    return (
        f"{row['format']}: {row['bytes'] / 1e6:.1f} MB; on {row['images']:,} validation images differs from Keras by "
        f"at most {row['max_difference']:.2g}, agrees on {row['agreement']:.2%}; {_lost(row)}"
    )


def _lost(row: dict[str, Any]) -> str:
    low, high = 100 * row["loss_low"], 100 * row["loss_high"]
    return f"accuracy lost {100 * row['accuracy_loss']:.2f} points [{low:.2f}, {high:.2f}]"


def _write_table(target: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Write ``exports.json`` and ``exports.csv``; rows of formats that were not exported this time stay."""
    import pandas as pd

    file = target / EXPORTS_FILE
    new = {row["format"] for row in rows}
    before = [row for row in (read_json(file) if file.exists() else []) if row["format"] not in new]
    write_json(file, before + rows)
    with atomic_path(target / TABLE) as temporary:
        pd.DataFrame(before + rows).to_csv(temporary, index=False, lineterminator="\n")
