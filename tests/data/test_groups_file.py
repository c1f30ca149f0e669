import pytest

from leukemia_tf.data import read_groups
from leukemia_tf.errors import InputError


def test_path_and_group_are_read_and_the_rest_is_not(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("group,kind,path,label\n1,near,a/1.png,x\n1,near,a/1.png,x\n1,exact,b.png,x\n,,alone.png,y\n")
    assert read_groups(file) == {"a/1.png": "1", "b.png": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,cluster\na.png,1\n", "columns path and group; received path, cluster"),
        ("path,group\na.png,1\na.png,2\n", "`a.png` in two groups"),
        ("", "must be a CSV file"),
    ],
)
def test_other_files_are_one_line(text, message, tmp_path):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_groups(tmp_path / "groups.csv")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(InputError, match="cannot be read"):
        read_groups(tmp_path / "missing.csv")
