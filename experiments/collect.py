"""Copy the small files of finished runs into experiments/results, and show the results in the README.

    python experiments/collect.py [RUN=NAME ...]

Copies metrics.json, recipe.json, environment.json and history.csv of each RUN to experiments/results/runs/NAME, writes
experiments/results/runs.csv (one row a run) from all that lie there, and puts the tables between the markers of
README.md and experiments/benchmarks/README.md. Nothing in those tables is typed by hand: tests/test_readme.py compares
them with the files.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import sys

import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.metrics import METRICS
from leukemia_tf.files import read_json, write_json, write_text
from leukemia_tf.recipes import load_run
from leukemia_tf.recipes.show import list_rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGES = (ROOT / "README.md", ROOT / "experiments" / "benchmarks" / "README.md")
ZOO = [
    "ensemble",
    "filter_token",
    "efficientnetb3_max",
    "basic_cnn",
    "mha_efficientnet",
    "attention_cnn",
    "handcrafted",
    "mlffakd_teacher",
    "mlffakd_student",
    "bloodmnist_cnn_bn",
    "bloodmnist_cnn_se",
    "bloodmnist_resnet18",
    "bloodmnist_vgg16_dropout",
]
FILES = ("metrics.json", "recipe.json", "environment.json", "history.csv")
FACTS = ("split_level", "split_hash", "leakage", "seconds", "peak_memory_mb", "status", "classes")


def collect(run_dir: str, name: str) -> None:
    """Copy the small files of one finished run."""
    run = load_run(run_dir)
    if not run.finished:
        raise InputError(f"`{run_dir}` is not finished. Received: status {run.info.get('status')!r}")
    folder = RESULTS / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copy(run.path / file, folder / file)
    write_json(folder / "facts.json", {key: run.info.get(key) for key in FACTS})


def summarize() -> pd.DataFrame:
    """One row for each run under experiments/results/runs."""
    rows = []
    for folder in sorted((RESULTS / "runs").iterdir()):
        recipe, metrics = read_json(folder / "recipe.json"), read_json(folder / "metrics.json")
        facts, environment = read_json(folder / "facts.json"), read_json(folder / "environment.json")
        row = {
            "run": folder.name,
            "model": model_of(recipe),
            "data": pathlib.PurePath(recipe["data"]["source"]).name,
            "image_size": recipe["data"]["image_size"],
            "split": facts["split_level"],
            "leakage": bool(facts.get("leakage")),
            "seed": recipe["seed"],
            "test_images": metrics["n_images"],
            "test_subjects": metrics["n_subjects"],
        }
        for metric in METRICS:
            row |= {
                metric if key == "value" else f"{metric}_{key}": metrics[metric][key]
                for key in ("value", "low", "high")
            }
        rows.append(
            {
                **row,
                "seconds": facts["seconds"],
                "peak_memory_mb": facts["peak_memory_mb"],
                "command": environment["command"],
            }
        )
    return pd.DataFrame(rows)


def model_of(recipe: dict) -> str:
    """The recipe's name, and what of its model was chosen on the command line."""
    options = recipe["model"]["options"]
    said = recipe["name"].endswith("_as_published")
    shape = ["shape as published"] if options.get("as_published") and not said else []
    more = [*options.get("backbones", []), *shape]
    return recipe["name"] + (f" ({', '.join(more)})" if more else "")


