"""``leukemia-tf data ...`` as a user gives it."""

from __future__ import annotations

import argparse
import csv
import hashlib
import subprocess
import sys

import pytest
from PIL import Image

from leukemia_tf.cli_data import add_data_commands
from leukemia_tf.data.manifest import list_manifests, load_manifest
from leukemia_tf.errors import LeukemiaTFError


@pytest.fixture
def command(capsys):
    """Run a command as leukemia_tf.cli does: exit code, standard output, and the error lines."""

    def run(*arguments):
        parser = argparse.ArgumentParser("leukemia-tf")
        add_data_commands(parser.add_subparsers(), lambda: None)
        options = parser.parse_args(list(map(str, arguments)))
        try:
            code = options.call(options)
        except LeukemiaTFError as error:
            return error.exit_code, "", str(error).splitlines()
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(f"{c}/patient{c}{s}_{i}.png" for c in "ab" for s in range(3) for i in range(2)):
        (tmp_path / "cells" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "cells" / name)
    return tmp_path / "cells"


def test_list(command):
    code, out, _ = command("data", "list")
    lines = out.splitlines()
    assert code == 0 and [line.split()[0] for line in lines[1:]] == list_manifests()
    (line,) = [line for line in lines if line.startswith("cnmc2019")]
    assert line.split()[1:4] == ["12,528", "2", "101"] and "train, test, 3 folds" in line


@pytest.mark.parametrize("name", list_manifests())
def test_show_tells_licence_counts_and_every_fault(command, name):
    manifest = load_manifest(name)
    code, out, _ = command("data", "show", name)
    text = " ".join(out.split())
    assert code == 0 and manifest.title in text and " ".join(manifest.licence.split()) in text
    for fault in manifest.known_faults:
        assert " ".join(fault.split()) in text
    for count in manifest.class_counts.values():
        assert f"{count:,}" in text
    assert all(len(line) <= 130 or " " not in line[17:] for line in out.splitlines())


def test_show_tells_how_it_is_had(command):
    text = " ".join(command("data", "show", "bloodmnist")[1].split())
    assert "variant 64: https://zenodo.org/records/10519652/files/bloodmnist_64.npz?download=1" in text
    assert "md5 2b94928a2ae4916078ca51e05b6b800b" in text
    assert "no checksum is published" in command("data", "show", "pbc")[1]
    assert "by hand, https://homes.di.unimi.it/scotti/all/" in command("data", "show", "allidb2")[1]


def test_unknown_names_are_one_line(command):
    for arguments in (["show", "cnmc2018"], ["fetch", "cnmc2018"], ["verify", "cnmc2018", "."]):
        code, _, errors = command("data", *arguments)
        assert code == 2 and len(errors) == 1 and "Did you mean 'cnmc2019'" in errors[0]


def test_fetch_by_hand_says_how(command):
    code, _, errors = command("data", "fetch", "allidb2")
    assert code == 2 and len(errors) == 1 and "by the form on that page" in errors[0]
    code, _, errors = command("data", "fetch", "bloodmnist")
    assert code == 2 and errors == ["`variant` must be one of 28, 64, 128, 224 for 'bloodmnist'; received None"]


def test_fetch_sample(command, monkeypatch, tmp_path):
    import leukemia_tf.data.sample

    monkeypatch.setattr(leukemia_tf.data.sample, "render_sample", lambda seed, progress: tmp_path, raising=False)
    assert command("data", "fetch", "sample", "--quiet") == (0, f"{tmp_path}\n", [])


def test_init_then_verify_then_a_missing_file(command, folder, tmp_path):
    code, out, _ = command("data", "init", folder)
    assert code == 0 and "# ? subjects: taken:" in out and "classes:\n- a\n- b\n" in out
    file = folder / "cells.yaml"
    code, out, _ = command("data", "init", folder, "--output", file)
    assert code == 0 and out.splitlines()[-1].endswith(f"--data {file}") and file.is_file()
    assert command("data", "init", folder, "--output", file)[0] == 2

    listing = tmp_path / "list.csv"
    with open(listing, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256"])
        for image in sorted(folder.rglob("*.png")):
            writer.writerow([image.relative_to(folder).as_posix(), hashlib.sha256(image.read_bytes()).hexdigest()])
    file.rename(tmp_path / "cells.yaml")
    code, out, errors = command("data", "verify", tmp_path / "cells.yaml", folder, "--list", listing)
    assert (code, errors) == (0, []) and "12 of 12 listed files are there; 0 differences" in out
    assert out.splitlines()[-1] == "cells: complete and unaltered, as far as was compared"
    (folder / "b" / "patientb0_0.png").unlink()
    code, out, errors = command("data", "verify", tmp_path / "cells.yaml", folder, "--list", listing)
    assert code == 1 and "complete and unaltered" not in out
    assert errors == [
        "error: images: a 6, b 5; a complete copy has a 6, b 6",
        "error: missing: `b/patientb0_0.png`",
    ]


def test_help_and_listing_load_neither_tensorflow_nor_pandas():
    code = (
        "import argparse, sys; from leukemia_tf.cli_data import add_data_commands as add\n"
        "p = argparse.ArgumentParser(); add(p.add_subparsers(), None); o = p.parse_args(['data', 'list']); o.call(o)\n"
        "print(sorted({'tensorflow', 'keras', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_further_commands_can_be_added():
    parser = argparse.ArgumentParser()
    commands = add_data_commands(parser.add_subparsers(), lambda: None)
    commands.add_parser("audit").set_defaults(call=lambda options: 7)
    options = parser.parse_args(["data", "audit"])
    assert options.call(options) == 7


def test_split(command, folder, tmp_path):
    (tmp_path / "t.csv").write_text("path,label,subject\n" + "".join(
        f"{p.relative_to(tmp_path).as_posix()},{p.parent.name},{p.stem.split('_')[0]}\n"
        for p in sorted(folder.rglob("*.png"))
    ))  # fmt: skip
    code, out, _ = command("data", "split", tmp_path / "t.csv", "--output", tmp_path / "s", "--folds", 3, "--quiet")
    assert code == 0 and out.count("by subject: train 4 images of 2 subjects, val 4 images of 2 subjects") == 3
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == [f"partition0_fold{k}.csv" for k in range(3)]
    arguments = ("data", "split", tmp_path / "t.csv", "--output", tmp_path / "s", "--level", "image", "--quiet")
    code, _, lines = command(*arguments)
    assert code == 2 and len(lines) == 1 and "--allow-leakage" in lines[0]
    code, out, _ = command(*arguments, "--allow-leakage")
    assert code == 0 and out.splitlines()[-1].startswith("LEAKY SPLIT")
