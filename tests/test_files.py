"""Files are the old ones or the new ones, and errors of writing are one line."""

from __future__ import annotations

import errno

import pytest

from leukemia_tf.errors import RunError
from leukemia_tf.files import atomic_path, explain_write_errors, is_full, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        1 / 0
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic_path(tmp_path / "sub" / "best.keras") as temporary:
        assert temporary.name.endswith("best.keras") and temporary.parent == tmp_path / "sub"


def test_json_round_trip_is_exact_and_refuses_nan(tmp_path):
    value = {"a": [0.1, 1 / 3, None], "ü": "x\ny"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == value


def test_missing_and_damaged_json_are_named(tmp_path):
    with pytest.raises(RunError, match="is missing"):
        read_json(tmp_path / "no.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(RunError, match="not valid JSON"):
        read_json(tmp_path / "half.json")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError("Can't write data (file write failed: errno = 28, error message = 'No space')"), "no space left"),
        (OSError(errno.EROFS, "Read-only file system"), "Choose a folder"),
        (PermissionError(errno.EACCES, "Permission denied"), "Choose a folder"),
    ],
)
def test_errors_of_writing_become_one_line(error, message):
    with pytest.raises(RunError, match=message) as caught, explain_write_errors("there"):
        raise error
    assert "\n" not in str(caught.value) and "`there`" in str(caught.value)


def test_other_errors_pass():
    assert not is_full(OSError(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output"), explain_write_errors("there"):
        raise OSError(errno.EIO, "Input/output error")
