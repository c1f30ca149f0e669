"""``leukemia-tf data ...``: list, show, fetch, verify, init and split. It parses, calls and prints."""

from __future__ import annotations

import argparse
import sys
from typing import Callable


def add_data_commands(subparsers, load_tensorflow: Callable[[], None]) -> argparse._SubParsersAction:
    """Add the command ``data`` with its own commands to those of a parser.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
        load_tensorflow: imports TensorFlow quietly; called before images are decoded with it.

    Returns:
        The sub-commands of ``data``, to which further ones (``audit``) can be added.
    """
    data = subparsers.add_parser(
        "data", help="known data sets: list, show, fetch, verify; a manifest and splits of your own"
    )
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="list the known data sets")
    _finish(listing, _list)

    show = commands.add_parser("show", help="all that is known of a data set: licence, counts, splits, faults")
    show.add_argument("name", metavar="NAME", help="name of a data set, or the .yaml file of a manifest")
    _finish(show, _show)

    fetch = commands.add_parser("fetch", help="download a data set and unpack it")
    fetch.add_argument("name", metavar="NAME", help="name of a data set (see `leukemia-tf data list`)")
    fetch.add_argument("--variant", help="which of several: 28, 64, 128 or 224 of bloodmnist")
    fetch.add_argument("--folder", help="where to (default: $LEUKEMIA_TF_DATA/NAME, or else the cache)")
    fetch.add_argument("--keep-archive", action="store_true", help="keep an archive that was unpacked")
    _finish(fetch, _fetch)

    verify = commands.add_parser("verify", help="compare a copy with what is known: counts, names, checksums")
    verify.add_argument("name", metavar="NAME", help="name of a data set, or the .yaml file of a manifest")
    verify.add_argument("path", metavar="PATH", help="folder of the copy, or an NPZ file")
    verify.add_argument(
        "--list", metavar="FILE.csv", dest="listing", help="every file by path, sha256 and size (CSV, perhaps .gz)"
    )
    _finish(verify, _verify)

    init = commands.add_parser("init", help="look at a folder of your own and propose a manifest for it")
    init.add_argument("path", metavar="PATH", help="folder of class folders")
    init.add_argument("--output", metavar="FILE.yaml", help="write it there, in PATH, instead of to standard output")
    _finish(init, _init)

    split = commands.add_parser(
        "split",
        help="write a split, or the folds of a cross-validation, for --split",
        description="Write split.csv, or with folds a file for each: `train RECIPE --split FILE` uses one of them. By "
        "subject wherever subjects are known; identical images, and the groups of --groups, stay together.",
    )
    split.add_argument(
        "data", metavar="PATH_OR_NAME", help="a data set's name, a folder, a CSV table or a MedMNIST .npz"
    )
    split.add_argument("--output", metavar="FOLDER", required=True, help="where to write the files")
    kind = split.add_mutually_exclusive_group()
    kind.add_argument("--folds", type=int, help="so many folds, each the test part once")
    kind.add_argument("--official-folds", action="store_true", help="the folds that came with the data (C-NMC 2019)")
    kind.add_argument(
        "--leave-one-source-out", action="store_true", help="each source (hospital, scanner) the test part once"
    )
    split.add_argument("--repeats", type=int, default=1, help="different partitions into --folds (default: 1)")
    split.add_argument(
        "--level", default="auto", help="auto (by subject where subjects are known), subject, image or official"
    )
    split.add_argument(
        "--fractions", type=float, nargs=3, metavar=("TRAIN", "VAL", "TEST"), default=(0.6, 0.2, 0.2),
        help="shares of a single split (default: 0.6 0.2 0.2)",
    )  # fmt: skip
    split.add_argument(
        "--val-fraction", type=float, default=0.2, help="with folds: what validation takes of the rest (default: 0.2)"
    )
    split.add_argument("--groups", metavar="FILE", help="CSV (path,group) of images to keep together")
    split.add_argument(
        "--allow-leakage", action="store_true", help="permit --level image where subjects are known; runs are stamped"
    )
    split.add_argument("--seed", type=int, default=0, help="seed of the partition (default: 0)")
    split.add_argument("--skip-broken", action="store_true", help="leave broken images out, and count them")
    _finish(split, lambda options: _split(options, load_tensorflow))
    return commands


def _finish(parser: argparse.ArgumentParser, call: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress and no notices, only warnings and results")
    parser.set_defaults(call=call)


def _list(options: argparse.Namespace) -> int:
    from leukemia_tf.data.describe import describe_all

    print("\n".join(describe_all()))
    return 0


def _show(options: argparse.Namespace) -> int:
    from leukemia_tf.data.describe import describe_manifest
    from leukemia_tf.data.manifest import load_manifest

    print("\n".join(describe_manifest(load_manifest(options.name))))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from leukemia_tf.data.fetch import fetch_data

    path = fetch_data(
        options.name,
        folder=options.folder,
        variant=options.variant,
        keep_archive=options.keep_archive,
        progress=not options.quiet,
    )
    print(path)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from leukemia_tf.data.manifest import load_manifest
    from leukemia_tf.data.verify import verify_data

    manifest = load_manifest(options.name)
    found = verify_data(manifest, options.path, listing=options.listing, progress=not options.quiet)
    for fact in found.facts:
        print(fact)
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    if found.ok:
        print(f"{manifest.name}: complete and unaltered, as far as was compared")
    return 0 if found.ok else 1


def _init(options: argparse.Namespace) -> int:
    from leukemia_tf.data.init_manifest import propose_manifest, write_proposal

    proposal = propose_manifest(options.path)
    if options.output is None:
        print(proposal.text(), end="")
        return 0
    file = write_proposal(proposal, options.output)
    print("\n".join([*proposal.facts, *(f"? {line}" for line in proposal.unsure)]))
    print(f"{file}: check it, above all what begins with ?; then --data {file}")
    return 0


def _split(options: argparse.Namespace, load_tensorflow: Callable[[], None]) -> int:
    load_tensorflow()
    from leukemia_tf.data.splitting import split_data

    written = split_data(
        options.data,
        options.output,
        folds=options.folds,
        repeats=options.repeats,
        official_folds=options.official_folds,
        leave_one_source_out=options.leave_one_source_out,
        level=options.level,
        fractions=options.fractions,
        val_fraction=options.val_fraction,
        groups_file=options.groups,
        allow_leakage=options.allow_leakage,
        seed=options.seed,
        skip_broken=options.skip_broken,
        progress=not options.quiet,
    )
    for entry in written:
        print(entry.line())
    if any(entry.leakage for entry in written):
        print("LEAKY SPLIT: subjects are divided; its results are too good, and only measure the leak")
    return 0
