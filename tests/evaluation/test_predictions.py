"""predictions.csv keeps every path and every bit of a float, and refuses what is not a prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.predictions import make_predictions, read_predictions, write_predictions

AWKWARD = [
    "plain.png",
    "a, comma.png",
    'a "quote".png',
    "line\nfeed.png",
    "carriage\rreturn.png",
    "both\r\nends.png",
    " spaces .png",
    "NA",
    "file.npz#test_images/17",
    "Übergröße/白血病.png",
    "not-utf8-\udcff.png",
    "<script>alert(1)</script>.png",
]


def table(labels, paths=None, subjects=None):
    paths = paths or [f"image{i}.png" for i in range(len(labels))]
    columns = {"path": paths, "subject": subjects or [""] * len(labels), "label": labels}
    return pd.DataFrame(columns, dtype=object)  # a pandas string cannot hold a name that is not UTF-8


def test_sigmoid_becomes_two_columns():
    frame = make_predictions(table(["hem", "all", ""]), np.array([[0.2], [0.5], [0.9]]), ["hem", "all"])
    assert list(frame.columns) == ["path", "subject", "label", "prediction", "prob_hem", "prob_all"]
    assert frame["prediction"].tolist() == ["hem", "all", "all"]
    assert frame["prob_hem"].tolist() == [1 - 0.2, 0.5, 1 - 0.9]
    assert frame["label"].tolist() == ["hem", "all", ""]


def test_threshold_moves_the_prediction_of_the_second_class():
    frame = make_predictions(table(["a"] * 3), np.array([0.69, 0.7, 0.71]), ["a", "b"], threshold=0.7)
    assert frame["prediction"].tolist() == ["a", "b", "b"]


def test_argmax_above_two_classes_and_float32_is_kept():
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], dtype=np.float32)
    frame = make_predictions(table(["x", "y"]), probabilities, ["x", "y", "z"])
    assert frame["prediction"].tolist() == ["y", "x"]
    assert frame["prob_y"].tolist() == [float(np.float32(0.7)), float(np.float32(0.3))]


def test_rounding_errors_are_not_faults():
    frame = make_predictions(table(["a", "b"]), np.array([[1 + 2e-7, -2e-7], [0.0, 1 + 1e-6]]), ["a", "b"])
    assert frame[["prob_a", "prob_b"]].to_numpy().tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_table_without_subject_and_label():
    frame = make_predictions(pd.DataFrame({"path": ["a.png"]}), np.array([[0.3]]), ["a", "b"])
    assert frame.loc[0, ["subject", "label", "prediction"]].tolist() == ["", "", "a"]


@pytest.mark.parametrize(
    "probabilities, options, expected",
    [
        (np.zeros((2, 3)), {}, r"shape \[3, 2\].*received \[2, 3\]"),
        (np.array([0.1, np.nan, 0.2]), {}, r"`probabilities`, row 1: `prob_a` must be a number in \[0, 1\]"),
        (np.array([0.1, 0.2, 1.5]), {}, "row 2: `prob_a` must be"),
        (np.array([[0.1, 0.2], [0.5, 0.5], [1, 0]]), {}, "row 0: the probabilities must sum to 1; received .* 0.3"),
        (np.array([0.1, 0.2, 0.3]), {"threshold": 1.0}, "`threshold` must lie between 0 and 1; received 1.0"),
    ],
)
def test_bad_probabilities(probabilities, options, expected):
    with pytest.raises(InputError, match=expected):
        make_predictions(table(["a", "b", "a"]), probabilities, ["a", "b"], **options)


def test_other_wrong_uses():
    with pytest.raises(InputError, match="row 0: `label` must be one of a, b or \"\"; received 'c'"):
        make_predictions(table(["c"]), np.array([0.1]), ["a", "b"])
    with pytest.raises(InputError, match="each different and not empty"):
        make_predictions(table(["a"]), np.array([0.1]), ["a", "a"])
    with pytest.raises(InputError, match="`threshold` is for two classes"):
        make_predictions(table(["a"]), np.array([[0.1, 0.2, 0.7]]), ["a", "b", "c"], threshold=0.7)


@pytest.mark.parametrize("paths", [AWKWARD, AWKWARD[:4]])
def test_round_trip_is_exact(tmp_path, paths):
    generator = np.random.default_rng(0)
    classes = ["plain", 'with, comma and "quote"', "<script>", "line\nfeed"]
    raw = generator.dirichlet(np.full(4, 0.05), size=len(paths))
    raw[0] = [5e-324, 1.0, 0.0, 0.1 + 0.2 - 0.3]
    labels = [classes[i % 4] for i in range(len(paths))]
    frame = make_predictions(table(labels, paths, ["s, 1"] * len(paths)), raw, classes)
    write_predictions(tmp_path / "predictions.csv", frame)
    back, names = read_predictions(tmp_path / "predictions.csv")
    assert names == tuple(classes)
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    assert back.iloc[:, 4:].to_numpy().tobytes() == frame.iloc[:, 4:].to_numpy().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_an_empty_frame_round_trips(tmp_path):
    frame = make_predictions(table([]), np.empty((0, 2)), ["a", "b"])
    write_predictions(tmp_path / "p.csv", frame)
    back, names = read_predictions(tmp_path / "p.csv")
    assert names == ("a", "b") and len(back) == 0


HEADER = "path,subject,label,prediction,prob_a,prob_b\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "cannot be read"),
        ("path,label\nx,a\n", "must have the columns path, subject, label, prediction"),
        (HEADER + "x,,a,a,0.5,half\n", "row 1: `prob_b` must be a number in .0, 1.; received 'half'"),
        (HEADER + "x,,a,a,0.5,0.5\ny,,a,a,nan,0.5\n", "row 2: `prob_a` must be a number in .0, 1.; received nan"),
        (HEADER + "x,,a,a,-0.5,1.5\n", "row 1: `prob_a` must be a number in .0, 1.; received -0.5"),
        (HEADER + "x,,a,a,0.5,0.49\n", "row 1: the probabilities must sum to 1; received a sum of 0.99"),
        (HEADER + "x,,c,a,0.5,0.5\n", "row 1: `label` must be one of a, b or \"\"; received 'c'"),
        (HEADER + "x,,a,,0.5,0.5\n", "row 1: `prediction` must be one of a, b; received ''"),
        (HEADER + "x,,a,a,0.5\n", "row 1: `prob_b` must be a number"),
        (HEADER + "x,,a,a,0.5,0.5,0.5\n", "columns|cannot be read|must be"),
    ],
)
def test_bad_files_are_named_with_their_row(tmp_path, text, expected):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_all_faults_are_listed_up_to_twenty(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(HEADER + "x,,a,a,2,2\n" * 25)
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    lines = str(caught.value).split("\n")
    assert len(lines) == 21 and "row 20:" in lines[19] and "5 more" in lines[20]


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_predictions(tmp_path / "none.csv")


def test_subjects_and_labels_become_text_and_what_is_missing_becomes_empty():
    subjects = pd.Series([1, None, float("nan"), "x"], dtype=object)
    table = pd.DataFrame({"path": ["a", "b", "c", "d"], "subject": subjects})
    table["label"] = pd.Series(["no", pd.NA, None, "yes"], dtype=object)
    frame = make_predictions(table, np.full(4, 0.25), ("no", "yes"))
    assert frame["subject"].tolist() == ["1", "", "", "x"]
    assert frame["label"].tolist() == ["no", "", "", "yes"]
    unlabelled = make_predictions(table[["path"]], np.full(4, 0.25), ("no", "yes"))
    assert unlabelled["label"].tolist() == [""] * 4
