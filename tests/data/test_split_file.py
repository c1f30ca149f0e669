"""Split files: what is written is read, changes are noticed, and other data are refused."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data.folds import make_folds
from leukemia_tf.data.split import split_hash, split_table
from leukemia_tf.data.split_file import apply_split, read_split, write_split
from leukemia_tf.errors import InputError, RunError
from tests.data.test_folds import cohort


def table(**columns):
    return cohort({"a": [3] * 6, "b": [2] * 6}, **columns)


def test_a_single_split_there_and_back(tmp_path):
    split = split_table(table())
    assert write_split(tmp_path / "split.csv", split) == split_hash(split)
    frame = read_split(tmp_path / "split.csv")
    assert frame.attrs == {"split_hash": split_hash(split), "split_level": "subject", "leakage": False}
    assert (tmp_path / "split.csv").read_text().splitlines()[1:3] == [
        "path,split,fold",
        f"a/a0_0.png,{split['split'][0]},",
    ]
    mixed = table().sample(frac=1, random_state=3)
    again = apply_split(mixed, tmp_path / "split.csv")
    assert list(again["path"]) == list(mixed["path"]) and split_hash(again) == split_hash(split)
    assert again.attrs["split_level"] == "subject"


def test_folds_there_and_back(tmp_path):
    made = make_folds(table(), 3, repeats=2)
    expected = hashlib.sha256(
        "".join(
            sorted(
                f"{path}\t{split}\t{part.attrs['repeat']}.{part.attrs['fold']}\n"
                for part in made
                for path, split in zip(part["path"], part["split"])
            )
        ).encode()
    ).hexdigest()
    assert write_split(tmp_path / "folds.csv", made) == expected
    again = apply_split(table(), tmp_path / "folds.csv")
    assert [split_hash(part) for part in again] == [split_hash(part) for part in made]
    assert [part.attrs for part in again] == [part.attrs for part in made]


def test_a_changed_file_is_noticed(tmp_path):
    file = tmp_path / "split.csv"
    write_split(file, split_table(table()))
    text = file.read_text()
    file.write_text(text.replace(",train,", ",test,", 1))
    with pytest.raises(RunError, match="was changed after it was written"):
        read_split(file)
    file.write_text(text.replace(",train,", ",holdout,", 1))
    with pytest.raises(InputError, match="`split` must be train, val or test; received 'holdout'"):
        read_split(file)
    file.write_text(text.partition("\n")[2])
    with pytest.raises(InputError, match="first line begins with '# leukemia_tf split'; received 'path,split,fold'"):
        read_split(file)
    file.write_bytes(text.partition("\n")[0].encode() + b"\npath,split,fold\n\xff\xfe,train,\n")
    with pytest.raises(InputError, match="CSV file in UTF-8"):
        read_split(file)
    with pytest.raises(InputError, match="cannot be read; received: No such file"):
        read_split(tmp_path / "none.csv")


def test_other_images_are_named(tmp_path):
    write_split(tmp_path / "split.csv", split_table(table()))
    other = table()
    other.loc[0, "path"] = "a/new.png"
    with pytest.raises(InputError) as error:
        apply_split(other, tmp_path / "split.csv")
    assert str(error.value).splitlines()[1:] == [
        "`a/a0_0.png` is in the file and not in the data",
        "`a/new.png` is not in the file",
    ]
    with pytest.raises(InputError, match="and 10 more"):
        apply_split(table().iloc[30:], tmp_path / "split.csv")


def test_a_split_by_image_of_known_subjects_needs_permission(tmp_path):
    write_split(tmp_path / "split.csv", split_table(table(subject="")))
    assert not read_split(tmp_path / "split.csv").attrs["leakage"]
    with pytest.raises(InputError, match="--allow-leakage .* received 12 subjects"):
        apply_split(table(), tmp_path / "split.csv")
    assert apply_split(table(), tmp_path / "split.csv", allow_leakage=True).attrs["leakage"]


def test_an_image_without_a_split_is_refused(tmp_path):
    with pytest.raises(InputError, match="received 30 without"):
        write_split(tmp_path / "split.csv", table())


names = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(
    paths=st.sets(
        names.filter(lambda name: not set(name) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")),
        min_size=1,
        max_size=6,
    )
)
def test_any_name_survives(tmp_path_factory, paths):
    file = tmp_path_factory.mktemp("split") / "split.csv"
    one = table().iloc[: len(paths)].assign(path=sorted(paths), split="train", subject="")
    digest = write_split(file, one)
    assert list(read_split(file)["path"]) == sorted(paths) and digest == split_hash(one)
