"""Explain what a trained run says of images: maps, pictures of them, and figures that say whether a map is evidence."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, Any, Iterable, Sequence

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.method_names import METHODS, WITH_LAYER
from leukemia_tf.files import atomic_path, write_json

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.explain import Attribution
    from leukemia_tf.recipes.run import Run

_CHUNK = 8
"""Images explained at a time, so that memory does not grow with their number."""
_ON_SHEET = 12


def explain_images(
    run: Run,
    images: Iterable,
    *,
    methods: Sequence[str] = ("grad_cam",),
    class_name: str | None = None,
    layer: str | None = None,
    check: bool = False,
    output: str | pathlib.Path | None = None,
    skip_broken: bool = False,
    progress: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Explain image files and write what was found.

    Into the folder go a picture for each image and method, ``maps/*.npz`` (image and maps, in the size of the model),
    ``explanations.csv`` (a row for each image and method), ``explanations.json`` (settings and verdicts),
    ``explanations.png`` (the first images on one sheet) and ``explanations.html`` (all of them). Pictures of an earlier
    call with other images stay, and are no longer on the page.

    Args:
        run: a finished training.
        images: files, or folders of them.
        methods: names out of `leukemia_tf.explain.METHODS`. A model of scikit-learn knows ``occlusion`` only.
        class_name: the class that is explained; None takes what is predicted of each image.
        layer: name of the layer whose map Grad-CAM or, where that is not asked for, attention takes.
        check: also measure deletion and insertion, beside orders that know nothing, and compare the maps with those of
            shuffled weights. They follow the model's own probabilities, before any calibration, and take some hundred
            predictions for each image and method.
        output: the folder; None takes ``explanations`` in the run.
        skip_broken: leave out files that cannot be read, with a line for each in the log.
        progress: show progress on standard error.
        seed: of the shuffling.

    Returns:
        ``frame``, the table that was written; ``verdicts``, a sentence for each method if `check`; and ``folder``.

    Raises:
        InputError: for an unknown method, class or layer, a method that the model does not allow, or bad images.
    """
    import pandas as pd

    from leukemia_tf.data.progress import track
    from leukemia_tf.explain.pictures import draw_sheet, save_picture
    from leukemia_tf.explain.scorer import scorer_of
    from leukemia_tf.recipes.explain_page import write_page
    from leukemia_tf.recipes.predict import predict_images

    methods = _check_methods(methods, layer)
    if class_name is not None and class_name not in run.classes:
        raise InputError(f"`class` must be one of {', '.join(run.classes)}. Received: {class_name!r}")
    scorer = scorer_of(run.model)
    _check_model(scorer, methods, layer, run.info["image_size"])
    predictions = predict_images(run, images, skip_broken=skip_broken, progress=progress)
    folder = pathlib.Path(output) if output else run.path / "explanations"
    explained = predictions["prediction"] if class_name is None else class_name
    predictions = predictions.assign(explained=explained, name=_names(predictions["path"]))

    rows, sheet = [], []
    starts = range(0, len(predictions), _CHUNK)
    for start in track(starts, len(starts), f"explaining {len(predictions):,} images, parts", progress):
        part = predictions.iloc[start : start + _CHUNK]
        pixels = _pixels(run, part["path"])
        classes = np.array([run.classes.index(name) for name in part["explained"]])
        found, columns = _explain_part(scorer, pixels, methods, classes, layer, check, seed)
        for number, (_, facts) in enumerate(part.iterrows()):
            maps = {method: attribution.maps[number] for method, attribution in found.items()}
            _write_maps(folder / "maps" / f"{facts['name']}.npz", pixels[number], found, number)
            if len(sheet) < _ON_SHEET:
                sheet.append((pixels[number], maps, _title(facts)))
            for method in methods:
                picture = f"{facts['name']}_{method}.png"
                _write_picture(folder / picture, pixels[number], found[method], number, _title(facts))
                figures = {name: values[number] for name, values in columns[method].items()}
                rows.append(
                    {
                        **facts.drop(["explained", "name"]),
                        "method": method,
                        "explained": facts["explained"],
                        "layers": " ".join(found[method].parts),
                        "picture": picture,
                        **figures,
                    }
                )
    frame = pd.DataFrame(rows)
    verdicts = {method: _verdict(frame[frame["method"] == method]) for method in methods} if check else {}
    with atomic_path(folder / "explanations.csv") as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    save_picture(folder / "explanations.png", draw_sheet(*map(list, zip(*sheet))))
    settings = {
        "run": run.path.name,
        "recipe": run.recipe.name,
        "methods": list(methods),
        "class": class_name,
        "layer": layer,
        "images": len(predictions),
        "image_size": run.info["image_size"],
        "seed": seed,
    }
    write_json(folder / "explanations.json", {**settings, "verdicts": verdicts})
    write_page(folder / "explanations.html", frame, settings, verdicts)
    return {"frame": frame, "verdicts": verdicts, "folder": folder}


def _check_methods(methods: Sequence[str], layer: str | None) -> list[str]:
    methods = [methods] if isinstance(methods, str) else list(dict.fromkeys(methods))
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise InputError(f"`method` must be one of {', '.join(METHODS)}. Received: {', '.join(unknown) or 'none'}")
    if layer is not None and not set(methods) & set(WITH_LAYER):
        raise InputError(f"`layer` is for the methods {', '.join(WITH_LAYER)}. Received: {layer!r}")
    return methods


