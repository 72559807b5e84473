"""Files are whole or not there, on disk and in TensorFlow's memory."""

import pytest

import keras_jft as jft
from keras_jft import files

pytest.importorskip("tensorflow")


@pytest.fixture(params=["disk", "ram"])
def folder(request, tmp_path):
    folder = str(tmp_path)
    if request.param == "ram":
        folder = f"ram:/{tmp_path}"
        files.make_folder(folder)
    return folder


def test_bytes_come_back_whole_and_in_part(folder):
    path = f"{folder}/a"
    files.write_bytes(path, b"0123456789")
    assert files.read_bytes(path) == b"0123456789"
    assert files.read_range(path, 2, 3) == b"234"
    assert files.read_range(path, 8, 9) == b"89"
    assert files.list_folder(folder) == ["a"]
    files.write_bytes(path, b"new")
    assert files.read_bytes(path) == b"new"


def test_a_star_stands_for_no_hidden_file(folder):
    for name in ("a.csv", "._a.csv"):
        files.write_bytes(f"{folder}/{name}", b"")
    assert files.matching(f"{folder}/*.csv") == [f"{folder}/a.csv"]
    assert files.matching(f"{folder}/.*") == [f"{folder}/._a.csv"]


def test_a_path_that_is_not_utf8_is_refused_by_name(folder):
    files.check_utf8(f"{folder}/é 猫")
    for check in (files.check_utf8, files.list_folder):
        with pytest.raises(ValueError, match=r"path is UTF-8.*a\\udcff"):
            check(f"{folder}/a\udcff")


def test_a_file_that_fails_half_way_leaves_nothing(folder):
    path = f"{folder}/a"
    with pytest.raises(KeyError), files.atomic_write(path) as partial:
        files.write_bytes(partial, b"half")
        raise KeyError
    assert files.list_folder(folder) == []


def test_of_two_who_write_one_file_the_last_one_stays(folder):
    path = f"{folder}/a.txt"
    with files.atomic_write(path) as first:
        with files.atomic_write(path) as second:
            assert first != second and second.endswith("-a.txt")
            files.write_bytes(second, b"second")
        assert files.read_bytes(path) == b"second"
        files.write_bytes(first, b"first")
    assert files.read_bytes(path) == b"first"
    assert files.list_folder(folder) == ["a.txt"]


def test_what_a_killed_process_left_is_removed(folder):
    for name in (".partial-12ab-a.txt", ".partial-12ab-b.txt"):
        files.write_bytes(f"{folder}/{name}", b"half")
    files.remove_partial(f"{folder}/a.txt")
    files.remove_partial(f"{folder}/b.txt")
    assert files.list_folder(folder) == []


def test_errors_name_the_file(folder):
    for read in (
        lambda path: files.read_bytes(path),
        lambda path: files.read_range(path, 0, 1),
    ):
        with pytest.raises(OSError, match="/none"):
            read(f"{folder}/none")
    with pytest.raises(ValueError, match="A folder is required.*/none"):
        files.list_folder(f"{folder}/none")


def test_an_opened_file_is_read_at_any_place(folder):
    files.write_bytes(f"{folder}/a", b"0123456789")
    with files.opened(f"{folder}/a") as file:
        assert file.readable() and file.seekable()
        assert (file.read(3), file.tell()) == (b"012", 3)
        assert (file.seek(2, 1), file.read(2)) == (5, b"56")
        assert (file.seek(-3, 2), file.read()) == (7, b"789")
        assert (file.seek(0), file.read(), file.read(1)) == (
            0, b"0123456789", b"",
        )  # fmt: skip
    assert file.closed
    with pytest.raises(OSError, match="/none"):
        files.opened(f"{folder}/none")


def test_files_are_found_by_patterns(folder):
    for name in ("b.csv", "a.csv", "c.txt"):
        files.write_bytes(f"{folder}/{name}", name.encode())
    found = files.matching(f"{folder}/*.csv")
    assert found == [f"{folder}/a.csv", f"{folder}/b.csv"]
    assert files.matching(f"{folder}/d*") == []
    assert files.is_file(found[0]) and not files.is_folder(found[0])
    assert files.is_folder(folder) and not files.is_file(folder)
    assert not files.is_file(f"{folder}/d")
    source = files.image_source(found[0])
    assert source == (b"a.csv" if "://" in folder else found[0])


def test_names_in_a_folder_are_files_and_folders(folder):
    files.write_bytes(f"{folder}/a", b"")
    files.make_folder(f"{folder}/b")
    files.write_bytes(f"{folder}/b/c", b"")
    assert sorted(files.names_in(folder)) == ["a", "b"]
    assert list(files.names_in(f"{folder}/none")) == []
    assert list(files.names_in(f"{folder}/a")) == []


def test_what_cannot_write_to_a_bucket_says_so(tmp_path, monkeypatch):
    """And writes no folder named "gs:"."""
    monkeypatch.chdir(tmp_path)
    data = jft.data.load("synthetic", num_examples=4)
    table = 'output = "{}"\n[pretrain]\n[tasks.a]\n'
    for write in (
        jft.training.Checkpoint,
        jft.scaling.Runner,
        lambda path: jft.data.cache(data, path),
        lambda path: jft.data.write_ids(data, f"{path}/ids.jsonl"),
        lambda path: jft.data.describe(data, images=0).save(f"{path}/a.html"),
        lambda path: jft.scaling.Study([], f"{path}/rows.jsonl", run=print),
        lambda path: jft.scaling.append_row(f"{path}/rows.jsonl", {"a": 1}),
        lambda path: jft.scaling.read_plan("a", text=table.format(path)),
    ):
        for path in ("gs://bucket/run", "s3://bucket/run"):
            with pytest.raises(ValueError, match="mounted file system.*bucket"):
                write(path)
    assert not any(tmp_path.iterdir())
