"""``leukemia-tf report``: the page, the model card and the metadata of a run again. It parses, calls and prints."""

from __future__ import annotations

import argparse


def add_report_command(subparsers) -> argparse.ArgumentParser:
    """Add ``report`` to the commands; ``options.call(options)`` runs it and returns the exit code."""
    parser = subparsers.add_parser(
        "report",
        help="write a run's report, model card and metadata again, or check every number of them",
        description="Write report.html, model_card.md and metadata.json from the files of a run. With --verify nothing "
        "is written: decision.json is fitted again to predictions_val.csv, every figure is computed again from "
        "predictions.csv, and every digit that differs is named; exit code 1 if one does.",
    )
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--verify", action="store_true", help="compute everything again and compare; write nothing")
    parser.add_argument("--audit", metavar="FOLDER", help="add the summary of an audit of the run's data")
    parser.add_argument("--quiet", action="store_true", help="no notices, only warnings and results")
    parser.set_defaults(call=run_report)
    return parser


def run_report(options: argparse.Namespace) -> int:
    """Write or verify, and print."""
    from leukemia_tf.errors import InputError, RunError
    from leukemia_tf.recipes.evaluate import verify
    from leukemia_tf.recipes.report import verify_report, write_run_report
    from leukemia_tf.recipes.run import RESEARCH_USE, load_run

    run = load_run(options.run)
    if options.verify:
        if options.audit:
            raise InputError("`--verify` writes nothing, so it goes without `--audit`. Received: both")
        verify(run)
        wrong = verify_report(run)
        if wrong:
            raise RunError("\n".join([f"`{run.path}`: the report does not follow from the run's files:", *wrong]))
        print("every number follows from predictions_val.csv and predictions.csv, to the last digit")
    else:
        for path in write_run_report(run, options.audit):
            print(path)
    print(RESEARCH_USE)
    return 0
