"""What is done to every row of a table, against how one would write it with pathlib and a loop."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data.table import SPLITS, crossing_subjects, relative_path


@pytest.mark.parametrize("root", ["/data/set", "/"])
@pytest.mark.parametrize(
    "file", ["/data/set/a/b.png", "/data/settled/b.png", "/data/set/../b.png", "/data/set/x//y.png", "/b"]
)
def test_relative_path_is_pathlib_s(file, root):
    absolute = pathlib.Path(os.path.abspath(file))
    expected = absolute.relative_to(root) if absolute.is_relative_to(root) else absolute
    assert relative_path(file, pathlib.Path(root)) == expected.as_posix()
    assert relative_path(pathlib.Path(file), pathlib.Path(root)) == expected.as_posix()


def test_crossing_subjects_are_those_of_a_loop():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"subject": random.choice(["", *"abcdefgh"], 60), "split": random.choice(["", *SPLITS], 60)})
    expected = []
    for subject in "abcdefgh":
        found = set(table["split"][table["subject"] == subject]) - {""}
        if len(found) > 1:
            expected.append(f"subject `{subject}` lies in {', '.join(s for s in SPLITS if s in found)}")
    assert crossing_subjects(table) == expected and 3 < len(expected)
    assert crossing_subjects(table[:0]) == []
