"""A run's folder: what is in it, and the trained model that comes out of it."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING, Any, Iterable

from leukemia_tf.errors import InputError
from leukemia_tf.files import read_json, write_json
from leukemia_tf.recipes.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.evaluation import MahalanobisDetector
    from leukemia_tf.evaluation.decision import Decision

KERAS_FILE = "model.keras"
ESTIMATOR_FILE = "model.skops"
"""The trained model: one of the two."""

READING = "reading images"
"""Status of a run until all its images were read, which is before its first checkpoint."""

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis."


class Run:
    """The folder that a training wrote.

    It holds ``recipe.json``, ``environment.json``, ``run.json`` (status, classes, data set, split, colours),
    ``table.csv``, ``split.csv``, ``history.csv``, ``checkpoints/``, ``predictions_val.csv``, ``decision.json``,
    ``detector.npz``, ``predictions.csv``, ``metrics.json``, ``plots/``, ``gallery/``, ``report.html``,
    ``model_card.md``, ``metadata.json``, ``model.keras`` and ``saved_model/``; of a student also
    ``agreement.json`` and ``predictions_teacher.csv``. A
    model of scikit-learn is in ``model.skops`` instead, and has no history, checkpoints, detector and export.

    Args:
        path: the folder.

    Raises:
        InputError: if there is no such folder, or it holds no run.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not (self.path / "recipe.json").is_file():
            what = "a folder without a recipe.json" if self.path.is_dir() else "no such folder"
            raise InputError(f"`run` is a folder that `leukemia-tf train` wrote. Received: {self.path} ({what})")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recipe(self) -> Recipe:
        """The recipe as it ran, overrides included."""
        return Recipe.from_dict(read_json(self.path / "recipe.json"))

    @property
    def info(self) -> dict[str, Any]:
        """Contents of ``run.json``; empty before the data was read."""
        path = self.path / "run.json"
        return read_json(path) if path.exists() else {}

    def update_info(self, **changes: Any) -> None:
        """Change fields of ``run.json``, in one step."""
        write_json(self.path / "run.json", {**self.info, **changes})

    @property
    def finished(self) -> bool:
        """Whether every file of the run is there."""
        return self.info.get("status") == "finished"

    @property
    def reading(self) -> bool:
        """Whether some of its images may not have been read yet; the same command then begins anew."""
        return self.info.get("status") == READING

    @property
    def classes(self) -> list[str]:
        """Class names; the position is the index in the model's output."""
        if "classes" not in self.info:
            raise InputError(f"`{self.path}` has not read its data yet; run its training again")
        return list(self.info["classes"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Contents of ``metrics.json``: the figures on the test split, with intervals."""
        return read_json(self.path / "metrics.json")

    @property
    def agreement(self) -> dict[str, Any] | None:
        """Contents of ``agreement.json``: how far a student says what its teacher says; None without a teacher."""
        path = self.path / "agreement.json"
        return read_json(path) if path.exists() else None

    @property
    def decision(self) -> Decision:
        """What was decided on the validation images; of a run of an older version its fixed threshold."""
        from leukemia_tf.evaluation.decision import Decision

        if (self.path / "decision.json").exists() or "threshold" not in self.info:
            return Decision.read(self.path / "decision.json")
        return Decision.undecided(self.classes, self.info["threshold"])

    @property
    def detector(self) -> MahalanobisDetector | None:
        """What tells strange images by their features, if the run has it."""
        from leukemia_tf.evaluation import MahalanobisDetector

        path = self.path / "detector.npz"
        return MahalanobisDetector.read(path) if path.exists() else None

    @property
    def model_path(self) -> pathlib.Path:
        """``model.keras`` or ``model.skops``, whichever this run wrote.

        Raises:
            InputError: before training has ended.
        """
        for name in (KERAS_FILE, ESTIMATOR_FILE):
            if (self.path / name).exists():
                return self.path / name
        raise InputError(
            f"`{self.path}` has no {KERAS_FILE} or {ESTIMATOR_FILE} yet: its training has not ended; run it again"
        )

    @functools.cached_property
    def model(self) -> Any:
        """The trained model: a ``keras.Model``, RGB images (B, S, S, 3) in [0, 255] to probabilities; or an object
        with ``predict_proba`` (uint8 (N, S, S, 3) to (N, C))."""
        if self.model_path.name == ESTIMATOR_FILE:
            return _load_estimator(self.model_path)
        from leukemia_tf.models import load_model

        return load_model(self.model_path)

    def predict(self, images: Iterable, *, skip_broken: bool = False, progress: bool = False) -> pd.DataFrame:
        """Probabilities for image files, folders of them, or one array (N, H, W, 3), RGB in [0, 255].

        Returns:
            One row an image: path, prediction, ``prob_<class>``. Research use only.

        Raises:
            InputError: for files that are no images, all of them named, unless `skip_broken`.
        """
        from leukemia_tf.recipes.predict import predict_images

        return predict_images(self, images, skip_broken=skip_broken, progress=progress)


def load_run(path) -> Run:
    """The run in the folder `path`; see `Run`."""
    return Run(path)


def _load_estimator(path: pathlib.Path) -> Any:
    from leukemia_tf.models.handcrafted import load_handcrafted

    return load_handcrafted(path)
