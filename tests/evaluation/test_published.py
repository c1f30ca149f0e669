"""The published matrices give the corrected figures, and what cannot be true in the reports is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.contradictions import check_confusion
from leukemia_tf.evaluation.published import PUBLISHED


def pairs(matrix):
    counts = np.array(matrix)
    rows, columns = np.indices(counts.shape)
    return np.repeat(rows.ravel(), counts.ravel()), np.repeat(columns.ravel(), counts.ravel())


@pytest.mark.parametrize(
    "name, accuracy, n",
    [
        ("mlffakd_teacher", 0.9861, 360),
        ("mlffakd_student", 0.9833, 360),
        ("attention_cnn_validation", 0.9553, 2326),
        ("attention_cnn_article", 0.9789, 2084),
        ("ensemble_notebook", 0.9350, 800),
        ("filter_token", 0.9122, 592),
        ("bloodmnist_vgg16", 0.9643, 3421),
        ("mha_efficientnet", 0.5625, 1600),
    ],
)
def test_corrected_accuracy(name, accuracy, n):
    result = PUBLISHED[name]
    assert round(result.accuracy, 4) == accuracy and result.n == n
    if result.matrix is not None:
        assert result.accuracy == pytest.approx(sk.accuracy_score(*pairs(result.matrix)))
        assert np.sum(result.matrix) == n


def test_corrected_f1_of_the_attention_cnn():
    labels, predictions = pairs(PUBLISHED["attention_cnn_validation"].matrix)
    assert round(sk.f1_score(labels, predictions, average="weighted"), 4) == 0.9555


@pytest.mark.parametrize(
    "name",
    [
        "mlffakd_teacher",
        "mlffakd_student",
        "attention_cnn_validation",
        "ensemble_notebook",
        "filter_token",
        "bloodmnist_vgg16",
    ],
)
def test_what_agrees_is_not_flagged(name):
    assert PUBLISHED[name].contradictions() == []


def test_readme_of_the_ensemble():
    first = PUBLISHED["ensemble_readme_a"].contradictions()
    assert "the matrix sums to 777, not to n = 800" in first
    assert "accuracy is reported as 94.25%, the matrix gives 738 / 777 = 94.98 %" in first
    assert "precision of class 1 is reported as 91%, the matrix gives 95.47 %" in first  # 358 / 375
    assert "recall of class 0 is reported as 98%, the matrix gives 95.72 %" in first  # 380 / 397
    # 2 * .945 * .975 / (.945 + .975) and so on: at most the mean of .9695 and .9299.
    assert any(line.startswith("f1_macro is reported as 96%; precision and recall of the classes") for line in first)
    second = PUBLISHED["ensemble_readme_b"].contradictions()
    assert second == ["accuracy is reported as 94.25%, the matrix gives 738 / 800 = 92.25 %"]


def test_readme_of_the_distilled_student():
    lines = PUBLISHED["mlffakd_student_readme"].contradictions()
    assert lines == ["f1 98.44% is above both precision and recall (98.39% and 98.33%), which no average allows"]
    lines = PUBLISHED["mlffakd_teacher_readme"].contradictions()
    assert len(lines) == 2 and "recall 98.33% must equal the accuracy 98.61% (classes of equal size)" in lines


def test_shuffled_predictions_are_found():
    lines = PUBLISHED["mha_efficientnet"].contradictions()
    # Expected counts 758.9, 332.1, 354.1, 154.9: (6.9 ** 2) * (1 / 758.9 + 1 / 332.1 + 1 / 354.1 + 1 / 154.9) = .65
    p_value = stats.chi2.sf(0.65, 1)
    assert lines == [
        f"the predictions do not depend on the labels (chi-squared test, p = {p_value:.2f}): as if they were paired "
        "at random"
    ]


def test_an_auc_below_the_operating_point_is_found():
    (line,) = PUBLISHED["attention_cnn_article"].contradictions()
    # 1076 / 1102 * 964 / 982 = .9585 is the area of the lowest curve through the point.
    assert line.startswith("auc is reported as 93.77; a ROC curve") and "95.85 to 99.96 %" in line


@pytest.mark.parametrize("seed", range(20))
def test_the_auc_of_real_scores_is_never_flagged(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 40)
    scores = np.round(generator.normal(size=40) + labels * generator.normal(), 1)
    for threshold in (-0.5, 0.0, 0.7):
        matrix = sk.confusion_matrix(labels, scores >= threshold, labels=[0, 1])
        assert check_confusion(matrix, 40, {"auc": f"{sk.roc_auc_score(labels, scores):.3f}"}) == []


@pytest.mark.parametrize("seed", range(20))
def test_figures_of_a_matrix_are_never_flagged(seed):
    generator = np.random.default_rng(seed)
    n_classes = 2 + seed % 4
    labels = np.concatenate([np.arange(n_classes), generator.integers(0, n_classes, 70)])
    predictions = np.where(generator.random(len(labels)) < 0.6, labels, generator.integers(0, n_classes, len(labels)))
    digits = seed % 3 + 1
    p, r, f, support = sk.precision_recall_fscore_support(labels, predictions, zero_division=0)
    reported = {"precision": p, "recall": r, "f1": f, "accuracy": sk.accuracy_score(labels, predictions)}
    for average in ("macro", "weighted"):
        values = sk.precision_recall_fscore_support(labels, predictions, average=average, zero_division=0)
        reported.update({f"{key}_{average}": value for key, value in zip(("precision", "recall", "f1"), values)})
    texts = {k: [f"{x:.{digits}f}" for x in v] if np.ndim(v) else f"{100 * v:.{digits}f}%" for k, v in reported.items()}
    matrix = sk.confusion_matrix(labels, predictions)
    assert check_confusion(matrix, len(labels), {**texts, "support": list(support)}) == []
    recalls = {"recall": texts["recall_macro"], "f1": texts["f1"][0], "precision": texts["precision_weighted"]}
    assert not any("the matrix gives" in line for line in check_confusion(matrix, reported=recalls))
    moved = f"{100 * reported['accuracy'] + 3:.2f}%"
    assert any("accuracy is reported as" in line for line in check_confusion(matrix, reported={"accuracy": moved}))


def test_further_contradictions():
    assert check_confusion(None, 360, {"accuracy": "98.45"}) == [
        "no number of right images out of 360 gives an accuracy of 98.45"
    ]  # 354 / 360 = 98.33, 355 / 360 = 98.61
    assert check_confusion(None, 10, {"support": [4, 5]}) == [
        "the reported images of each class sum to 9, not to n = 10"
    ]
    assert check_confusion([[3, -1], [0, 2]]) == ["the matrix holds -1, which is no count"]
    assert check_confusion([[0, 0], [0, 0]]) == ["the matrix holds no image"]
    assert check_confusion([[5, 5], [2, 8]], reported={"support": [9, 11]}) == [
        "the matrix has [10, 10] images of each class, reported are [9, 11]"
    ]
    lines = check_confusion([[5, 5], [2, 8]], reported={"f1": "0.99"})
    assert lines == ["f1 is reported as 0.99, the matrix gives (classes, macro, weighted) 58.82, 69.57, 64.19, 64.19 %"]
    lines = check_confusion(None, reported={"precision": ".80", "recall": ".90", "f1": ".88"})
    assert lines == ["f1 .88 is above the mean of precision and recall (.80 and .90), which no average allows"]
    lines = check_confusion(None, reported={"precision": [0.9, 0.8], "recall": [0.9, 0.8], "f1": [0.7, 0.8]})
    assert len(lines) == 1 and lines[0].startswith("f1 of class 0 is reported as 0.7; its precision and recall give")


def test_rounding_and_truncation_are_both_allowed():
    matrix = [[1, 1], [0, 1]]  # 2 / 3
    for text in ("66.67", "66.66", ".667", ".66", "67 %", 0.6667, 66.7):
        assert check_confusion(matrix, 3, {"accuracy": text}) == []
    assert len(check_confusion(matrix, 3, {"accuracy": "66.68"})) == 2
    assert check_confusion([[2, 0], [0, 1]], 3, {"accuracy": "100.00 %", "f1_macro": "1.000"}) == []
    assert check_confusion([[0, 2], [1, 0]], 3, {"accuracy": "0.00"}) == []


@pytest.mark.parametrize(
    "matrix, reported, message",
    [
        ([[1, 2, 3], [4, 5, 6]], {}, r"`matrix` must be square, \[C, C\] of 2 classes or more; received \[2, 3\]"),
        ([[1, 2], [3, "x"]], {}, "`matrix` must hold numbers, rows of equal length; received"),
        ([[1, 2], [3]], {}, "`matrix` must hold numbers, rows of equal length; received"),
        (None, {"speed": 1}, "`reported` must have keys of accuracy, .*; received 'speed'"),
        (None, {"accuracy": "high"}, "`accuracy` must be a share, .*; received 'high'"),
        (None, {"accuracy": 135}, "`accuracy` must lie between 0 and 100 %; received 135"),
        (None, {"accuracy": [0.9]}, r"`accuracy` must be one figure; received \[0.9\]"),
        ([[1, 2], [3, 4]], {"recall": [0.1]}, "`recall` must list one figure for each of 2 classes; received 1"),
        (None, {"support": 9}, "`support` must be a list of counts; received 9"),
        (None, {"accuracy": True}, "`accuracy` must be a share, .*; received True"),
    ],
)
def test_wrong_input(matrix, reported, message):
    with pytest.raises(InputError, match=message):
        check_confusion(matrix, reported=reported)
