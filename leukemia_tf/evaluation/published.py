"""Test figures that the five published systems report, with the confusion matrices behind them where there are any.

Each entry is what its source prints, faults included; `PublishedResult.contradictions` says which of it cannot be true.
None of these figures is of a run of this package.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from leukemia_tf.evaluation.contradictions import check_confusion


@dataclasses.dataclass(frozen=True)
class PublishedResult:
    """What one source reports of one model.

    Attributes:
        system: number of the system, and the model in it.
        source: repository and where in it.
        protocol: which images, and what is wrong with them as a test.
        classes: in the order of the matrix; empty if there is none.
        matrix: counts, rows are true classes; ``None`` if not published.
        n: images, as stated.
        correct: images that were right; with ``n`` it stands in for the matrix.
        reported: the other figures, keys as of `check_confusion`.
    """

    system: str
    source: str
    protocol: str
    n: int
    reported: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    matrix: tuple[tuple[int, ...], ...] | None = None
    correct: int | None = None

    @property
    def accuracy(self) -> float:
        """Right images out of all, by the matrix where there is one; NaN if neither is published."""
        if self.matrix is not None:
            return sum(row[i] for i, row in enumerate(self.matrix)) / sum(map(sum, self.matrix))
        return float("nan") if self.correct is None else self.correct / self.n

    def contradictions(self) -> list[str]:
        """Lines of `check_confusion`; and where only ``correct`` is known, whether it gives the accuracy."""
        lines = check_confusion(self.matrix, self.n, self.reported)
        if self.matrix is None and self.correct is not None:
            wrong = self.n - self.correct
            right_or_not = check_confusion(
                ((self.correct, wrong), (0, 0)), None, {"accuracy": self.reported.get("accuracy", str(self.accuracy))}
            )
            lines += [line.replace("the matrix gives", "the counts give") for line in right_or_not]
        return lines


_000 = "github.com/HussamUmer/MLFFAKD-White-Blood-Cell-Detection"
_000_PROTOCOL = "test set of 40 images a class, image-level split; origin of the images unclear"
_001 = "github.com/DouglasBragaMestrado/leukemia_cnn"
_001_ARTICLE = "github.com/DouglasBragaMestrado/tf_efficientnetv2_b3-C-NMC-2019"
_002 = "github.com/yaniv-11/Automated-Leukemia-Diagnosis"
_002_PROTOCOL = "test set cut at image level from an already augmented set"
_003 = "github.com/ranaislek/BloodMNIST-Prediction-DL"
_004 = "github.com/Jaffer74 (Automated-Leukemia-Detection)"
_EQUAL = [40] * 9

PUBLISHED: dict[str, PublishedResult] = {
    "mlffakd_teacher": PublishedResult(
        system="000, teacher",
        source=f"{_000}, notebook",
        protocol=_000_PROTOCOL,
        n=360,
        correct=355,
        reported={"accuracy": ".9861", "precision": ".9864", "recall": ".9861", "f1": ".9861", "support": _EQUAL},
    ),
    "mlffakd_student": PublishedResult(
        system="000, student",
        source=f"{_000}, notebook",
        protocol=_000_PROTOCOL,
        n=360,
        correct=354,
        reported={"accuracy": ".9833", "precision": ".9837", "recall": ".9833", "f1": ".9834", "support": _EQUAL},
    ),
    "mlffakd_teacher_readme": PublishedResult(
        system="000, teacher",
        source=f"{_000}, README",
        protocol=_000_PROTOCOL,
        n=360,
        reported={"accuracy": "98.61%", "precision": "98.39%", "recall": "98.33%", "f1": "98.44%", "support": _EQUAL},
    ),
    "mlffakd_student_readme": PublishedResult(
        system="000, student",
        source=f"{_000}, README",
        protocol=_000_PROTOCOL,
        n=360,
        reported={"accuracy": "98.33%", "precision": "98.39%", "recall": "98.33%", "f1": "98.44%", "support": _EQUAL},
    ),
    "attention_cnn_validation": PublishedResult(
        system="001-A",
        source=f"{_001}, notebook",
        protocol="validation of the best epoch, selected on it, with synthetic images; the test set was not evaluated",
        n=2326,
        classes=("hem", "all"),
        matrix=((538, 44), (60, 1684)),
        reported={"accuracy": ".9553", "f1_weighted": ".9555", "auc": ".9814"},
    ),
    "attention_cnn_article": PublishedResult(
        system="001-B",
        source=f"{_001_ARTICLE}, evaluation notebook (arXiv 2601.01026)",
        protocol="test set, with thresholds and rules for single patients chosen on it",
        n=2084,
        classes=("hem", "all"),
        matrix=((964, 18), (26, 1076)),
        reported={"accuracy": "97.89", "f1_weighted": "97.89", "auc": "93.77"},
    ),
    "ensemble_notebook": PublishedResult(
        system="002-A",
        source=f"{_002}, detection-hybrid-model.ipynb",
        protocol=_002_PROTOCOL,
        n=800,
        classes=("healthy", "cancerous"),
        matrix=((398, 17), (35, 350)),
        reported={
            "accuracy": ".9350",
            "precision": [".92", ".95"],
            "recall": [".96", ".91"],
            "f1": [".94", ".93"],
            "support": [415, 385],
        },
    ),
    "ensemble_readme_a": PublishedResult(
        system="002-A",
        source=f"{_002}, README, table of performance and the matrix under it",
        protocol=_002_PROTOCOL,
        n=800,
        classes=("healthy", "cancerous"),
        matrix=((380, 17), (22, 358)),
        reported={
            "accuracy": "94.25%",
            "auc": "0.97",
            "precision": ["95%", "91%"],
            "recall": ["98%", "93%"],
            "f1_macro": "96%",
        },
    ),
    "ensemble_readme_b": PublishedResult(
        system="002-A",
        source=f"{_002}, README, matrix at its end",
        protocol=_002_PROTOCOL,
        n=800,
        classes=("healthy", "cancerous"),
        matrix=((380, 35), (27, 358)),
        reported={"accuracy": "94.25%", "sensitivity": "93%", "specificity": "92%"},
    ),
    "filter_token": PublishedResult(
        system="002-C",
        source="filter-token classifier, README",
        protocol="which split is not said; its code is not public",
        n=592,
        classes=("hem", "all"),
        matrix=((289, 28), (24, 251)),
        reported={"accuracy": "91.22"},
    ),
    "bloodmnist_vgg16": PublishedResult(
        system="003, VGG-16 with dropout",
        source=f"{_003}, report, figure 11",
        protocol="official test set, which about fifteen models were compared on",
        n=3421,
        correct=3299,
        reported={
            "accuracy": "96.43",
            "f1_weighted": "96.41",
            "support": [244, 624, 311, 579, 243, 284, 666, 470],
        },
    ),
    "mha_efficientnet": PublishedResult(
        system="004, proposed model",
        source=f"{_004}, notebook and report",
        protocol="test set, predictions in shuffled order against labels in file order",
        n=1600,
        classes=("all", "hem"),
        matrix=((752, 339), (361, 148)),
        reported={"precision": ["68%", "30%"], "support": [1091, 509]},
    ),
}
"""Every published result, under the name of its model and, where a source has several, of the source."""
