"""How well the audit finds what is planted, what it finds in real data, how fast it is, and how its cost grows.

    python experiments/benchmarks/audit.py --planted [--shared FOLDER]     planted.csv, planted.png, faults.csv
    python experiments/benchmarks/audit.py --real --shared FOLDER          real.csv
    python experiments/benchmarks/audit.py --speed [--images 15000]        speed.csv
    python experiments/benchmarks/audit.py --scaling                       scaling.csv

Results go to experiments/results/audit/. FOLDER holds data/pbc64.npz, data/pbc_originals.tar and
data/taleqani_all.tar; without it only rendered images are used.

--planted: copies of images (each transformation at several strengths, as new files in another split) and every kind
of fault are planted into a data set. Recall: share of planted copies that end in the group of their source.
Precision: share of the pairs with a planted image that join it with its source or another copy of that. Copies that
the data set had before are looked for first and count as the same picture.
--speed: the audit of JPEG files of 450 x 450 pixels against reading and decoding them once with the package's own
`read_image`, in turn, in the same run. On a busy machine compare the processor times.
--scaling: the search for copies on simulated thumbnails, 1 % of which are altered copies; and the index alone, the one
part whose cost does not grow in proportion, on simulated descriptors; both up to 100,000 images, each size in a process
of its own; peak memory of that process.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import resource
import tarfile
import tempfile
import time
from typing import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from leukemia_tf import files  # noqa: E402
from leukemia_tf.data.audit import audit_table, find_copies  # noqa: E402
from leukemia_tf.data.audit import descriptors as d  # noqa: E402
from leukemia_tf.data.audit.candidates import look_up  # noqa: E402
from leukemia_tf.data.audit.opening import open_for_audit  # noqa: E402
from leukemia_tf.data.sample import render_sample  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "audit"
BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE)
# Beyond what the audit promises; reported, and left out of the totals.
BEYOND = {("crop", "70 %")}
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("planted", "real", "speed", "scaling"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--shared", type=pathlib.Path, help="folder with data/pbc64.npz and the tar files")
    parser.add_argument("--each", type=int, default=30, help="planted copies of each transformation and strength")
    parser.add_argument("--images", type=int, default=15_000, help="images for --speed (default: 15000)")
    parser.add_argument("--sizes", type=int, nargs="*", default=[12_500, 25_000, 100_000], help="for --scaling")
    parser.add_argument(
        "--index-sizes", type=int, nargs="*", default=[12_500, 25_000, 50_000, 100_000], help="for its index alone"
    )
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.planted:
        planted(options)
    if options.real:
        real(options)
    if options.speed:
        speed(options)
    if options.scaling:
        scaling(options)


# ---------------------------------------------------------------- planted copies and faults


def changes() -> Iterator[tuple[str, str, Change, str, int]]:
    """Kind, strength, function, suffix and quality of every planted transformation."""
    for name, turns, mirrored in (
        ("left-right", 0, True), ("up-down", 2, True), ("90", 1, False), ("180", 2, False), ("270", 3, False),
        ("transposed", 1, True),
    ):  # fmt: skip
        yield "flip or turn", name, lambda a, r, k=turns, m=mirrored: flip(a, k, m), ".jpg", 92
    for degrees in (2, 5, 10, 15, 30):
        yield "rotation", f"{degrees} degrees", lambda a, r, d=degrees: rotate(a, d, r), ".jpg", 92
    for factor in (0.6, 0.8, 1.1, 1.2, 1.35):
        yield "brightness", f"x {factor}", lambda a, r, f=factor: linear(a, f, 0), ".jpg", 92
    for factor in (0.7, 1.3):
        yield "contrast", f"x {factor}", lambda a, r, f=factor: linear(a, f, 128 * (1 - f)), ".jpg", 92
    for percent in (95, 90, 85, 80, 70):
        yield "crop", f"{percent} %", lambda a, r, p=percent: crop(a, p / 100, r), ".jpg", 92
    for factor in (0.5, 0.75, 1.5):
        yield "resize", f"x {factor}", lambda a, r, f=factor: resize(a, f), ".jpg", 92
    for quality in (80, 50, 30):
        yield "encoding", f"JPEG {quality}", lambda a, r: a, ".jpg", quality
    for suffix in (".png", ".bmp", ".tif"):
        yield "encoding", suffix[1:].upper(), lambda a, r: a, suffix, 0
    yield "noise and blur", "noise 8", lambda a, r: noise(a, 8, r), ".jpg", 92
    yield "noise and blur", "blur 1 %", lambda a, r: cv2.GaussianBlur(a, (0, 0), 0.01 * len(a)), ".jpg", 92
    for strength in (1, 2):
        yield "combined", f"strength {strength}", lambda a, r, s=strength: combine(a, s, r), ".jpg", 70


def flip(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    image = np.rot90(image, turns)
    return np.ascontiguousarray(image[:, ::-1] if mirrored else image)


def rotate(image: np.ndarray, degrees: float, random: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    angle = degrees * random.choice([-1, 1])
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=BORDERS[random.integers(3)])


def linear(image: np.ndarray, gain: float, offset: float) -> np.ndarray:
    return np.clip(np.rint(image.astype(np.float32) * gain + offset), 0, 255).astype(np.uint8)


def crop(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    h, w = round(height * share), round(width * share)
    top, left = random.integers(height - h + 1), random.integers(width - w + 1)
    return cv2.resize(image[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_LINEAR)


def resize(image: np.ndarray, factor: float) -> np.ndarray:
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=method)


def noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return np.clip(image + random.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def combine(image: np.ndarray, strength: int, random: np.random.Generator) -> np.ndarray:
    """What augmentation scripts do: flip, rotate, crop and change the brightness, all at once."""
    image = flip(image, int(random.integers(4)), bool(random.integers(2)))
    image = crop(image, 1 - 0.05 * strength, random)
    image = rotate(image, random.uniform(0, 7.5 * strength), random)
    return linear(image, 1 + 0.1 * strength * random.uniform(-1, 1), 0)


def base_sets(options: argparse.Namespace) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Name and images (class, BGR pixels) of each data set that copies are planted into."""
    folder = render_sample(size=224)
    yield "rendered sample", [(p.parent.name, cv2.imread(str(p))) for p in sorted(folder.rglob("*.bmp"))]
    if options.shared is None:
        return
    yield "Taleqani", list(from_tar(options.shared / "data" / "taleqani_all.tar"))
    yield "PBC originals", list(from_tar(options.shared / "data" / "pbc_originals.tar"))
    yield "PBC-64", pbc64(options.shared, 6000)