def tables() -> dict[str, str]:
    """The README's tables as Markdown, by the name of their marker."""
    runs = pd.read_csv(RESULTS / "runs.csv")
    runs = runs[runs["data"] != "sample"]  # not photographs: the table is of real images
    shown = pd.DataFrame(
        {
            "data": runs["data"],
            "model": runs["model"],
            "px": runs["image_size"],
            "split": runs["split"],
            "subjects divided": [divided(row) for _, row in runs.iterrows()],
            "seed": runs["seed"],
            "test images": runs["test_images"],
            "accuracy": [interval(row, "accuracy") for _, row in runs.iterrows()],
            "macro F1": [interval(row, "f1_macro") for _, row in runs.iterrows()],
            "ROC AUC": [interval(row, "auc") for _, row in runs.iterrows()],
        }
    )
    found = {"runs": markdown(shown)}
    strange = pd.read_csv(RESULTS / "evaluation" / "out_of_distribution.csv")
    flagged = {score: part.set_index("kind") for score, part in strange.groupby("score", sort=False)}
    found["strange"] = markdown(
        pd.DataFrame(
            {
                "images": [kind.replace("_", " ") for kind in strange["kind"].unique()],
                **{
                    f"flagged by {score}": [
                        f"{row['flagged']:.3f} [{row['flagged_low']:.3f}, {row['flagged_high']:.3f}]"
                        for _, row in part.loc[strange["kind"].unique()].iterrows()
                    ]
                    for score, part in flagged.items()
                },
            }
        )
    )
    pipeline = pd.read_csv(RESULTS / "benchmarks" / "pipeline.csv")
    found["pipeline"] = markdown(
        pd.DataFrame(
            {
                "what": pipeline["what"],
                "relative to decode and resize": ratio(pipeline["to_decode"]),
                "relative to stock Keras layers": ratio(pipeline["to_stock"]),
            }
        )
    )
    step = pd.read_csv(RESULTS / "benchmarks" / "train_step.csv")
    found["train_step"] = markdown(
        pd.DataFrame(
            {
                "what": step["what"],
                "relative to plain float32": ratio(step["to_plain"]),
                "relative to the notebook's epoch": ratio(step["to_notebook"]),
            }
        )
    )
    found["feature_cache"] = markdown(feature_cache_rows(pd.read_csv(RESULTS / "benchmarks" / "feature_cache.csv")))
    # Measured by a run of one's own: the README has their markers once there are files.
    for name, rows in (
        ("inference", inference_rows),
        ("inference_folder", folder_rows),
        ("start", start_rows),
        ("train_step_calls", call_rows),
        ("train_step_gpu", gpu_rows),
        ("first_step", first_step_rows),
        ("feed", feed_rows),
    ):
        file = RESULTS / "benchmarks" / f"{name}.csv"
        if file.exists():
            found[name] = markdown(rows(pd.read_csv(file)))
    goals = RESULTS / "benchmarks" / "goals.csv"
    if goals.exists():
        found["goals"] = markdown(pd.read_csv(goals, dtype=str).fillna("").drop(columns="file"))
    sample = pd.read_csv(RESULTS / "sample_difficulty.csv")
    found["sample"] = markdown(sample_rows(sample))
    found["near_duplicates"] = markdown(near_duplicate_rows(pd.read_csv(RESULTS / "leakage" / "near_duplicates.csv")))
    audit = RESULTS / "audit"
    found["audit"] = markdown(audit_rows(pd.read_csv(audit / "planted_totals.csv")))
    found["audit_cost"] = markdown(
        audit_cost_rows(
            pd.read_csv(audit / "speed.csv"),
            pd.read_csv(audit / "scaling.csv"),
            pd.read_csv(RESULTS / "benchmarks" / "scale.csv"),
        )
    )
    found["scale"] = markdown(scale_rows(pd.read_csv(RESULTS / "benchmarks" / "scale.csv")))
    found["leakage"] = markdown(leakage_rows(read_json(RESULTS / "leakage" / "leakage.json")))
    found["scale_bar"] = markdown(scale_bar_rows())
    found["zoo"] = markdown(zoo_rows())
    folder = RESULTS / "distillation"
    found["distillation"] = markdown(distillation_rows(pd.read_csv(folder / "summary.csv")))
    found["distillation_steps"] = markdown(step_rows(pd.read_csv(folder / "steps.csv")))
    return found


def scale_bar_rows() -> pd.DataFrame:
    """How much a model looks at the scale bar, by class."""
    shares = pd.read_csv(RESULTS / "explain" / "scale_bar.csv")
    painted = pd.read_csv(RESULTS / "explain" / "scale_bar_painted.csv")
    cam, covered = (shares[shares["method"] == name] for name in ("grad_cam", "occlusion"))

    def percent(row, value: str, low: str, high: str) -> str:
        return f"{100 * row[value]:.1f} [{100 * row[low]:.1f}, {100 * row[high]:.1f}]"

    def share(rows: pd.DataFrame) -> list[str]:
        return [f"{percent(row, 'share', 'low', 'high')} (n = {row['n']})" for _, row in rows.iterrows()]

    def others(rows: pd.DataFrame) -> list[str]:
        return [f"{100 * value:.1f}" for value in rows["other_corners"]]

    return pd.DataFrame(
        {
            "class": cam["class"].to_numpy(),
            "area": [f"{100 * value:.1f}" for value in cam["area"]],
            "Grad-CAM": share(cam),
            "Grad-CAM, other corners": others(cam),
            "occlusion": share(covered),
            "occlusion, other corners": others(covered),
            "changed": [percent(row, "changed", "changed_low", "changed_high") for _, row in painted.iterrows()],
            "changed, other corners": [f"{100 * value:.1f}" for value in painted["changed_other_corners"]],
        }
    )


