"""What each part of a distillation is worth: one teacher with ImageNet weights, a small student, alone and taught.

    python experiments/benchmarks/distillation.py --data FILE.npz --work FOLDER [--weights FOLDER] [--minutes 60]

FILE.npz is in MedMNIST's format, at 64 pixels. The teacher is the recipe `mlffakd_teacher` with EfficientNetB0 in the
place of B3, from ImageNet weights, all of it trained for seven epochs under the eight symmetries (or a finished run of
that recipe, put at FOLDER/teacher). The student is `mlffakd_tiny_student` at three quarters of its width, a nineteenth
of the teacher's parameters, trained with the labels alone, with the teacher's softened logits, with its feature maps
too, and with attention and fused maps too: for every seed the same data, batches and number of epochs, under the eight
symmetries. The teacher is asked once for each image and symmetry. Killed, or ended by --minutes, the same command goes
on. When the runs are there, accuracy with its interval, agreement with the teacher, time for one image and for 32 (side
by side, in one process) and size go into experiments/results/distillation/, with a plot. About an hour on two quiet
cores; --report alone takes a minute.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from leukemia_tf.files import write_json  # noqa: E402
from leukemia_tf.recipes import Recipe, Run, get_recipe, load_run, override  # noqa: E402
from leukemia_tf.recipes.teacher import taught_by  # noqa: E402
from leukemia_tf.recipes.train_recipe import for_source, train_recipe  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "distillation"
SIZE = 64
TEACHER_EPOCHS, STUDENT_EPOCHS, WIDTH = 7, 12, 0.75
TAPS = {
    "teacher_taps": ("efficientnetb0/block3b_add", "efficientnetb0/block5c_add"),
    "student_taps": ("stage2_out", "stage3_out"),
}
"""Maps of an eighth and a sixteenth of the image's side in both."""
ARMS = {
    "alone": {"hard": 1.0, "logits": 0.0},
    "logits": {},
    "features": {"features": 0.5},
    "everything": {"features": 0.5, "attention": 0.5, "fusion": 0.5},
}
"""Weights of the terms; where nothing is said, half for the labels and half for the logits, at a temperature of 4."""
STEP = ("difference", "low", "high", "p_mcnemar")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a MedMNIST .npz of blood cells at 64 pixels")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="folder for the runs")
    parser.add_argument("--weights", default="imagenet", help="of the teacher's backbone: imagenet, or a folder")
    parser.add_argument("--minutes", type=float, default=0.0, help="end in time; the same command goes on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", action="store_true", help="train nothing; report the runs that are finished")
    options = parser.parse_args()
    os.environ.setdefault("LEUKEMIA_TF_CACHE", str((options.work / "cache").resolve()))
    ends = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    if options.report:
        return report(options.work, options.seeds)
    teacher = train(teacher_recipe(options.data, options.weights), options.work / "teacher", ends)
    for seed in options.seeds:
        for arm in ARMS:
            train(student_recipe(options.data, arm, seed, teacher.path), options.work / f"{arm}_{seed}", ends)
    report(options.work, options.seeds)


def teacher_recipe(data: str, weights: str) -> Recipe:
    """The teacher: as system 000 published its shape, with a smaller backbone and images of 64 pixels."""
    changes = {
        "data.image_size": SIZE,
        "data.batch_size": 64,
        "data.skip_broken": True,
        "model.options.backbone": "efficientnetb0",
        "model.weights": weights,
        "phases.all.epochs": TEACHER_EPOCHS,
        "phases.all.schedule": "one_cycle",
    }
    return override(for_source(get_recipe("mlffakd_teacher"), data), changes)


def student_recipe(data: str, arm: str, seed: int, teacher: pathlib.Path) -> Recipe:
    """The student of one arm; without a teacher in its loss where the arm has none."""
    recipe = taught_by(for_source(get_recipe("mlffakd_tiny"), data), teacher)
    changes = {
        "data.image_size": SIZE,
        "data.batch_size": 64,
        "data.skip_broken": True,
        "data.split_file": str(teacher / "split.csv"),
        "seed": seed,
        "model.options.width": WIDTH,
        "phases.all.epochs": STUDENT_EPOCHS,
        "phases.all.learning_rate": 4e-3,
        "distillation.fusion_width": 64,
        **{f"distillation.{name}": taps for name, taps in TAPS.items()},
    }
    weights = {"hard": 0.5, "logits": 0.5, "features": 0.0, "attention": 0.0, "fusion": 0.0, **ARMS[arm]}
    return override(recipe, {**changes, **{f"distillation.{name}": value for name, value in weights.items()}})


