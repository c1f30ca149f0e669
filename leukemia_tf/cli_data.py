"""``leukemia-tf data ...``: list, show, fetch, verify and init. It parses, calls and prints."""

from __future__ import annotations

import argparse
import sys
from typing import Callable


def add_data_commands(subparsers) -> argparse._SubParsersAction:
    """Add the command ``data`` with its own commands to those of a parser.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.

    Returns:
        The sub-commands of ``data``, to which further ones (``audit``) can be added.
    """
    data = subparsers.add_parser("data", help="known data sets: list, show, fetch, verify; a manifest for your own")
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