def feature_cache_rows(cache: pd.DataFrame) -> pd.DataFrame:
    """How many times faster an epoch of the head is on cached features, and a whole run."""
    accuracy = [
        "" if pd.isna(row["notebook_kept_accuracy"])
        else f"{row['cached_kept_accuracy']:.3f} ({row['notebook_kept_accuracy']:.3f})"
        for _, row in cache.iterrows()
    ]  # fmt: skip
    return pd.DataFrame(
        {
            "data": cache["data"],
            "seed": cache["seed"],
            "px": cache["image_size"],
            "images (training, validation)": [
                f"{row['train_images']}, {row['val_images']}" for _, row in cache.iterrows()
            ],
            "backbones": cache["backbones"].str.replace("+", ", "),
            "epoch of the head, uncached = 1": ratio(cache["epoch_ratio"]),
            "(processor time)": ratio(cache["cpu_ratio"]),
            "whole run, the notebook's = 1": ratio(cache["whole_ratio"]),
            "(its processor time)": ratio(cache["whole_cpu_ratio"]),
            "validation accuracy of the epoch that is kept (notebook's)": accuracy,
        }
    )


def call_rows(calls: pd.DataFrame) -> pd.DataFrame:
    """Steps of milliseconds: several in a call, and an update that XLA fuses."""
    return pd.DataFrame(
        {
            "what (steps a call)": calls["what"],
            "speed in processor time, relative to a call a step": ratio(calls["to_plain_cpu"]),
        }
    )


def gpu_rows(steps: pd.DataFrame) -> pd.DataFrame:
    """Images a second on a GPU, by backend and precision."""
    return pd.DataFrame(
        {
            "backbones": steps["backbones"].str.replace("+", ", "),
            "open": steps["layers"],
            "Keras on": steps["version"],
            "XLA": steps["xla"],
            "precision": steps["precision"],
            "batch": steps["batch"],
            "images a second": [f"{rate:,.0f}" for rate in steps["images_per_s"]],
            "float32 without XLA = 1": ratio(steps["to_plain"]),
        }
    )


def inference_rows(inference: pd.DataFrame) -> pd.DataFrame:
    """Speed of each format relative to ``model.predict`` at batch 1 and 32, size, and accuracy lost."""
    rows = []
    for (run, name), group in inference.groupby(["run", "format"], sort=False):
        single, many = (group[group["batch"] == batch].iloc[0] for batch in (1, 32))
        lost = ""
        if pd.notna(single["accuracy_lost"]):
            low, high = 100 * single["lost_low"], 100 * single["lost_high"]
            lost = f"{100 * single['accuracy_lost']:.2f} [{low:.2f}, {high:.2f}]"
        rows.append(
            {
                "model": f"{run}, {single['image_size']} px",
                "format": f"`{name}`",
                "MB": f"{single['megabytes']:.3g}",
                "batch 1": f"{single['to_predict']:.3g}x",
                "batch 1, processor time": f"{single['cpu_to_predict']:.3g}x",
                "batch 32": f"{many['to_predict']:.3g}x",
                "accuracy lost, points": lost,
                "test images": f"{int(single['test_images']):,}" if lost else "",
            }
        )
    return pd.DataFrame(rows)


def first_step_rows(stages: pd.DataFrame) -> pd.DataFrame:
    """Seconds from the command to each stage of a training's start."""
    goals = [f"{row.goal:g}, {'met' if row.met is True or row.met == 'True' else 'not met'}" if row.goal == row.goal
             else "" for row in stages.itertuples()]
    return pd.DataFrame(
        {
            f"stage, {stages['files'].iloc[0]:,} files of 450 x 450": stages["stage"],
            "seconds since the command": [f"{value:.1f}" for value in stages["seconds"]],
            "goal": goals,
        }
    )


def feed_rows(feed: pd.DataFrame) -> pd.DataFrame:
    """How busy simulated GPUs are kept."""
    return pd.DataFrame(
        {
            "simulated GPU": feed["gpu"],
            "images a second that it takes": feed["images_per_s"],
            "cores": [f"{row.cores}, as {row.stands_for_cores}" for row in feed.itertuples()],
            "busy": [f"{100 * value:.0f} %" for value in feed["busy"]],
            "by the processor time of an image": [f"{100 * value:.0f} %" for value in feed["by_cpu_time"]],
        }
    )


