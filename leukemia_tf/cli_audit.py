"""The command ``leukemia-tf audit``: it parses, calls and prints."""

from __future__ import annotations

import argparse
import pathlib

NOTICE = "Research use only. Not a medical device."


def add_audit_command(subparsers) -> argparse.ArgumentParser:
    """Add ``audit`` to the commands; ``options.call(options)`` runs it and returns the exit code."""
    parser = subparsers.add_parser(
        "audit",
        help="look for broken files, copies, leaks and shortcuts in a data set",
        description="Read every image once; look for broken files, for copies within and across splits and classes, "
        "and for what gives the label away. Nothing is changed. Exit code 1 if a copy or a subject lies in two splits.",
    )
    parser.add_argument(
        "data", metavar="PATH_OR_NAME", help="a data set's name, a folder, a CSV table or a MedMNIST .npz"
    )
    parser.add_argument(
        "--split", metavar="FILE", help="CSV file with the columns path and split, such as a run's table.csv"
    )
    parser.add_argument("--output", metavar="FOLDER", help="where to write (default: audits/<name of the data>)")
    parser.add_argument(
        "--clean", metavar="FILE.csv", help="write the table without broken files, contradictory labels and copies"
    )
    parser.add_argument("--no-shortcuts", action="store_true", help="do not measure what gives the label away")
    parser.add_argument("--seed", type=int, default=0, help="seed of samples and folds (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress and no notices, only warnings and results")
    parser.set_defaults(call=run_audit, skip_broken=True)
    return parser


def run_audit(options: argparse.Namespace) -> int:
    """Audit, write, print; returns 1 when the audit found leakage, else 0."""
    from leukemia_tf.data.audit import audit_table
    from leukemia_tf.data.audit.cleaned_file import write_cleaned
    from leukemia_tf.data.audit.opening import open_for_audit

    manifest, table = open_for_audit(options.data)
    audit = audit_table(
        manifest,
        table,
        split=options.split,
        shortcuts=not options.no_shortcuts,
        progress=not options.quiet,
        seed=options.seed,
    )
    folder = pathlib.Path(options.output or pathlib.Path("audits") / manifest.name)
    report = audit.write(folder)
    for line in audit.lines():
        print(line)
    for entry in audit.findings[audit.findings["severity"].isin(["leak", "error"])].head(20).to_dict("records"):
        other = f" and `{entry['other']}`" if entry["other"] else ""
        print(f"{entry['severity']}: {entry['kind']}: `{entry['path']}`{other}: {entry['detail']}")
    grave = int(audit.findings["severity"].isin(["leak", "error"]).sum())
    if grave > 20:
        print(f"... and {grave - 20:,} more in {folder / 'findings.csv'}")
    print(f"report:      {report}")
    if options.clean:
        cleaned = write_cleaned(audit, options.clean)
        print(f"cleaned:     {options.clean} ({len(cleaned):,} of {len(table):,} images; what went is beside it)")
    if audit.leaks:
        print("LEAKAGE: the same picture or subject lies in two splits")
    print(NOTICE)
    return 1 if audit.leaks else 0