def _check_model(scorer: Any, methods: list[str], layer: str | None, size: int) -> None:
    """Refuse what the model does not allow before anything is computed or written."""
    from leukemia_tf.explain import attention_map
    from leukemia_tf.explain.scorer import network_of

    if set(methods) - {"occlusion"}:
        network = network_of(scorer)
        if "attention" in methods:
            attention_map(network, np.zeros((1, size, size, 3)), layer=_layer_of("attention", methods, layer))
        if layer is not None and set(methods) & {"grad_cam", "grad_cam_plus_plus"}:
            network.find_map(layer)


def _layer_of(method: str, methods: list[str], layer: str | None) -> str | None:
    """The layer goes to Grad-CAM, and to attention only where it cannot be meant for Grad-CAM."""
    if method == "attention" and set(methods) & {"grad_cam", "grad_cam_plus_plus"}:
        return None
    return layer if method in WITH_LAYER else None


def _explain_part(scorer, pixels, methods, classes, layer, check, seed):
    """Attribution by method, and by method its further columns (N,) of the table."""
    from leukemia_tf.explain import deletion_insertion, explain, randomisation_check
    from leukemia_tf.explain.faithfulness import random_order
    from leukemia_tf.explain.scorer import Estimator

    images = pixels.astype(np.float32)
    found: dict[str, Attribution] = {}
    columns: dict[str, dict[str, np.ndarray]] = {}
    chance = random_order(scorer, images, classes) if check else {}
    for method in methods:
        options = {"layer": _layer_of(method, methods, layer)}
        found[method] = attribution = explain(scorer, images, method, classes, **options)
        columns[method] = dict(attribution.figures)
        if check:
            columns[method] |= deletion_insertion(scorer, images, attribution.maps, classes) | chance
            # What is not a network has no weights to shuffle.
            if not isinstance(scorer, Estimator):
                tested = randomisation_check(
                    scorer,
                    images,
                    lambda network: explain(network, images, method, classes, **options).maps,
                    before=attribution.maps,
                    seed=seed,
                )
                columns[method] |= {
                    f"shuffled_{stage}": values for stage, values in zip(tested.stages, tested.correlations)
                }
    return found, columns


def _verdict(rows: pd.DataFrame) -> str:
    """What the figures of one method say, in a sentence."""
    from leukemia_tf.explain.randomisation import PASS_BELOW

    better = {
        "deletion": (rows["deletion"] < rows["deletion_random"]).sum(),
        "insertion": (rows["insertion"] > rows["insertion_random"]).sum(),
    }
    parts = [
        f"{name} {rows[name].mean():.3f} (chance {rows[f'{name}_random'].mean():.3f}, better in {count} of {len(rows)})"
        for name, count in better.items()
    ]
    if "shuffled_all" in rows and rows["shuffled_all"].notna().any():
        median = rows["shuffled_all"].abs().median()
        meaning = "follows from what was learnt" if median < PASS_BELOW else "HARDLY DEPENDS ON WHAT WAS LEARNT"
        parts.append(f"{meaning} (rank correlation with shuffled weights {median:.2f})")
    return "; ".join(parts)


def _pixels(run: Run, paths: Sequence[str]) -> np.ndarray:
    """uint8 (N, S, S, 3), what the run's model takes."""
    from leukemia_tf.data import Manifest, load_pixels
    from leukemia_tf.data.table import make_table
    from leukemia_tf.recipes.colour import NONE, model_input

    manifest = Manifest.from_dict(run.info["manifest"]).replace(root=pathlib.Path.cwd(), classes=tuple(run.classes))
    table = make_table([{"path": path} for path in paths], "images")
    pixels = load_pixels(manifest, table, run.info["image_size"], progress=False)
    return model_input(pixels, run.info.get("colour", NONE))


def _names(paths: Iterable[str]) -> list[str]:
    """Names for files, one an image: a number and what can be kept of the image's name."""
    stems = [re.sub(r"[^A-Za-z0-9.-]+", "_", pathlib.PurePath(path).stem)[:60] for path in paths]
    return [f"{number:03}_{stem}" for number, stem in enumerate(stems)]


def _title(facts: pd.Series) -> str:
    name = pathlib.PurePath(facts["path"]).name
    said = f"{name}: predicted {facts['prediction']} (probability {facts['prob_' + facts['prediction']]:.3f})"
    if facts["explained"] == facts["prediction"]:
        return said
    return f"{said}, explained for {facts['explained']} ({facts['prob_' + facts['explained']]:.3f})"


def _write_maps(path: pathlib.Path, image: np.ndarray, found: dict[str, Attribution], number: int) -> None:
    arrays = {"image": image}
    for method, attribution in found.items():
        arrays[method] = attribution.maps[number]
        for layer, maps in attribution.parts.items():
            arrays[f"{method}:{layer.replace('/', '.')}"] = maps[number]
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _write_picture(path: pathlib.Path, image: np.ndarray, attribution: Attribution, number: int, title: str) -> None:
    from leukemia_tf.explain.pictures import draw_explanation, save_picture

    figure = draw_explanation(
        image, attribution.maps[number], title=title, method=attribution.method, unit=attribution.unit
    )
    save_picture(path, figure)
