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


def test_a_star_stands_for_no_hidden_file(folder):
    for name in ("a.csv", "._a.csv"):
        filesystem.write_bytes(f"{folder}/{name}", b"")
    assert filesystem.matching(f"{folder}/*.csv") == [f"{folder}/a.csv"]
    assert filesystem.matching(f"{folder}/.*") == [f"{folder}/._a.csv"]


def test_a_path_that_is_not_utf8_is_refused_by_name(folder):
    filesystem.check_utf8(f"{folder}/é 猫")
    for check in (filesystem.check_utf8, filesystem.list_folder):
        with pytest.raises(ValueError, match=r"path is UTF-8.*a\\udcff"):
            check(f"{folder}/a\udcff")


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


def test_an_opened_file_is_read_at_any_place(folder):
    filesystem.write_bytes(f"{folder}/a", b"0123456789")
    with filesystem.opened(f"{folder}/a") as file:
        assert file.readable() and file.seekable()
        assert (file.read(3), file.tell()) == (b"012", 3)
        assert (file.seek(2, 1), file.read(2)) == (5, b"56")
        assert (file.seek(-3, 2), file.read()) == (7, b"789")
        assert (file.seek(0), file.read(), file.read(1)) == (
            0, b"0123456789", b"",
        )  # fmt: skip
    assert file.closed
    with pytest.raises(OSError, match="/none"):
        filesystem.opened(f"{folder}/none")


def test_files_are_found_by_patterns(folder):
    for name in ("b.csv", "a.csv", "c.txt"):
        filesystem.write_bytes(f"{folder}/{name}", name.encode())
    found = filesystem.matching(f"{folder}/*.csv")
    assert found == [f"{folder}/a.csv", f"{folder}/b.csv"]
    assert filesystem.matching(f"{folder}/d*") == []
    assert filesystem.is_file(found[0]) and not filesystem.is_folder(found[0])
    assert filesystem.is_folder(folder) and not filesystem.is_file(folder)
    assert not filesystem.is_file(f"{folder}/d")
    source = filesystem.image_source(found[0])
    assert source == (b"a.csv" if "://" in folder else found[0])


def test_names_in_a_folder_are_files_and_folders(folder):
    filesystem.write_bytes(f"{folder}/a", b"")
    filesystem.make_folder(f"{folder}/b")
    filesystem.write_bytes(f"{folder}/b/c", b"")
    assert sorted(filesystem.names_in(folder)) == ["a", "b"]
    assert filesystem.names_in(f"{folder}/none") == []
    assert filesystem.names_in(f"{folder}/a") == []
