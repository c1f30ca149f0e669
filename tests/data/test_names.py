"""Names: the short way for plain ones says what the long way says."""

from hypothesis import given
from hypothesis import strategies as st

from leukemia_tf.data import names


CHARACTERS = "ab/ .~\x00\x1f\x7f\x80é\u2028\u202e\ud800"


@given(st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=12), st.integers(0, 300))
def test_plain_names_are_told_as_others_are(text, length):
    for name in (text, text + "x" * length, "x" * length + "/" + text):
        assert names.name_problem(name) == names._problem(name)


def test_lengths():
    assert names.name_problem("x" * 255) == "" and "255 bytes" in names.name_problem("x" * 256)
    assert names.name_problem("x" * 200 + "/" + "x" * 200) == ""
