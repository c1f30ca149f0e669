"""`leukemia-tf list` and `leukemia-tf show`."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest
import yaml

from leukemia_tf import cli
from leukemia_tf.models.figures import recipe_figures
from leukemia_tf.recipes import get_recipe, list_recipes


def printed(capsys, *arguments: str) -> str:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


def test_list_is_a_table_that_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    lines = printed(capsys, "list").splitlines()
    assert lines[0].split()[:3] == ["recipe", "parameters", "GFLOPs"] and set(lines[1]) == {"-", " "}
    assert max(map(len, lines)) <= 150
    assert [line.split()[0] for line in lines[2:] if line[0] != " "] == list_recipes()
    (row,) = [line for line in lines if line.startswith("ensemble ")]
    assert row.split()[1:5] == ["99,181,968", f"{recipe_figures('ensemble')['gflops']:.2f}", "396.7", "002-A:"]


def test_list_as_csv_has_every_column(capsys):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "list", "--csv"))))
    assert [row["recipe"] for row in rows] == list_recipes()
    for row in rows:
        card = get_recipe(row["recipe"]).card
        assert (row["system"], row["reported"], row["protocol"]) == (card.system, card.reported, card.protocol)
    assert {"99181968"} == {row["parameters"] for row in rows if row["recipe"] == "ensemble"}


def test_list_into_a_closed_pipe_says_nothing():
    code = "import sys; from leukemia_tf.cli import main; sys.exit(main(['list', '--csv']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1
    process.stderr.close()


def test_show_has_all_of_a_recipe(capsys):
    text = printed(capsys, "show", "bloodmnist_cnn3")
    recipe = get_recipe("bloodmnist_cnn3")
    assert f"reported:  {recipe.card.reported}" in text and f"source:    {recipe.card.source}" in text
    assert all(f"fault:     {fault}" in text for fault in recipe.card.faults)
    assert "171,624 parameters" in text
    block = text.partition("Recipe\n------\n")[2].partition("\nPipelines\n")[0]
    assert yaml.safe_load(block) == recipe.to_dict()
    for phase in recipe.phases:
        table = text.partition(f"What trains in phase {phase.name!r}")[2].splitlines()
        # Conv 3-16-32-64 of 3 x 3, Dense 64, Dense 8: nothing is frozen in a model without a backbone.
        assert table[4].split()[0] == "head" and table[4].split()[-2:] == ["171,624", "171,624"]
    assert "training" in text and "evaluation" in text


def test_show_of_an_unknown_name_gives_the_closest(capsys):
    assert cli.main(["show", "ensembel"]) == 2
    error = capsys.readouterr().err
    assert "did you mean ensemble" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["list", "--help"], ["show", "--help"]])
def test_help_is_printed(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0 and "usage: leukemia-tf" in capsys.readouterr().out
