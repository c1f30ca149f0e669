"""Manifests: the schema, and facts of the data sets checked against their file lists."""

import csv
import gzip
import json
import re
import subprocess
import sys

import pytest

from leukemia_tf.data.manifest import Manifest, list_manifests, load_manifest
from leukemia_tf.errors import InputError

FACTS = {
    "name": "mine",
    "title": "Mine",
    "licence": "CC0",
    "citation": "Me",
    "homepage": "https://example.org",
    "classes": ["a", "b"],
    "layout": "folders",
    "official_split": False,
}


@pytest.mark.parametrize("name", list_manifests())
def test_every_manifest_is_valid_and_survives_json(name):
    manifest = load_manifest(name)
    assert manifest.name == name
    assert manifest.licence and manifest.citation
    # What is drawn by this package has no page on the web; its home is the module that draws it.
    assert manifest.homepage.startswith("leukemia_tf." if manifest.synthetic else "https://")
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_the_known_data_sets_are_there_and_only_the_sample_is_synthetic():
    assert {"sample", "cnmc2019", "bloodmnist", "taleqani", "pbc"} <= set(list_manifests())
    assert [name for name in list_manifests() if load_manifest(name).synthetic] == ["sample"]
    # Index 1 is the positive class.
    assert load_manifest("sample").classes == load_manifest("cnmc2019").classes == ("HEM", "ALL")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": "red"}, "unknown key `colour`"),
        ({"classes": "ab"}, "`classes` must be a list of text; received 'ab'"),
        ({"classes": ["a", 1]}, "`classes` must be a list of text"),
        ({"classes": ["a"]}, "two or more different names"),
        ({"classes": ["a", "a"]}, "two or more different names"),
        ({"official_split": "no"}, "`official_split` must be true or false; received 'no'"),
        ({"layout": "heap"}, "`layout` must be one of folders, table, medmnist, files; received 'heap'"),
        ({"layout": "files"}, "needs `label_from`"),
        ({"label_from": "("}, "not a regular expression"),
        ({"subject_from": r"(\d+)"}, "named group (?P<subject>...)"),
        ({"label_names": {"x": "c"}}, "`label_names` names a class that `classes` lacks; received 'c'"),
        ({"class_counts": {"a": True}}, "a mapping of text to a whole number"),
        ({"image_size": [1, 2, 3]}, "a list of 2 values"),
        ({"root": "/data"}, "unknown key `root`"),
    ],
)
def test_a_breach_of_the_schema_is_named(change, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Manifest.from_dict({**FACTS, **change})


def test_all_breaches_are_reported_together():
    facts = {key: value for key, value in FACTS.items() if key not in ("title", "licence")}
    with pytest.raises(InputError) as error:
        Manifest.from_dict({**facts, "x": 1}, "mine.yaml")
    assert len(str(error.value).splitlines()) == 3
    assert all("`mine.yaml`" in line for line in str(error.value).splitlines())


def test_own_yaml_file_and_unknown_names(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(FACTS))  # JSON is YAML
    manifest = load_manifest(file, root=tmp_path)
    assert (manifest.name, manifest.root) == ("mine", tmp_path)
    file.write_text("a: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_manifest(file)
    with pytest.raises(InputError, match="Did you mean 'cnmc2019'"):
        load_manifest("cnmc2018")
    with pytest.raises(InputError, match="does not exist"):
        load_manifest(tmp_path / "other.yaml")


def test_manifests_need_neither_tensorflow_nor_pandas():
    code = (
        "import sys, leukemia_tf.data; from leukemia_tf.data import load_manifest; load_manifest('sample');"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_cnmc_rules_on_the_published_file_list(shared):
    manifest = load_manifest("cnmc2019")
    counts, subjects, fitting = {"HEM": 0, "ALL": 0}, {"HEM": set(), "ALL": set()}, 0
    with gzip.open(shared / "data" / "cnmc2019_file_list.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            label = re.search(manifest.label_from, row["path"])
            if label:
                fitting += 1
                name = manifest.label_names[label["label"]]
                assert f"/{label['label']}/" in row["path"]
                counts[name] += 1
                subjects[name].add(re.search(manifest.subject_from, row["path"])["subject"])
    # The challenge's own figures: 10,661 images, 47 subjects with ALL and 26 healthy ones.
    assert fitting == 10661
    assert counts == manifest.split_counts["train"] == {"HEM": 3389, "ALL": 7272}
    assert {name: len(found) for name, found in subjects.items()} == {"HEM": 26, "ALL": 47}
    assert not subjects["HEM"] & subjects["ALL"]


def test_bloodmnist_and_pbc_totals():
    # 11,959 + 1,712 + 3,421 images, as MedMNIST states.
    assert sum(load_manifest("bloodmnist").class_counts.values()) == 11959 + 1712 + 3421
    assert sum(load_manifest("pbc").class_counts.values()) == 17092
    assert sum(load_manifest("taleqani").class_counts.values()) == 3256
