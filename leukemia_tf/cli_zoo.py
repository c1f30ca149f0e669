"""``leukemia-tf list`` and ``leukemia-tf show``: what recipes there are, and what one of them does."""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
import sys
import textwrap
from typing import Any, Callable, Sequence

_TEXT_WIDTH = 24
"""The least width of a column of sentences."""


def add_zoo_commands(commands, load_tensorflow: Callable[[], None]) -> None:
    """Add ``list`` and ``show`` to the subparsers `commands`.

    Args:
        commands: what ``add_subparsers`` gave.
        load_tensorflow: imports TensorFlow quietly; called before a model is built.
    """
    listing = commands.add_parser("list", help="list the recipes: size, cost, system, what its authors reported")
    listing.add_argument("--csv", action="store_true", help="as CSV, with all columns and whole numbers")
    listing.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    listing.set_defaults(call=_list)

    show = commands.add_parser(
        "show", help="show a recipe: source, faults corrected, every field, its pipelines, what trains in each phase"
    )
    show.add_argument("recipe")
    show.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    show.set_defaults(call=lambda options: _show(options, load_tensorflow))


def _list(options: argparse.Namespace) -> int:
    from leukemia_tf.recipes.show import list_rows

    rows = list_rows()
    if options.csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return 0
    header = ["recipe", "parameters", "GFLOPs", "MB", "reference", "reported by its authors", "on"]
    cells = [
        [
            row["recipe"],
            _number(row["parameters"], ",d"),
            _number(row["gflops"], ".2f"),
            _number(row["megabytes"], ".1f"),
            f"{row['system']}: {row['source']}" if row["system"] else "our own",
            row["reported"],
            row["protocol"],
        ]
        for row in rows
    ]
    print_table(header, cells, right=(1, 2, 3), wrapped=(4, 5, 6))
    return 0


def _show(options: argparse.Namespace, load_tensorflow: Callable[[], None]) -> int:
    import yaml

    from leukemia_tf.recipes.registry import describe_recipe, get_recipe
    from leukemia_tf.recipes.show import list_rows, open_layers_by_phase, pipelines

    recipe = get_recipe(options.recipe)
    print(describe_recipe(recipe.name).strip())
    _heading("Published")
    card = recipe.card
    print(f"system:    {card.system or 'our own'}\nsource:    {card.source or '-'}")
    print(f"reported:  {card.reported or 'nothing'}\nprotocol:  {card.protocol or '-'}")
    for fault in card.faults:
        print(f"fault:     {fault}")
    _heading("Cost of one image")
    (row,) = list_rows([recipe.name])
    print(f"{_number(row['parameters'], ',d')} parameters, {_number(row['gflops'], '.2f')} GFLOPs, ", end="")
    print(f"{_number(row['megabytes'], '.1f')} MB, {row['image_size']} x {row['image_size']} pixels")
    _heading("Recipe")
    print(yaml.safe_dump(recipe.to_dict(), sort_keys=False).rstrip())
    sys.stdout.flush()
    load_tensorflow()
    _heading("Pipelines")
    print_table(["training", "evaluation"], [list(pair) for pair in pipelines(recipe)], wrapped=(0, 1))
    for phase, layers in open_layers_by_phase(recipe):
        _heading(f"What trains in phase {phase!r}")
        cells = [
            [row["backbone"], str(row["layers"]), str(row["open"]), f"{row['parameters']:,}", f"{row['trainable']:,}"]
            for row in layers
        ]
        print_table(["part", "layers", "open", "parameters", "trainable"], cells, right=(1, 2, 3, 4))
    return 0


def _heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def _number(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), wrapped: Sequence[int] = ()
) -> None:
    """Print columns under their headers; `right` are aligned to the right, `wrapped` share the rest of the line."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if wrapped:
        others = sum(width + 2 for index, width in enumerate(widths) if index not in wrapped)
        share = (shutil.get_terminal_size((150, 24)).columns - others) // len(wrapped) - 2
        for index in wrapped:
            widths[index] = min(widths[index], max(_TEXT_WIDTH, share))
    for number, row in enumerate([header, ["-" * width for width in widths], *rows]):
        folded = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for line in itertools.zip_longest(*folded, fillvalue=""):
            cells = [
                cell.rjust(width) if index in right else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
