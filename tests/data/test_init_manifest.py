"""A proposed manifest: what names and bytes tell is found, what they don't is left open, and it can be opened."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leukemia_tf.data.init_manifest import propose_manifest, write_proposal
from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.open import open_data
from leukemia_tf.data.subject_guess import guess_subjects
from leukemia_tf.errors import InputError


def draw(folder, names, copies=()):
    """Write small files, each of its own colour; `copies` are (copy, original)."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number % 256, number // 256, 7)).save(path)
    for copy, original in copies:
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        (folder / copy).write_bytes((folder / original).read_bytes())
    return folder


def cohort(style, subjects=4, images=3, classes=("healthy", "blast")):
    return [
        style.format(c=c, s=s + 10 * k, i=i)
        for k, c in enumerate(classes)
        for s in range(subjects)
        for i in range(images)
    ]


def doubts(proposal, about):
    return [line for line in proposal.unsure if line.startswith(about)]


def test_a_plain_folder(tmp_path):
    folder = draw(tmp_path / "My Cells", cohort("{c}/patient_{s}_{i}.png"))
    proposal = propose_manifest(folder)
    manifest = proposal.manifest
    assert (manifest.name, manifest.classes, manifest.image_size) == ("my_cells", ("healthy", "blast"), (4, 5))
    assert manifest.class_counts == {"healthy": 12, "blast": 12} and not manifest.official_split
    assert proposal.facts[0] == "24 images: healthy 12, blast 12"
    assert "no two images are identical" in proposal.facts
    line, *_ = doubts(proposal, "subjects")
    assert "taken: a word such as patient or case (the names say so): 8 of them, the largest with 3 images" in line
    _, table = open_data(manifest)
    assert sorted(set(table["subject"])) == sorted(f"patient_{s}" for s in (0, 1, 2, 3, 10, 11, 12, 13))


def test_it_is_written_and_opened_by_its_file(tmp_path):
    folder = draw(tmp_path / "cells", cohort("{c}/patient_{s}_{i}.png"))
    proposal = propose_manifest(folder)
    file = write_proposal(proposal, folder / "cells.yaml")
    assert load_manifest(file) == proposal.manifest.replace(root=None)
    opened, table = open_data(file)
    assert opened.root == folder and table["subject"].nunique() == 8 and len(table) == 24
    for bad, says in (
        (file, "is there already"),
        (folder / "x.txt", "must end in .yaml"),
        (tmp_path / "x.yaml", "must lie in the folder of the images"),
    ):
        with pytest.raises(InputError, match=says):
            write_proposal(proposal, bad)


def test_splits_folds_and_deeper_folders(tmp_path):
    names = [
        f"archive/Set/{split}/{c}/p{s}/{i}.png"
        for k, split in enumerate(("Train", "valid", "TEST"))
        for c in "ab"
        for s in range(4 * k, 4 * k + 3)
        for i in range(2)
    ]
    proposal = propose_manifest(draw(tmp_path / "x", names))
    assert "the folder below the class folder" in doubts(proposal, "subjects")[0]
    manifest, table = open_data(proposal.manifest)
    assert manifest.official_split and table["split"].value_counts().to_dict() == {"train": 12, "val": 12, "test": 12}
    assert set(table["subject"][table["split"] == "val"]) == {"p4", "p5", "p6"}
    proposal = propose_manifest(
        draw(tmp_path / "y", [f"fold_{f}/{c}/{f}{n}.png" for f in range(3) for c in "ab" for n in range(2)])
    )
    assert proposal.manifest.fold_from == "^(?P<fold>fold_0|fold_1|fold_2)/"
    assert len(open_data(proposal.manifest)[1]) == 12


def test_a_guess_that_would_cross_the_given_splits_is_not_taken(tmp_path):
    names = [
        f"{split}/{c}/patient{s}_{split}{i}.png"
        for split in ("train", "test")
        for c in "ab"
        for s in range(3)
        for i in range(2)
    ]
    proposal = propose_manifest(draw(tmp_path / "x", names))
    assert proposal.manifest.subject_from is None
    assert "not taken after all, for 3 would lie in several" in doubts(proposal, "subjects")[-1]
    assert len(open_data(proposal.manifest)[1]) == 24


def test_copies_are_told_apart_by_what_they_mean(tmp_path):
    names = cohort("{c}/patient_{s}_{i}.png")
    copies = [
        ("healthy/patient_0_9.png", "healthy/patient_0_0.png"),
        ("healthy/patient_1_9.png", "healthy/patient_2_0.png"),
        ("blast/patient_10_9.png", "healthy/patient_3_0.png"),
    ]
    proposal = propose_manifest(draw(tmp_path / "x", names, copies))
    assert "3 images are byte-identical copies of another" in proposal.facts
    assert doubts(proposal, "the same image") == [
        "the same image under different classes: one is wrong: `blast/patient_10_9.png`, `healthy/patient_3_0.png`",
        "the same image under different subjects: are they one person, or is the rule wrong?: "
        "`blast/patient_10_9.png`, `healthy/patient_3_0.png`",
        "the same image under different subjects: are they one person, or is the rule wrong?: "
        "`healthy/patient_1_9.png`, `healthy/patient_2_0.png`",
    ]