def train(recipe: Recipe, folder: pathlib.Path, ends: float) -> Run:
    """Train or go on; ends the process where the time is over."""
    left = (ends - time.monotonic()) / 60
    if _is_finished(folder):
        return load_run(folder)
    if left < 0.5:
        raise SystemExit(f"time is over before {folder.name}; the same command goes on")
    if left != float("inf"):
        recipe = override(recipe, {"minutes": left})
    began = time.monotonic()
    run = train_recipe(recipe, folder, progress=True, command="python experiments/benchmarks/distillation.py")
    print(f"{folder.name}: {run.info['status']}, {time.monotonic() - began:.0f} s", flush=True)
    if not run.finished:
        raise SystemExit("time is over; the same command goes on")
    return run


def report(work: pathlib.Path, seeds: list[int]) -> None:
    """Write the tables and the plot from the runs that are finished."""
    teacher = load_run(work / "teacher")
    done = [(arm, seed) for arm in ARMS for seed in seeds if _is_finished(work / f"{arm}_{seed}")]
    student = load_run(work / "{}_{}".format(*done[0]))
    speed = measure_speed({"teacher": teacher, "student": student})
    rows = [{"arm": "teacher", "seed": teacher.recipe.seed, **_figures(teacher)}]
    rows += [{"arm": arm, "seed": seed, **_figures(load_run(work / f"{arm}_{seed}"))} for arm, seed in done]
    runs = pd.DataFrame(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs.to_csv(RESULTS / "runs.csv", index=False)
    speed.to_csv(RESULTS / "speed.csv", index=False)
    summary = summarize(runs, speed)
    summary.to_csv(RESULTS / "summary.csv", index=False)
    compare_arms(work, done).to_csv(RESULTS / "steps.csv", index=False)
    write_json(RESULTS / "verdict.json", verdict(runs, speed))
    plot(summary, RESULTS / "accuracy_latency.png")
    print(summary.to_string(index=False))


def _is_finished(folder: pathlib.Path) -> bool:
    return (folder / "run.json").exists() and load_run(folder).finished


def _figures(run: Run) -> dict:
    agreement, accuracy = run.agreement or {}, run.metrics["accuracy"]
    found = {
        "test_images": run.metrics["n_images"],
        **{f"accuracy{end}": accuracy[key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))},
        "f1_macro": run.metrics["f1_macro"]["value"],
    }
    for name in ("equal_predictions", "kl_divergence"):
        for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
            found[f"{name}{end}"] = agreement.get(name, {}).get(key)
    return {**found, "seconds": run.info["seconds"]}


def measure_speed(runs: dict[str, Run], repeats: int = 15) -> pd.DataFrame:
    """Milliseconds of a call for 1 and 32 images, in turns, so that both meet the same load; the median of all."""
    import tensorflow as tf

    rows, calls = [], {}
    for name, run in runs.items():
        model = run.model
        for batch in (1, 32):
            images = tf.constant(np.random.default_rng(0).uniform(0, 255, (batch, SIZE, SIZE, 3)), tf.float32)
            call = tf.function(lambda x, model=model: model(x, training=False), autograph=False)
            call(images)
            calls[name, batch] = (call, images, [])
    for _ in range(repeats):
        for call, images, times in calls.values():
            for _ in range(10):
                began = time.perf_counter()
                call(images).numpy()
                times.append(time.perf_counter() - began)
    for (name, batch), (_, _, times) in calls.items():
        model = runs[name].model
        low, middle, high = 1000 * np.quantile(times, [0.1, 0.5, 0.9])
        rows.append(
            {
                "model": name,
                "builder": runs[name].recipe.model.builder,
                "parameters": model.count_params(),
                "gflops": flops(model),
                "kilobytes": runs[name].model_path.stat().st_size / 1000,
                "batch": batch,
                "milliseconds": middle,
                "milliseconds_p10": low,
                "milliseconds_p90": high,
            }
        )
    return pd.DataFrame(rows)