def folder_rows(folders: pd.DataFrame) -> pd.DataFrame:
    """Images of a folder relative to the model alone, and to the best that the processors can do with both."""
    threads = [f"{count} of {cpus} processors" for count, cpus in zip(folders["threads"], folders["cpus"])]
    return pd.DataFrame(
        {
            "model": folders["run"],
            "format": "`" + folders["format"] + "`",
            "the model's": threads,
            "images": [f"{count:,} of {side} px" for count, side in zip(folders["images"], folders["side"])],
            "processor ms an image: reading, model": [
                f"{row.cpu_reading:.2f}, {row.cpu_model:.2f}" for row in folders.itertuples()
            ],
            "relative to the model alone": ratio(folders["to_model"]),
            "relative to the best": ratio(folders["to_best"]),
        }
    )


def start_rows(start: pd.DataFrame) -> pd.DataFrame:
    """Seconds of commands from a cold start, beside their goal."""
    return pd.DataFrame(
        {
            "command": "`" + start["what"] + "`",
            "model": start["run"].fillna(""),
            "seconds": [f"{row.seconds:.2f} [{row.least:.2f}, {row.most:.2f}]" for row in start.itertuples()],
            "of them processor": [f"{value:.2f}" for value in start["cpu_seconds"]],
            "goal": [f"{goal:g}, {'met' if met else 'not met'}" for goal, met in zip(start["goal"], start["met"])],
        }
    )


def zoo_rows() -> pd.DataFrame:
    """One row for each of the models that the README shows, from figures.json and the recipes' cards."""
    rows = pd.DataFrame(list_rows(ZOO))
    return pd.DataFrame(
        {
            "recipe": "`" + rows["recipe"] + "`",
            "system": rows["system"],
            "parameters": [f"{int(count):,}" if pd.notna(count) else "" for count in rows["parameters"]],
            "GFLOPs": [f"{count:.3g}" if pd.notna(count) else "" for count in rows["gflops"]],
            "reported by its authors": rows["reported"],
            "on": rows["protocol"],
        }
    )


