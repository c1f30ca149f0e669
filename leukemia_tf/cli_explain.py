"""The command ``leukemia-tf explain``: it parses, calls and prints."""

from __future__ import annotations

import argparse
from typing import Callable

from leukemia_tf.explain.method_names import METHODS

_MOST_LINES = 20


def add_explain_command(commands, load_tensorflow: Callable[[], None]) -> None:
    """Add ``explain`` to the subparsers `commands`.

    Args:
        commands: what ``add_subparsers`` gave.
        load_tensorflow: imports TensorFlow quietly; called before the model is loaded.
    """
    parser = commands.add_parser(
        "explain",
        help="show what in an image a trained run decided by",
        description="Maps of what spoke for a class, a picture for each image and method, and with --check figures "
        "that say whether a map is evidence: deletion and insertion beside chance, and what remains of it when the "
        "weights are shuffled.",
    )
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--method",
        action="append",
        choices=METHODS,
        help="what to explain with; give it again for several (default: grad_cam)",
    )
    parser.add_argument(
        "--class", dest="class_name", metavar="NAME", help="the class to explain (default: what is predicted)"
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="layer whose map Grad-CAM or attention takes (default: the last map)"
    )
    parser.add_argument(
        "--check", action="store_true", help="test the maps; some hundred predictions for each image and method"
    )
    parser.add_argument("--output", metavar="FOLDER", help="where to write (default: explanations in the run)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffled weights of --check (default: 0)")
    parser.add_argument("--skip-broken", action="store_true", help="leave broken images out, and count them")
    parser.add_argument("--quiet", action="store_true", help="no progress and no notices, only warnings and results")
    parser.set_defaults(call=lambda options: _explain(options, load_tensorflow))


def _explain(options: argparse.Namespace, load_tensorflow: Callable[[], None]) -> int:
    from leukemia_tf.recipes.explain import explain_images
    from leukemia_tf.recipes.run import RESEARCH_USE, load_run

    run = load_run(options.run)
    load_tensorflow()
    found = explain_images(
        run,
        options.images,
        methods=options.method or ["grad_cam"],
        class_name=options.class_name,
        layer=options.layer,
        check=options.check,
        output=options.output,
        skip_broken=options.skip_broken,
        progress=not options.quiet,
        seed=options.seed,
    )
    rows = found["frame"].drop_duplicates("path").to_dict("records")
    for row in rows[:_MOST_LINES]:
        probability = row[f"prob_{row['prediction']}"]
        print(f"{row['path']}: {row['prediction']} ({probability:.3f}), explained for {row['explained']}")
    if len(rows) > _MOST_LINES:
        print(f"... and {len(rows) - _MOST_LINES:,} more in explanations.csv")
    for method, verdict in found["verdicts"].items():
        print(f"{method}: {verdict}")
    print(f"to look at:  {found['folder'] / 'explanations.html'}")
    print(f"figures:     {found['folder'] / 'explanations.csv'}")
    if run.info["manifest"].get("synthetic", False):
        print("SYNTHETIC DATA: trained on rendered images; nothing here says anything of patients.")
    print(RESEARCH_USE)
    return 0
