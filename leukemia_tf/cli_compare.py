"""``leukemia-tf compare``, and ``--folds`` and ``--seeds`` of a training: they parse, call and print."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from leukemia_tf.cli_zoo import print_table

if TYPE_CHECKING:
    from leukemia_tf.recipes import Recipe


def add_compare_command(commands) -> None:
    """Add ``compare`` to the subparsers `commands`."""
    parser = commands.add_parser(
        "compare",
        help="compare runs on the same test images: paired intervals, tests corrected for being many",
        description="Compare runs that were judged on the same images. A run may also be a folder under its "
        "evaluations/, or a repeated run with pooled predictions.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, two or more")
    parser.add_argument(
        "--metrics", metavar="NAME,...", help="what to compare (default: accuracy,balanced_accuracy,auc)"
    )
    parser.add_argument("--baseline", metavar="RUN", help="compare each other run with this one, not every pair")
    parser.add_argument("--output", metavar="FOLDER", help="where to write (default: one under comparisons/)")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(call=_compare)


def add_repeat_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--folds`` and ``--seeds`` to the arguments of a training."""
    parser.add_argument(
        "--folds", type=int, metavar="N", help="cross-validation: N runs in one folder, each image tested once"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="N runs with the seeds from --seed on; with --folds, N cross-validations"
    )


def run_repeated(options: argparse.Namespace, recipe: Recipe, run_dir) -> int:
    """Train `recipe` as often as `options` ask for; print the summary."""
    from leukemia_tf.recipes.repeat import repeat_recipe
    from leukemia_tf.recipes.run import RESEARCH_USE
    from leukemia_tf.recipes.summary import HEADER, summary_rows

    group = repeat_recipe(
        recipe,
        run_dir,
        folds=options.folds,
        seeds=options.seeds,
        progress=not options.quiet,
        command=options.command,
    )
    summary = group.summary
    if summary:
        if summary["stamp"]:
            print(summary["stamp"])
        print(f"{summary['finished']} of {summary['planned']} runs are finished")
        print_table(HEADER, summary_rows(summary), right=(1, 2))
        for line in summary["how"]:
            print(line)
        print(f"summary:     {group.path / 'summary.html'}")
    if group.missing:
        print(f"missing:     {', '.join(group.missing)}; the same command goes on with them")
    if summary and summary["synthetic"]:
        print("SYNTHETIC DATA: trained on rendered images; nothing here says anything of patients.")
    print(RESEARCH_USE)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from leukemia_tf.recipes.compare import DIFFERENCE_HEADER, METRICS, compare_runs, difference_rows, value_rows
    from leukemia_tf.recipes.run import RESEARCH_USE

    metrics = [name.strip() for name in options.metrics.split(",")] if options.metrics else METRICS
    found = compare_runs(
        options.runs,
        metrics=metrics,
        baseline=options.baseline,
        output=options.output,
        bootstrap=options.resamples,
        seed=options.seed,
    )
    for notice in found.notices:
        print(notice)
    print_table(["run", *(name.replace("_", " ") for name in metrics)], value_rows(found.values))
    print()
    print_table(DIFFERENCE_HEADER, difference_rows(found.differences), right=(4, 5))
    for line in found.lines:
        print(line)
    print(f"written to:  {found.folder / 'comparison.html'}, .csv, .json, .png")
    print(RESEARCH_USE)
    return 0