def test_what_only_the_owner_knows(tmp_path):
    folder = draw(tmp_path / "x", [f"{c}/{c}{n:03}.png" for c in ("left", "right", "masks") for n in range(3)])
    Image.new("L", (9, 9)).save(folder / "left" / "left000.png")
    (folder / "right" / "right000.png").write_bytes(b"no image")
    proposal = propose_manifest(folder)
    assert proposal.manifest.subject_from is None and proposal.manifest.image_size is None
    assert "the names tell none, so any split is by image" in doubts(proposal, "subjects")[0]
    assert doubts(proposal, "classes") == [
        "classes: fewer than 30 images (left 3, masks 3, right 3), too few to test on",
        "classes: `masks` may be no class, but other forms of the images",
    ]
    assert doubts(proposal, "the images differ") == [
        "the images differ in size (4x5, 9x9): does size tell class?"
    ]
    assert doubts(proposal, "1 of 9 files") == ["1 of 9 files looked at are greyscale: is that meant?"]
    assert "`right/right000.png` cannot be read: not a JPEG" in " ".join(proposal.unsure)
    two = propose_manifest(draw(tmp_path / "y", [f"{c}/{n}.png" for c in ("x", "y") for n in range(40)]))
    assert doubts(two, "classes") == ["classes: `y` is taken for the positive (diseased) one; is it?"]


def test_known_data_sets_need_none(tmp_path):
    folder = draw(
        tmp_path / "c", ["training_data/fold_0/all/UID_1_1_1_all.bmp", "training_data/fold_0/hem/UID_H1_1_1_hem.bmp"]
    )
    (folder / "testing_data").mkdir()
    proposal = propose_manifest(folder)
    assert proposal.manifest.name == "cnmc2019" and not proposal.unsure
    assert "needs no manifest of its own" in proposal.facts[0]


def test_names_like_cnmc(tmp_path):
    proposal = propose_manifest(
        draw(
            tmp_path / "c",
            [
                f"{c}/UID_{h}{s}_1_{i}_{c}.bmp"
                for c, h in (("all", ""), ("hem", "H"))
                for s in range(3)
                for i in range(2)
            ],
        )
    )
    assert "all files are named like C-NMC 2019's, which gives 6" in doubts(proposal, "subjects")[0]
    assert set(open_data(proposal.manifest)[1]["subject"]) == {"0", "1", "2", "H0", "H1", "H2"}


def test_folders_at_fault(tmp_path):
    with pytest.raises(InputError, match="`path` must be a folder of images"):
        propose_manifest(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must hold a folder of images for each class"):
        propose_manifest(tmp_path / "empty")
    draw(tmp_path / "x", ["a/1.png", "b/2.png"])
    (tmp_path / "x" / "a" / "line\nbreak.png").write_bytes(b"x")
    (tmp_path / "x" / "b" / "\udcff.png").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        propose_manifest(tmp_path / "x")
    assert str(error.value).splitlines()[1:] == [
        r"`a/line\nbreak.png`: rename the file; received a control character or a line break",
        r"`b/\udcff.png`: rename the file; received bytes that are not UTF-8",
    ]


def test_odd_class_names_are_taken_literally(tmp_path):
    proposal = propose_manifest(
        draw(tmp_path / "x", [f"{c}/{n}.png" for c in ("a+b", "a.b", "(x|y)") for n in range(3)])
    )
    assert sorted(set(open_data(proposal.manifest)[1]["label"])) == ["(x|y)", "a+b", "a.b"]


@pytest.mark.parametrize(
    ("style", "reads", "subjects"),
    [
        ("{c}/patient{s}-{i}.png", "a word such as patient", 8),
        ("{c}/x_Case {s}_{i}.png", "a word such as patient", 8),
        ("{c}/slide_{s}_{i}.png", "a word such as slide", 8),
        ("{c}/P{s}_{i}.png", "a P with a number", 8),
        ("{c}/{s}_{i}.png", "before the first _ or -", 8),
        ("{c}/{c}_{s}_{i}.png", "the number after the first word", 8),
        ("{c}/AB{s}x ({i}).png", "before the last number", 8),
        ("{c}/deep {s}/{i}.png", "the folder below the class folder", 8),
        ("{c}/{s}{i}.png", None, 0),
        ("{c}/{c} ({s}{i}).png", None, 0),
    ],
)
def test_styles_of_names(style, reads, subjects):
    names = cohort(style)
    guesses = guess_subjects(names, [name.split("/")[0] for name in names], 0)
    if reads is None:
        assert not guesses
    else:
        assert reads in guesses[0].reads and guesses[0].subjects == subjects and guesses[0].largest == 3


def test_a_subject_with_several_classes_is_told():
    names = [f"{c}/patient{s}_{i}.png" for c in "ab" for s in range(3) for i in range(2)]
    assert guess_subjects(names, [name[0] for name in names], 0)[0].several_classes == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ab1_-. ()P", min_size=1, max_size=10), min_size=6, max_size=12))
def test_any_names_give_plausible_guesses_or_none(names):
    paths = [f"{'ab'[n % 2]}/{n}{name}.png" for n, name in enumerate(names)]
    for guess in guess_subjects(paths, [path[0] for path in paths], 0):
        assert 6 <= 2 * guess.subjects <= len(paths)
