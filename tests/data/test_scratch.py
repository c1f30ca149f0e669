"""Working arrays in memory and on the disk."""

import os
import shutil

import numpy as np
import pytest

from leukemia_tf.data.scratch import scratch_array
from leukemia_tf.errors import RunError


def test_small_arrays_are_in_memory_and_large_ones_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path / "cache"))
    assert type(scratch_array((3, 4), np.float32, in_memory=48)) is np.ndarray
    array = scratch_array((3, 4), np.float32, in_memory=47)
    assert isinstance(array, np.memmap) and not array.any() and array.dtype == np.float32
    array[1:, 2] = 5
    assert array.tolist() == [[0, 0, 0, 0], [0, 0, 5, 0], [0, 0, 5, 0]]
    assert os.listdir(tmp_path / "cache") == []


def test_a_disk_with_too_little_room_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(RunError, match="needs 2.0 GB of room.*has 0.0 GB.*LEUKEMIA_TF_CACHE") as caught:
        scratch_array((2_000_000_000,), np.uint8)
    assert "\n" not in str(caught.value)