def flops(model) -> float:
    """Billions of operations for one image, counted as in zoo_figures.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("zoo_figures", pathlib.Path(__file__).with_name("zoo_figures.py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return round(script.count_flops(model) / 1e9, 5)


def summarize(runs: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """One row an arm: means over its seeds with the lowest and the highest, and what it costs."""
    rows = []
    for arm, group in runs.groupby("arm", sort=False):
        model = "teacher" if arm == "teacher" else "student"
        cost = speed[speed["model"] == model].set_index("batch")
        rows.append(
            {
                "arm": arm,
                "seeds": len(group),
                "accuracy": group["accuracy"].mean(),
                "accuracy_lowest": group["accuracy"].min(),
                "accuracy_highest": group["accuracy"].max(),
                "interval_low": group["accuracy_low"].mean(),
                "interval_high": group["accuracy_high"].mean(),
                "equal_predictions": group["equal_predictions"].mean(),
                "kl_divergence": group["kl_divergence"].mean(),
                "parameters": cost["parameters"].iat[0],
                "gflops": cost["gflops"].iat[0],
                "milliseconds_1": cost.loc[1, "milliseconds"],
                "milliseconds_32": cost.loc[32, "milliseconds"],
            }
        )
    return pd.DataFrame(rows)


def compare_arms(work: pathlib.Path, done: list[tuple[str, int]]) -> pd.DataFrame:
    """What each arm adds to the one before it: differences of accuracy on the same test images, seed by seed."""
    from leukemia_tf.evaluation import compare_predictions, read_predictions

    rows, names = [], list(ARMS)
    for one, other in zip(names, names[1:]):
        for seed in [seed for arm, seed in done if arm == one and (other, seed) in done]:
            pair = [work / f"{arm}_{seed}" for arm in (one, other)]
            frames = {arm: read_predictions(run / "predictions.csv")[0] for arm, run in zip((one, other), pair)}
            table = compare_predictions(frames, load_run(pair[0]).classes, metrics=("accuracy",))
            rows.append({"from": one, "to": other, "seed": seed, **table.iloc[0][list(STEP)].to_dict()})
    return pd.DataFrame(rows)


def verdict(runs: pd.DataFrame, speed: pd.DataFrame) -> dict:
    """How near each arm comes to the goal: accuracy kept, parameters and speed as multiples."""
    by_arm = {arm: group.set_index("seed")["accuracy"] for arm, group in runs.groupby("arm", sort=False)}
    teacher = float(by_arm.pop("teacher").iat[0])
    cost = speed.pivot(index="model", columns="batch", values="milliseconds")
    parameters = speed.groupby("model")["parameters"].first()
    return {
        "teacher_accuracy": teacher,
        "accuracy_kept": {arm: float(values.mean() / teacher) for arm, values in by_arm.items()},
        "parameters_ratio": float(parameters["teacher"] / parameters["student"]),
        "speed_ratio": {str(batch): float(cost.loc["teacher", batch] / cost.loc["student", batch]) for batch in cost},
    }


def plot(summary: pd.DataFrame, file: pathlib.Path) -> None:
    """Accuracy against the time for one image: mean of the seeds, with the 95 % interval of one of them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    marks = "osD^v*"
    for position, row in enumerate(summary.itertuples()):
        # Students cost the same; a little apart they can be told from each other.
        shift = 1.0 if row.arm == "teacher" else 1 + 0.03 * (position - 1)
        spread = [[row.accuracy - row.interval_low], [row.interval_high - row.accuracy]]
        label = row.arm if row.arm == "teacher" else f"student, {row.arm}"
        cost = row.milliseconds_32 / 32 * shift
        axes.errorbar(cost, row.accuracy, spread, fmt=marks[position], label=label, capsize=3)
    axes.set(xlabel="milliseconds an image, in batches of 32, on two CPU cores", ylabel="test accuracy")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
