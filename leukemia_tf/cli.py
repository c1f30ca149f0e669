"""The command ``leukemia-tf``, which is also what ``experiments/run.py`` calls. It parses, calls and prints."""

from __future__ import annotations

import argparse
import datetime
import gc
import logging
import os
import pathlib
import shlex
import sys
from typing import Sequence

from leukemia_tf import __version__
from leukemia_tf.cli_audit import add_audit_command
from leukemia_tf.cli_compare import add_compare_command, add_repeat_arguments, run_repeated
from leukemia_tf.cli_data import add_data_commands
from leukemia_tf.cli_explain import add_explain_command
from leukemia_tf.cli_export import add_export_command
from leukemia_tf.cli_report import add_report_command
from leukemia_tf.cli_zoo import add_zoo_commands
from leukemia_tf.errors import LeukemiaTFError, RunError
from leukemia_tf.files import is_full
from leukemia_tf.lean_import import OPTIONAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run or check failed, 2 wrong use or bad input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    return _run(_parser("leukemia-tf").parse_args(arguments), ["leukemia-tf", *arguments])


def train_main(arguments: Sequence[str] | None = None) -> int:
    """``experiments/run.py``: the same as ``leukemia-tf train``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser("run.py", description="Train a recipe, judge it on unseen subjects, export it.")
    _train_arguments(parser)
    return _run(parser.parse_args(arguments), ["python", "experiments/run.py", *arguments])


def _run(options: argparse.Namespace, command: list[str]) -> int:
    # A user who wants TensorFlow's own messages sets the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _log_to_stderr(logging.WARNING if options.quiet else logging.INFO)
    options.command = shlex.join(command)
    try:
        code = options.call(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except LeukemiaTFError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if not is_full(error):
            raise
        print(f"error: the disk is full ({error}). What was written before is intact.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nerror: interrupted; the same command goes on from the last complete epoch", file=sys.stderr)
        return 130


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        name, description="Model zoo for leukemia and white-blood-cell images. Research use only: not a medical device."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe, judge it on unseen subjects, export it")
    _train_arguments(train)

    evaluate = commands.add_parser(
        "evaluate", help="recompute a run's metrics from its predictions, or judge it on other data"
    )
    evaluate.add_argument("run", help="folder of a run")
    evaluate.add_argument("--data", help="a data set's name, a folder of class folders, a CSV table or a MedMNIST .npz")
    evaluate.add_argument("--output", help="folder for the files (default: evaluations/<data> in the run)")
    _common_arguments(evaluate, _evaluate)

    predict = commands.add_parser("predict", help="classify images with a trained run")
    predict.add_argument("run", help="folder of a run")
    predict.add_argument("images", nargs="+", help="image files, or folders of them")
    predict.add_argument("--output", metavar="FILE.csv", help="write there; the same command goes on after a kill")
    predict.add_argument(
        "--format",
        default="auto",
        choices=("auto", "keras", "saved_model", "litert", "litert-int8", "onnx"),
        help="keras is the run's own model, the others are its exports; auto (default) takes the checked export that "
        "starts fastest, litert, onnx or saved_model, and keras where there is none",
    )
    predict.add_argument("--batch-size", type=int, default=32, help="images a step (default: 32)")
    predict.add_argument("--threads", type=int, default=0, help="of litert and onnx (default: all processors)")
    _common_arguments(predict, _predict)

    add_compare_command(commands)
    add_explain_command(commands, _load_tensorflow)
    add_export_command(commands, _load_tensorflow)
    add_zoo_commands(commands, _load_tensorflow)
    add_data_commands(commands, _load_tensorflow)
    add_audit_command(commands)
    add_report_command(commands)
    return parser


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="name of a recipe, such as ensemble (see `leukemia-tf list`)")
    parser.add_argument(
        "--data",
        help="a data set's name, a folder of class folders, a CSV table (path,label[,subject][,split]) or a "
        "MedMNIST .npz; the embedded synthetic sample without it",
    )
    parser.add_argument(
        "--run-dir", help="folder of the run (default: a new one under runs/); the same command with it goes on"
    )
    parser.add_argument(
        "--weights", help="imagenet, none, a .weights.h5 file, or a folder of <backbone>_notop.weights.h5"
    )
    parser.add_argument(
        "--teacher",
        metavar="RUN",
        help="folder of a finished run to learn from beside the labels (see `--set distillation...` in the README)",
    )
    parser.add_argument("--image-size", type=int, help="side of the images in pixels")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds that only shows that all parts work")
    parser.add_argument("--split", metavar="FILE", help="use the split of this file, such as split.csv of another run")
    parser.add_argument(
        "--groups",
        metavar="FILE",
        help="CSV (path,group) of images to keep in one split, such as groups.csv of an audit",
    )
    parser.add_argument(
        "--allow-leakage",
        action="store_true",
        help="permit a split by image where subjects are known (--set data.split_level=image); the report is stamped",
    )
    parser.add_argument("--seed", type=int, help="seed of split, weights, order, augmentation and dropout")
    parser.add_argument(
        "--strategy",
        choices=("none", "mirrored", "multi_worker"),
        help="mirrored shares every batch among all GPUs of the machine, multi_worker among the processes in TF_CONFIG",
    )
    parser.add_argument(
        "--no-feature-cache",
        action="store_true",
        help="compute what comes out of frozen layers anew each epoch, also where it could be kept",
    )
    parser.add_argument("--minutes", type=float, help="time budget of this call; training ends in time and is judged")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="changes",
        help="change a field of the recipe by its dotted name, such as data.policy=d4 or phases.head.epochs=3",
    )
    add_repeat_arguments(parser)
    _common_arguments(parser, _train)


def _common_arguments(parser: argparse.ArgumentParser, call) -> None:
    parser.add_argument("--skip-broken", action="store_true", help="leave broken images out, and count them")
    parser.add_argument("--quiet", action="store_true", help="no progress and no notices, only warnings and results")
    parser.set_defaults(call=call)


def _train(options: argparse.Namespace) -> int:
    from leukemia_tf.recipes.overrides import override, parse_assignments
    from leukemia_tf.recipes.registry import get_recipe
    from leukemia_tf.recipes.teacher import taught_by
    from leukemia_tf.recipes.train_recipe import for_source, train_recipe

    recipe = for_source(get_recipe(options.recipe), options.data, smoke=options.smoke)
    if options.teacher is not None:
        recipe = taught_by(recipe, options.teacher)
    given = {
        "model.weights": options.weights,
        "data.image_size": options.image_size,
        "seed": options.seed,
        "minutes": options.minutes,
        "data.split_file": options.split,
        "data.groups_file": options.groups,
        "data.allow_leakage": options.allow_leakage or None,
        "data.skip_broken": options.skip_broken or None,
        "strategy": options.strategy,
        "feature_views": 0 if options.no_feature_cache else None,
    }
    recipe = override(recipe, {name: value for name, value in given.items() if value is not None})
    recipe = override(recipe, parse_assignments(options.changes))
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    _load_tensorflow(*OPTIONAL)
    run_dir = pathlib.Path(options.run_dir or pathlib.Path("runs") / f"{recipe.name}-{stamp}")
    if options.folds is not None or options.seeds is not None:
        return run_repeated(options, recipe, run_dir)
    run = train_recipe(recipe, run_dir, progress=not options.quiet, command=options.command)
    if run is None:
        print("this worker is done; worker 0 has written the run")
        return 0
    _print_metrics(run.metrics)
    _print_agreement(run)
    print(f"report:      {run.path / 'report.html'}")
    exported = f", {run.path / 'saved_model'}" if (run.path / "saved_model").exists() else ""
    print(f"model:       {run.model_path}{exported}")
    _print_notice(run.info["manifest"].get("synthetic", False))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from leukemia_tf.recipes.evaluate import evaluate, verify
    from leukemia_tf.recipes.run import load_run

    run = load_run(options.run)
    if options.data is None:
        metrics = verify(run)
        _print_metrics(metrics)
        print("metrics.json follows from predictions_val.csv and predictions.csv, to the last digit")
    else:
        _load_tensorflow()
        metrics = evaluate(
            run, options.data, output=options.output, skip_broken=options.skip_broken, progress=not options.quiet
        )
        _print_metrics(metrics)
        print(f"written to:  {metrics['written_to']}")
    _print_notice(False)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from leukemia_tf.recipes.predict_stream import chosen_format, predict_files
    from leukemia_tf.recipes.run import load_run

    run = load_run(options.run)
    form = chosen_format(run, options.format, options.output)
    if form in ("keras", "saved_model"):
        # A SavedModel needs nothing of Keras, which TensorFlow imports all the same.
        _load_tensorflow(*OPTIONAL, *(["keras"] if form == "saved_model" else []))
    count = predict_files(
        run,
        options.images,
        output=options.output,
        write=sys.stdout.buffer.write,
        format=form,
        batch_size=options.batch_size,
        threads=options.threads,
        skip_broken=options.skip_broken,
        progress=not options.quiet,
    )
    synthetic = run.info["manifest"].get("synthetic", False)
    if options.output:
        print(f"{count} images: {options.output}")
        _print_notice(synthetic)
    else:
        # On standard error, so that the CSV can go into a pipe.
        _print_notice(synthetic, sys.stderr)
    return 0


def _load_tensorflow(*without: str) -> None:
    """Import TensorFlow without the lines that its libraries write about missing GPUs before any log level applies.

    Args:
        without: packages that it would import with it, and that this command does not need.
    """
    from leukemia_tf.export.quiet import quiet_stderr
    from leukemia_tf.lean_import import left_out

    with quiet_stderr(), left_out(*without):
        import tensorflow  # noqa: F401
    # Tracing makes millions of objects that all stay; looking for garbage among them costs a seventh of the time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _print_metrics(metrics: dict) -> None:
    from leukemia_tf.evaluation.metrics import METRICS

    if metrics.get("stamp"):
        print(metrics["stamp"])
    unit = metrics["bootstrap"]["unit"]
    subjects = f" of {metrics['n_subjects']} subjects" if metrics.get("n_subjects") else ""
    print(f"test split:  {metrics['n_images']} images{subjects}; 95 % intervals by resampling {unit}s")
    for name in METRICS:
        entry = metrics.get(name)
        if entry is None:
            raise RunError(f"`metrics.json` lacks `{name}`; it was written by another version")
        label = f"{name.replace('_', ' ')}:"
        if entry["value"] is None:
            print(f"{label:19} undefined ({entry.get('reason')})")
        elif entry.get("low") is None:
            print(f"{label:19} {entry['value']:.4f}")
        else:
            print(f"{label:19} {entry['value']:.4f} [{entry['low']:.4f}, {entry['high']:.4f}]")


def _print_agreement(run) -> None:
    agreement = run.agreement
    if agreement is None:
        return
    for name, label in (("equal_predictions", "says as teacher:"), ("kl_divergence", "KL from teacher:")):
        entry = agreement[name]
        print(f"{label:19} {entry['value']:.4f} [{entry['low']:.4f}, {entry['high']:.4f}]")
    if agreement.get("accuracy_kept"):
        accuracy, kept = agreement["teacher_accuracy"]["value"], agreement["accuracy_kept"]
        print(f"{'teacher accuracy:':19} {accuracy:.4f}, of which the student keeps {kept:.1%}")


def _print_notice(synthetic: bool, stream=None) -> None:
    from leukemia_tf.recipes.run import RESEARCH_USE

    if synthetic:
        print("SYNTHETIC DATA: trained on rendered images; nothing here says anything of patients.", file=stream)
    print(RESEARCH_USE, file=stream)


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("leukemia_tf")
    logger.setLevel(level)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logger.addHandler(handler)


class _Lines(logging.Formatter):
    """Plain lines; a warning says that it is one."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        return prefix + record.getMessage()


if __name__ == "__main__":
    sys.exit(main())