def from_tar(archive: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.lower().endswith((".jpg", ".png", ".bmp")):
                data = np.frombuffer(tar.extractfile(member).read(), np.uint8)
                yield pathlib.PurePosixPath(member.name).parent.name, cv2.imdecode(data, cv2.IMREAD_COLOR)


def pbc64(shared: pathlib.Path, count: int) -> list[tuple[str, np.ndarray]]:
    archive = np.load(shared / "data" / "pbc64.npz", allow_pickle=False)
    data, ends, labels = archive["jpeg"].tobytes(), archive["offsets"], archive["label"]
    rows = np.sort(np.random.default_rng(0).permutation(len(labels))[:count])
    return [
        (f"class{labels[k]}", cv2.imdecode(np.frombuffer(data[ends[k] : ends[k + 1]], np.uint8), cv2.IMREAD_COLOR))
        for k in rows
    ]


def planted(options: argparse.Namespace) -> None:
    rows, totals = [], []
    for name, images in base_sets(options):
        with tempfile.TemporaryDirectory() as folder:
            found, total = plant_and_audit(name, images, pathlib.Path(folder), options.each)
        rows += found
        totals.append(total)
        print(total)
    frame = pd.DataFrame(rows)
    promised = frame[~frame["beyond"]]
    both = {"set": "all", "planted": int(promised["planted"].sum()), "found": int(promised["found"].sum())}
    both |= {key: sum(total[key] for total in totals) for key in ("images", "pairs", "wrong_pairs", "natural_pairs")}
    totals.append(rates(both))
    print(totals[-1])
    files.write_text(options.output / "planted.csv", frame.to_csv(index=False, float_format="%.4f"))
    files.write_text(
        options.output / "planted_totals.csv", pd.DataFrame(totals).to_csv(index=False, float_format="%.4f")
    )
    plot(frame, options.output / "planted.png")
    with tempfile.TemporaryDirectory() as folder:
        faults = plant_faults(pathlib.Path(folder))
    print(faults.to_string())
    files.write_text(options.output / "faults.csv", faults.to_csv(index=False, float_format="%.4f"))


def plant_and_audit(name: str, images: list, folder: pathlib.Path, each: int) -> tuple[list[dict], dict]:
    random = np.random.default_rng(1)
    listing = []
    for number, (label, pixels) in enumerate(images):
        path = folder / label / f"base{number:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        listing.append((f"{label}/{path.name}", "train", number, "", ""))
    manifest, table = open_for_audit(folder)
    natural = audit_table(manifest, table, shortcuts=False, progress=False)
    for kind, strength, change, suffix, quality in changes():
        for number in random.choice(len(images), min(each, len(images)), replace=False):
            label, pixels = images[number]
            path = folder / label / f"copy{len(listing):05}{suffix}"
            options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
            cv2.imwrite(str(path), change(pixels, random), options)
            listing.append((f"{label}/{path.name}", "test", int(number), kind, strength))
    truth = pd.DataFrame(listing, columns=["path", "split", "source", "kind", "strength"])
    manifest, table = open_for_audit(folder)
    audit = audit_table(manifest, table, split=truth, shortcuts=False, progress=False)

    family = dict(zip(truth["path"], truth["source"]))
    for _, part in natural.groups.groupby("group"):
        together = set(family[path] for path in part["path"])
        family |= {path: min(together) for path, source in family.items() if source in together}
    groups = dict(zip(audit.groups["path"], audit.groups["group"]))
    base = dict(zip(truth["source"][truth["kind"] == ""], truth["path"][truth["kind"] == ""]))
    copies = truth[truth["kind"] != ""].copy()
    copies["found"] = [
        groups.get(path, -1) == groups.get(base[source], -2) for path, source in zip(copies["path"], copies["source"])
    ]
    of_copy = audit.pairs[audit.pairs["path"].isin(copies["path"]) | audit.pairs["other"].isin(copies["path"])]
    wrong = sum(family[a] != family[b] for a, b in zip(of_copy["path"], of_copy["other"]))
    rows = [
        {
            "set": name, "kind": kind, "strength": strength, "planted": len(part), "found": int(part["found"].sum()),
            "recall": part["found"].mean(), "beyond": (kind, strength) in BEYOND,
        }
        for (kind, strength), part in copies.groupby(["kind", "strength"], sort=False)
    ]  # fmt: skip
    kept = [row for row in rows if not row["beyond"]]
    total = {
        "set": name, "planted": sum(row["planted"] for row in kept), "found": sum(row["found"] for row in kept),
        "images": len(images), "pairs": len(of_copy), "wrong_pairs": wrong,
        "natural_pairs": int((natural.pairs["kind"] != "exact").sum()),
    }  # fmt: skip
    return rows, rates(total)


def rates(total: dict) -> dict:
    precision = 1 - total["wrong_pairs"] / max(1, total["pairs"])
    return {**total, "recall": total["found"] / total["planted"], "precision": precision}


def plant_faults(folder: pathlib.Path) -> pd.DataFrame:
    """Plant each kind of fault into the rendered sample; count how many are named, and what else is named."""
    from PIL import Image

    images = [(p.parent.name, cv2.imread(str(p))) for p in sorted(render_sample().rglob("*.bmp"))]
    listing, expected = [], []
    for number, (label, pixels) in enumerate(images):
        (folder / label).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / label / f"{number:04}.png"), pixels)
        subject = f"{label}{number // 20}"
        split = ("train", "train", "train", "val", "test")[number // 20 % 5]
        listing.append([f"{label}/{number:04}.png", label, subject, split])

    def put(kind: str, name: str, data: bytes, label: str = "ALL", split: str = "train", subject: str = "") -> None:
        (folder / label / name).write_bytes(data)
        expected.append((kind, f"{label}/{name}"))
        listing.append([f"{label}/{name}", label, subject or f"planted {name}", split])

    def encoded(number: int, suffix: str = ".jpg") -> bytes:
        return cv2.imencode(suffix, images[number][1])[1].tobytes()

    def saved(number: int, mode: str, kind: str) -> bytes:
        path = folder / f"temporary.{kind}"
        Image.fromarray(np.roll(images[number][1][::-1, ::-1], 9, (0, 1))).convert(mode).save(path)
        data = path.read_bytes()
        path.unlink()
        return data

    for k in range(10):
        put("unreadable", f"empty{k}.jpg", b"")
        put("unreadable", f"text{k}.png", b"this is text")
        put("truncated", f"short{k}.jpg", encoded(k)[: 900 + 200 * k])
        put("truncated", f"short{k}.png", encoded(k, ".png")[: -500 - k])
        put("wrong suffix", f"really_jpeg{k}.png", cv2.imencode(".jpg", np.rot90(images[k][1][:90, :90]))[1].tobytes())
        put("odd mode", f"grey{k}.png", saved(100 + k, "L", "png"))
        put("odd mode", f"palette{k}.png", saved(200 + k, "P", "png"))
        put("odd mode", f"cmyk{k}.jpg", saved(300 + k, "CMYK", "jpg"))
        put("odd size", f"small{k}.png", cv2.imencode(".png", cv2.resize(images[k + 50][1], (60, 60)))[1].tobytes())
        put("blank", f"blank{k}.png", cv2.imencode(".png", np.full((128, 128, 3), 20 * k, np.uint8))[1].tobytes())
        same = (folder / images[400 + k][0] / f"{400 + k:04}.png").read_bytes()
        put("exact copies across splits", f"same{k}.png", same, images[400 + k][0], "val" if k % 2 else "test")
        other = "HEM" if images[420 + k][0] == "ALL" else "ALL"
        twin = (folder / images[420 + k][0] / f"{420 + k:04}.png").read_bytes()
        put("label conflict", f"twin{k}.png", twin, other)
        put("subject across splits", f"visit{k}.png", saved(500 + k, "RGB", "png"), "ALL", "val", f"many{k}")
        put("", f"visit{k}b.png", saved(520 + k, "RGB", "png"), "ALL", "test", f"many{k}")
    frame = pd.DataFrame(listing, columns=["path", "label", "subject", "split"])
    frame.to_csv(folder / "table.csv", index=False)
    manifest, table = open_for_audit(folder / "table.csv")
    findings = audit_table(manifest, table, shortcuts=False, progress=False).findings
    groups = {}
    for row in findings.to_dict("records"):
        groups.setdefault(row["kind"], set()).update({row["path"], row["other"]})
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in expected if kind):
        paths = [path for one, path in expected if one == kind]
        named = groups.get(kind, set())
        rows.append({"fault": kind, "planted": len(paths), "found": sum(path in named for path in paths)})
    planted_paths = {path for _, path in expected}
    base_paths = {row[0] for row in listing} - planted_paths
    file_kinds = {"unreadable", "truncated", "wrong suffix", "odd mode", "odd size", "blank"}
    wrong = sum(len(groups.get(kind, set()) & base_paths) for kind in file_kinds)
    rows.append({"fault": "sound files named as faulty", "planted": len(base_paths), "found": wrong})
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame, path: pathlib.Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = frame.pivot_table(index=["kind", "strength"], columns="set", values="recall", sort=False)
    figure = Figure(figsize=(9, 0.27 * len(table) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = ("#0b5c8a", "#d1620b", "#5b8c3a", "#8a949e")
    for column, (name, colour, marker) in enumerate(zip(table.columns, colours, "os^D")):
        rows = np.arange(len(table)) + 0.14 * (column - (len(table.columns) - 1) / 2)
        axes.plot(table[name], rows, marker, color=colour, label=name, markersize=5)
    axes.axvline(0.98, color="#1f2933", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(table)), [f"{kind}: {strength}" for kind, strength in table.index], fontsize=8)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel("share of planted copies that were found (dotted: 0.98)")
    axes.set_xlim(min(0.5, float(table.min().min()) - 0.03), 1.02)
    axes.grid(axis="x", color="#d9dfe5", linewidth=0.6)
    axes.legend(loc="lower left", fontsize=8)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


# ---------------------------------------------------------------- real data


def real(options: argparse.Namespace) -> None:
    rows, cues = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, spec in real_sets(options, pathlib.Path(folder)):
            manifest, table = open_for_audit(spec)
            audit = audit_table(manifest, table, progress=False)
            found = audit.summary
            rows.append(
                {
                    "set": name, "images": found["images"], "exact_groups": found["exact_groups"],
                    "surplus_files": found["exact_copies"], "near_pairs": found["near_pairs"],
                    "overlap_pairs": found["overlap_pairs"], "groups": found["groups"],
                    "groups_across_classes": found["groups_across_classes"],
                    "leaks": found["severities"]["leak"], "images_with_print": print_share(audit),
                }
            )  # fmt: skip
            cues.append(audit.shortcuts.drop(columns="what").assign(set=name))
            print(json.dumps(rows[-1]))
            print(cues[-1].to_string())
    files.write_text(options.output / "real.csv", pd.DataFrame(rows).to_csv(index=False, float_format="%.4f"))
    frame = pd.concat(cues)[["set", "target", "cue", "auc", "low", "high", "images", "per_class"]]
    files.write_text(options.output / "real_shortcuts.csv", frame.to_csv(index=False, float_format="%.4f"))


def print_share(audit) -> float:
    """Share of the images with burned-in print: the prints are found on disjoint images."""
    return sum(one.share for one in audit.prints[:1]) if audit.prints else 0.0


def real_sets(options: argparse.Namespace, folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path | str]]:
    if options.shared is not None:
        for name, archive in (("Taleqani", "taleqani_all.tar"), ("PBC originals", "pbc_originals.tar")):
            with tarfile.open(options.shared / "data" / archive) as tar:
                tar.extractall(folder / archive, filter="data")
            place = folder / archive
            while len(list(place.iterdir())) == 1:
                place = next(place.iterdir())
            yield name, place
        archive = np.load(options.shared / "data" / "pbc64.npz", allow_pickle=False)
        data, ends = archive["jpeg"].tobytes(), archive["offsets"]
        pixels = np.stack(
            [
                cv2.imdecode(np.frombuffer(data[a:b], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                for a, b in zip(ends[:-1], ends[1:])
            ]
        )
        parts = {name: archive["split"] == number for number, name in enumerate(("train", "val", "test"))}
        arrays = {f"{name}_images": pixels[rows] for name, rows in parts.items()}
        arrays |= {f"{name}_labels": archive["label"][rows][:, None] for name, rows in parts.items()}
        np.savez(folder / "pbc64_bloodmnist.npz", **arrays)
        yield "PBC-64, rebuilt split", folder / "pbc64_bloodmnist.npz"
    yield "rendered sample", "sample"


# ---------------------------------------------------------------- speed and growth


def speed(options: argparse.Namespace) -> None:
    """Audit against one read and decode, three parts of the files in turn, so that a busy machine slows both alike."""
    from leukemia_tf.data.decode import read_image
    from leukemia_tf.data.threads import map_threads

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_cells(options, folder, options.images)
        manifest, table = open_for_audit(folder)
        paths = [str(folder / path) for path in table["path"]]
        read_image(paths[0])  # the tracing of TensorFlow's graph is not decoding
        before = Clock()
        for _ in map_threads(lambda path: read_image(path).shape, paths[::2]):
            pass
        first = before.lap()
        audit = audit_table(manifest, table, progress=False)
        audited = before.lap()
        for _ in map_threads(lambda path: read_image(path).shape, paths[1::2]):
            pass
        second = before.lap()
        size = np.mean([os.path.getsize(path) for path in paths[:500]])
    decode = {key: first[key] + second[key] for key in first}
    row = {
        "images": len(paths), "mean_bytes": round(size), "threads": os.cpu_count(),
        "decode_wall_s": decode["wall"], "audit_wall_s": audited["wall"],
        "decode_cpu_s": decode["cpu"], "audit_cpu_s": audited["cpu"],
        "speed_to_decode_wall": decode["wall"] / audited["wall"],
        "speed_to_decode_cpu": decode["cpu"] / audited["cpu"],
        "peak_memory_gb_with_tensorflow": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "pairs": len(audit.pairs),
    }  # fmt: skip
    print(json.dumps(row, indent=1))
    files.write_text(options.output / "speed.csv", pd.DataFrame([row]).to_csv(index=False, float_format="%.3f"))


class Clock:
    """Wall and processor seconds since the last lap."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        result = {"wall": wall - self._wall, "cpu": cpu - self._cpu}
        self._wall, self._cpu = wall, cpu
        return result


def write_cells(options: argparse.Namespace, folder: pathlib.Path, count: int) -> None:
    """Different cells as JPEG files of 450 x 450 with the grain of a camera."""
    if options.shared is not None:
        sources = [pixels for _, pixels in pbc64(options.shared, count)]
    else:
        sources = list(simulated(count))
    for label in ("a", "b"):
        (folder / label).mkdir()

    def write(number: int) -> None:
        random = np.random.default_rng(number)
        pixels = cv2.resize(sources[number % len(sources)], (450, 450), interpolation=cv2.INTER_CUBIC)
        grain = cv2.resize(random.normal(0, 6, (225, 225, 3)), (450, 450))
        path = folder / "ab"[number % 2] / f"{number:06}.jpg"
        cv2.imwrite(str(path), np.clip(pixels + grain, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(write, range(count)))


def simulated(count: int, size: int = 64, seed: int = 0) -> Iterator[np.ndarray]:
    """Pictures of a dark grainy cell among paler ones, each different: uint8 [size, size, 3]."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        image = np.full((size, size, 3), random.integers(190, 235, 3), np.uint8)
        for _ in range(int(random.integers(4, 12))):
            centre = tuple(int(v) for v in random.integers(-5, size + 5, 2))
            axes = tuple(int(v) for v in random.integers(size // 10, size // 5, 2))
            for share, pale in ((1.0, 0), (0.5, 25)):
                colour = tuple(int(v) + pale for v in random.integers(130, 200, 3))
                inner = tuple(int(v * share) for v in axes)
                cv2.ellipse(image, centre, inner, float(random.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
        nucleus = np.zeros((size, size), np.uint8)
        for _ in range(int(random.integers(1, 4))):
            centre = tuple(int(v) for v in random.integers(size * 2 // 5, size * 3 // 5, 2))
            axes = tuple(int(v) for v in random.integers(size // 9, size // 4, 2))
            cv2.ellipse(nucleus, centre, axes, float(random.integers(180)), 0, 360, 255, -1, cv2.LINE_AA)
        # Chromatin: grain of two sizes.
        grain = 22 * cv2.GaussianBlur(random.normal(0, 1, (size, size)), (0, 0), size / 24) * (size / 24) * 3
        grain += 10 * cv2.GaussianBlur(random.normal(0, 1, (size, size)), (0, 0), size / 64) * (size / 64) * 3
        inside = (nucleus / 255.0)[..., None]
        stain = np.array([110.0, 40.0, 80.0]) + random.normal(0, 15, 3) + grain[..., None]
        image = image * (1 - inside) + stain * inside
        yield np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def scaling(options: argparse.Namespace) -> None:
    """The search for copies at growing numbers, each size in a process of its own, so that its memory is its own."""
    file = options.output / "scaling.csv"
    for work, sizes in ((search, options.sizes), (look_up_simulated, options.index_sizes)):
        for count in sizes:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                row = pool.submit(work, count).result()
            print(json.dumps(row), flush=True)
            # Sizes that were measured by another call stay.
            before = [pd.read_csv(file)] if file.exists() else []
            frame = pd.concat([*before, pd.DataFrame([row])])
            frame = frame.drop_duplicates(["what", "images"], keep="last")
            frame = frame.sort_values(["what", "images"], ascending=[False, True])
            files.write_text(file, frame.to_csv(index=False, float_format="%.3f"))


def look_up_simulated(count: int) -> dict:
    """The index on descriptors drawn with the spread of those of PBC-64; 1 % of the images are copies with noise."""
    random = np.random.default_rng(3)
    spread = np.sqrt(1 + 300 / np.arange(1, 25) ** 1.8).astype(np.float32)
    planted_count, places = count // 100, d.POINTS
    parts = []
    for kind in range(len(d.SCALES) + 2):
        rows = places if kind < len(d.SCALES) else 1
        if kind in (0, len(d.SCALES)):
            base = random.normal(size=(count, rows, 24)).astype(np.float32) * spread
            if kind == 0:
                sources = random.choice(count - planted_count, planted_count, replace=False)
            base[count - planted_count :] = base[sources] + random.normal(size=(planted_count, rows, 24))
        # Other scales of a point differ more from it than a copy does.
        noise = random.normal(size=base.shape).astype(np.float32) * (0.25 * (kind % len(d.SCALES))) * spread**0.5
        parts.append(
            {
                "vector": (base + noise).reshape(-1, 24), "image": np.repeat(np.arange(count, dtype=np.int32), rows),
                "point": np.zeros(count * rows, np.int32), "kind": np.full(count * rows, kind, np.int8),
            }
        )  # fmt: skip
    known = {name: np.concatenate([parts[0][name], parts[len(d.SCALES)][name]]) for name in parts[0]}

    def blocks(size: int = 16_384) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, count, size):
            ends = [np.searchsorted(part["image"], [start, start + size]) for part in parts]
            yield {
                name: np.concatenate([part[name][low:high] for part, (low, high) in zip(parts, ends)]) for name in known
            }

    clock = Clock()
    with threadpool_limits(1):
        found = look_up(known, blocks(), count)
    spent = clock.lap()
    pairs = set(zip(found[["first", "second"]].min(axis=1), found[["first", "second"]].max(axis=1)))
    true = {(int(source), row) for row, source in enumerate(sources, start=count - planted_count)}
    return {
        "what": "index alone", "images": count, "wall_s": spent["wall"], "cpu_s": spent["cpu"],
        "cpu_ms_per_image": 1e3 * spent["cpu"] / count,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "planted": planted_count, "recall": len(true & pairs) / planted_count, "pairs": len(pairs),
    }  # fmt: skip


def search(count: int) -> dict:
    random = np.random.default_rng(2)
    planted_count = count // 100
    thumbnails = np.empty((count, 64, 64), np.uint8)
    for row, image in enumerate(simulated(count - planted_count)):
        thumbnails[row] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    sources = random.choice(count - planted_count, planted_count, replace=False)
    for row, source in enumerate(sources, start=count - planted_count):
        thumbnails[row] = combine(thumbnails[source], 1, random)
    clock = Clock()
    pairs = find_copies(thumbnails, progress=False)
    spent = clock.lap()
    true = {(int(s), r) for r, s in enumerate(sources, start=count - planted_count)}
    found = {tuple(sorted((int(a), int(b)))) for a, b in zip(pairs["first"], pairs["second"])}
    return {
        "what": "search for copies", "images": count, "wall_s": spent["wall"], "cpu_s": spent["cpu"],
        "cpu_ms_per_image": 1e3 * spent["cpu"] / count,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "planted": planted_count, "recall": len(true & found) / planted_count, "pairs": len(found),
        "wrong_pairs": len(found - true),
    }  # fmt: skip


if __name__ == "__main__":
    main()
