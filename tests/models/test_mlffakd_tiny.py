"""The small student: shapes, size, what it costs beside its teacher."""

from __future__ import annotations

import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.models import build_model
from leukemia_tf.models.figures import model_figures


def test_parameters_by_hand():
    """Convolutions without bias, four numbers a channel for normalisation, and the dense layer."""
    kernels = 27 * 24 + 9 * (24 * 36 + 36 * 36 + 36 * 72 + 72 * 72 + 72 * 144 + 144 * 144)
    norms = 4 * (24 + 2 * (36 + 72 + 144))
    assert build_model("mlffakd_tiny_student").count_params() == kernels + norms + 144 * 9 + 9 == 373_425


def test_the_width_scales_all_layers():
    model = build_model("mlffakd_tiny_student", num_classes=8, image_size=64, width=0.4)
    names = ("stem", "stage1_out", "stage2_out", "stage3_out")
    assert [model.get_layer(name).output.shape[-1] for name in names] == [10, 14, 29, 58]


def test_it_is_a_tenth_of_its_teacher_and_five_times_cheaper():
    student, teacher = model_figures("mlffakd_tiny_student"), model_figures("mlffakd_teacher")
    assert student["parameters"] < 1.5e6 and 10 * student["parameters"] < teacher["parameters"]
    assert 5 * student["gflops"] < teacher["gflops"]


@pytest.mark.parametrize(
    "options, words",
    [({"image_size": 15}, "at least 16"), ({"dropout": 1.0}, "`dropout`"), ({"width": 0}, "`width` must be")],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        build_model("mlffakd_tiny_student", **options)