def sample_rows(sample: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by subject-wise and image-wise split, for each model."""
    rows = []
    for model, group in sample.groupby("model", sort=False):
        row = {"model": model}
        for split, part in group.groupby("split_by", sort=False):
            values = part["accuracy"]
            row[f"accuracy, split by {split}"] = f"{values.mean():.3f} [{values.min():.3f}, {values.max():.3f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def divided(row: pd.Series) -> str:
    """Whether subjects lie in several splits: a leaky split was allowed, nobody knows, or no."""
    return "YES, LEAKY" if row["leakage"] else "not known" if pd.isna(row["test_subjects"]) else "no"


def leakage_rows(leakage: dict) -> pd.DataFrame:
    """What a split by image adds to each figure, with its intervals over seeds and over subjects."""
    rows = []
    for name, figure in leakage["figures"].items():
        over_subjects = figure.get("over_subjects")
        rows.append(
            {
                "figure": {"accuracy": "accuracy", "auc": "ROC AUC"}[name],
                "split by subject": f"{figure['by_subject']:.3f}",
                "split by image": f"{figure['by_image']:.3f}",
                "difference, 95 % interval over seeds": f"{figure['difference']:+.3f} {limits(figure['over_seeds'])}",
                "95 % interval over subjects": limits(over_subjects) if over_subjects else "",
            }
        )
    return pd.DataFrame(rows)


def near_duplicate_rows(near: pd.DataFrame) -> pd.DataFrame:
    """How many groups of near duplicates are divided, with and without the audit's groups."""
    rows = []
    for (data, kept), group in near.groupby(["data", "groups_kept"], sort=False):
        seeds = group["divided"]
        rows.append(
            {
                "data": data,
                "images": group["images"].iat[0],
                "groups (images)": f"{group['groups'].iat[0]} ({group['in_groups'].iat[0]})",
                "split by image": "with `--groups`" if kept else "without",
                "groups divided [lowest, highest]": f"{seeds.mean():.1f} [{seeds.min()}, {seeds.max()}]",
            }
        )
    return pd.DataFrame(rows)


def distillation_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """The teacher, and the student of each arm: accuracy, agreement, size and time."""
    rows = []
    for row in summary.itertuples():
        seeds = f"[{row.accuracy_lowest:.3f}, {row.accuracy_highest:.3f}]" if row.seeds > 1 else ""
        teacher = row.arm == "teacher"
        rows.append(
            {
                "model": row.arm if teacher else f"student, {row.arm}",
                "seeds": row.seeds,
                "accuracy [lowest, highest seed]": f"{row.accuracy:.3f} {seeds}".strip(),
                "95 % interval of a seed": f"[{row.interval_low:.3f}, {row.interval_high:.3f}]",
                "says as teacher": "" if pd.isna(row.equal_predictions) else f"{row.equal_predictions:.3f}",
                "parameters": f"{row.parameters:,}",
                "GFLOPs": f"{row.gflops:.3g}",
                "ms, 1 image": f"{row.milliseconds_1:.2f}",
                "ms, 32 images": f"{row.milliseconds_32:.1f}",
            }
        )
    return pd.DataFrame(rows)


def step_rows(steps: pd.DataFrame) -> pd.DataFrame:
    """What each arm adds to the one before it, and what the interval says of it."""
    rows = []
    for step in steps.itertuples():
        clear = "better" if step.low > 0 else "worse" if step.high < 0 else "not distinguishable"
        rows.append(
            {
                "from": step[1],
                "to": step.to,
                "seed": step.seed,
                "difference in accuracy, 95 % interval": f"{step.difference:+.4f} {limits([step.low, step.high])}",
                "McNemar's p": f"{step.p_mcnemar:.2g}",
                "": clear,
            }
        )
    return pd.DataFrame(rows)


def audit_rows(planted: pd.DataFrame) -> pd.DataFrame:
    """What of the planted copies the audit found."""
    return pd.DataFrame(
        {
            "data": planted["set"],
            "images": planted["images"],
            "copies planted": planted["planted"],
            "found (recall)": [f"{row.found} ({row.recall:.3f})" for row in planted.itertuples()],
            "pairs that are right (precision)": [
                f"{row.pairs - row.wrong_pairs} of {row.pairs} ({row.precision:.3f})" for row in planted.itertuples()
            ],
        }
    )


def audit_cost_rows(speed: pd.DataFrame, scaling: pd.DataFrame, scale: pd.DataFrame) -> pd.DataFrame:
    """What the audit costs, and how that grows; of `scale` the most images it was measured with."""
    most = scale[scale["recall"].notna()].nlargest(1, "images")
    most = most.assign(cpu_ms_per_image=1e3 * most["cpu_s"] / most["images"], planted=most["planted"].astype(int))
    scaling = pd.concat([scaling, most], ignore_index=True)
    rows = [
        {
            "what": "whole audit, JPEG 450 x 450",
            "images": row.images,
            "processor ms an image": f"{1e3 * row.audit_cpu_s / row.images:.2f}",
            "peak memory": f"{row.peak_memory_gb_with_tensorflow:.1f} GB",
            "speed, relative to decoding once": f"{row.speed_to_decode_cpu:.2f} ({row.speed_to_decode_wall:.2f} wall)",
            "planted copies found": "",
        }
        for row in speed.itertuples()
    ]
    rows += [
        {
            "what": f"{row.what}, simulated",
            "images": row.images,
            "processor ms an image": f"{row.cpu_ms_per_image:.2f}",
            "peak memory": f"{row.peak_memory_gb:.1f} GB",
            "speed, relative to decoding once": "",
            "planted copies found": f"{row.recall:.3f} of {row.planted}",
        }
        for row in scaling.itertuples()
    ]
    return pd.DataFrame(rows)


def scale_rows(scale: pd.DataFrame) -> pd.DataFrame:
    """What each part costs at the most images it was measured with, and how that grew from a tenth of them."""
    last = scale.loc[scale.groupby("what", sort=False)["images"].idxmax()]
    return pd.DataFrame(
        {
            "what": last["what"],
            "images": [f"{count:,}" for count in last["images"]],
            "processor seconds": [f"{value:.3g}" for value in last["cpu_s"]],
            "grows as images to the power": [f"{value:.2f}" for value in last["growth"]],
            "peak memory": [f"{value:.1f} GB" for value in last["peak_memory_gb"]],
        }
    )


def limits(pair: list[float]) -> str:
    """Both ends of an interval of differences."""
    return f"[{pair[0]:+.3f}, {pair[1]:+.3f}]"


def interval(row: pd.Series, metric: str) -> str:
    """Value with its 95 % interval."""
    return f"{row[metric]:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"


def ratio(values: pd.Series) -> list[str]:
    """Numbers as ``12.3x``, blanks where there is none."""
    return ["" if pd.isna(value) else f"{value:.3g}x" for value in values]


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def fill(text: str) -> str:
    """A page with each ``<!-- table: NAME -->`` ... ``<!-- end -->`` filled."""
    found = tables()

    def replace(match: re.Match) -> str:
        return f"<!-- table: {match[1]} -->\n{found[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def main() -> None:
    for argument in sys.argv[1:]:
        run_dir, _, name = argument.partition("=")
        collect(run_dir, name or pathlib.Path(run_dir).name)
    summarize().to_csv(RESULTS / "runs.csv", index=False, lineterminator="\n")
    for page in PAGES:
        write_text(page, fill(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
