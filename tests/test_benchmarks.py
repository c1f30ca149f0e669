"""The table of goals: a figure on the right side is met, on the wrong side not, and none is no figure at all."""

from __future__ import annotations

import pathlib
import sys

import pandas as pd
import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "experiments" / "benchmarks"


@pytest.fixture
def goals(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("goals", "machine", "all"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import goals

    yield goals
    for name in ("goals", "machine", "all"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "value, at_least, met", [(5.0, True, "yes"), (4.9, True, "no"), (4.9, False, "yes"), (5.0, False, "no")]
)
def test_a_goal_is_met_on_its_side(goals, value, at_least, met):
    row = goals.row("LiteRT", value, 5, at_least=at_least)
    assert row["met"] == met and row["measured"] == f"{value:.3g}x"
    assert row["wanted"] == ("at least 5x" if at_least else "under 5x")


def test_a_further_condition_counts_and_no_figure_is_no_verdict(goals):
    assert goals.row("whole run", 4.0, 3, also=False)["met"] == "no"
    assert goals.row("whole run", float("nan"), 3)["met"] == "not measured"


def test_every_goal_is_there_without_any_file(goals, tmp_path):
    rows = goals.measure_goals(tmp_path)
    assert len(rows) == len(goals.SOURCES) and {row["met"] for row in rows} == {"not measured"}


def test_every_file_that_was_written_is_read(goals):
    """The columns that the goals ask for are those of the benchmarks' files."""
    rows = pd.DataFrame(goals.measure_goals())
    assert list(rows) == ["part", "goal", "wanted", "measured", "met", "file"]
    written = [(goals.RESULTS / file).exists() for file in rows["file"]]
    assert any(written) and rows["met"][written].isin(["yes", "no"]).all(), rows[written]


def test_a_benchmark_that_fails_or_hangs_is_told_apart(goals, capfd):
    import all as runner

    assert runner.run([sys.executable, "-c", "pass"], 60) == "done"
    assert runner.run([sys.executable, "-c", "raise SystemExit(3)"], 60) == "failed (3)"
    assert runner.run([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) == "stopped at its limit"


def test_commands_name_no_folder_of_the_machine(goals):
    import all as runner

    assert runner._shown(str(FOLDER / "start.py")) == "experiments/benchmarks/start.py"
    assert runner._shown("/somewhere/else/bloodmnist.npz") == "bloodmnist.npz"
    assert runner._shown("--quick") == "--quick"
