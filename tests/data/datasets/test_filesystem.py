"""Files are whole or not there, on disk and in TensorFlow's memory."""

import pytest

from keras_jft.data.datasets import filesystem

pytest.importorskip("tensorflow")


@pytest.fixture(params=["disk", "ram"])
def folder(request, tmp_path):
    folder = str(tmp_path)
    if request.param == "ram":
        folder = f"ram:/{tmp_path}"
        filesystem.make_folder(folder)
    return folder


def test_bytes_come_back_whole_and_in_part(folder):
    path = f"{folder}/a"
    filesystem.write_bytes(path, b"0123456789")
    assert filesystem.read_bytes(path) == b"0123456789"
    assert filesystem.read_range(path, 2, 3) == b"234"
    assert filesystem.read_range(path, 8, 9) == b"89"
    assert filesystem.list_folder(folder) == ["a"]
    filesystem.write_bytes(path, b"new")
    assert filesystem.read_bytes(path) == b"new"


def test_a_file_that_fails_half_way_leaves_nothing(folder):
    path = f"{folder}/a"
    with pytest.raises(KeyError), filesystem.whole(path) as partial:
        filesystem.write_bytes(partial, b"half")
        raise KeyError
    assert filesystem.list_folder(folder) == []


def test_errors_name_the_file(folder):
    for read in (
        lambda path: filesystem.read_bytes(path),
        lambda path: filesystem.read_range(path, 0, 1),
    ):
        with pytest.raises(OSError, match="/none"):
            read(f"{folder}/none")
    with pytest.raises(ValueError, match="A folder is needed.*/none"):
        filesystem.list_folder(f"{folder}/none")
