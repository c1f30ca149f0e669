"""Walking through folders: what is found, in which order, and what is refused."""

from __future__ import annotations

import os

import pytest

from leukemia_tf.data.image_files import ImageFiles
from leukemia_tf.errors import InputError

NAMES = ["a/1.png", "a/2.JPG", "a-b/1.tif", "a.bmp", "b/deep/er/9.jpeg", "b/10.png", "b/9.png", "z.png"]


@pytest.fixture
def folder(tmp_path):
    for name in [*NAMES, "a/.hidden.png", "a/Thumbs.db", "notes.txt", "b/deep/readme.md"]:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    (tmp_path / "root" / "folder.png").mkdir()  # a folder, whatever its name
    return tmp_path / "root"


def test_images_come_in_the_order_of_their_paths(folder):
    files = ImageFiles(folder)
    assert list(files) == sorted(str(folder.resolve() / name) for name in NAMES)
    assert len(files) == len(NAMES)
    assert list(files) == list(files)


def test_several_are_taken_in_the_order_given(folder):
    files = ImageFiles([folder / "z.png", folder / "a"])
    assert [os.path.basename(path) for path in files] == ["z.png", "1.png", "2.JPG"]
    assert len(files) == 3


def test_a_link_is_the_file_behind_it_and_a_linked_folder_is_not_entered(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").touch()
    (folder / "b" / "link.png").symlink_to(tmp_path / "other" / "x.png")
    (folder / "b" / "loop").symlink_to(folder)
    found = list(ImageFiles(folder / "b"))
    assert str((tmp_path / "other" / "x.png").resolve()) in found and len(found) == 4


def test_all_that_is_wrong_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        ImageFiles([folder, tmp_path / "empty", tmp_path / "gone.png"])
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and "empty" in lines[0] and "gone.png` does not exist" in lines[1]
    with pytest.raises(InputError, match="Received: nothing"):
        ImageFiles([])
