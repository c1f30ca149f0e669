"""``leukemia-tf export``: a trained run for other runtimes, compared with Keras before it is kept."""

from __future__ import annotations

import argparse
from typing import Callable


def add_export_command(commands, load_tensorflow: Callable[[], None]) -> None:
    """Add ``export`` to the subparsers `commands`.

    Args:
        commands: what ``add_subparsers`` gave.
        load_tensorflow: imports TensorFlow quietly; called before the model is loaded.
    """
    export = commands.add_parser(
        "export",
        help="write a run's model as SavedModel, LiteRT (float32 or 8 bits) or ONNX, each compared with Keras first",
    )
    export.add_argument("run", help="folder of a run")
    export.add_argument(
        "--to",
        nargs="+",
        required=True,
        metavar="FORMAT",
        help="saved_model, litert, litert-int8, onnx: one or several",
    )
    export.add_argument("--output", metavar="FOLDER", help="write there instead of into the run; a folder a format")
    export.add_argument("--data", help="where the run's images are now, if not where they were")
    export.add_argument(
        "--max-difference",
        type=float,
        metavar="P",
        help="fail where a probability differs by more (default: 0.001, and 1 for litert-int8)",
    )
    export.add_argument(
        "--max-accuracy-loss",
        type=float,
        metavar="SHARE",
        help="fail where accuracy on the validation images falls by more (default: 0.005)",
    )
    export.add_argument("--images", type=int, default=2000, help="validation images compared at most (default: 2000)")
    export.add_argument(
        "--calibration-images", type=int, default=200, help="training images that 8 bits are fitted to (default: 200)"
    )
    export.add_argument("--quiet", action="store_true", help="no progress, only warnings and results")
    export.set_defaults(call=lambda options: _export(options, load_tensorflow))


def _export(options: argparse.Namespace, load_tensorflow: Callable[[], None]) -> int:
    from leukemia_tf.recipes.export import export_run
    from leukemia_tf.recipes.run import RESEARCH_USE, load_run

    run = load_run(options.run)
    load_tensorflow()
    table = export_run(
        run,
        options.to,
        output=options.output,
        data=options.data,
        max_difference=options.max_difference,
        max_accuracy_loss=options.max_accuracy_loss,
        images=options.images,
        calibration_images=options.calibration_images,
        progress=not options.quiet,
    )
    for row in table.itertuples():
        print(
            f"{row.format + ':':13} {row.bytes / 1e6:8.2f} MB  max difference {row.max_difference:.1e}  "
            f"agreement {row.agreement:.4f}  accuracy lost {row.accuracy_loss:+.4f} "
            f"[{row.loss_low:+.4f}, {row.loss_high:+.4f}]  {row.images} images"
        )
    print(f"written to:   {options.output or options.run}")
    print(RESEARCH_USE)
    return 0
