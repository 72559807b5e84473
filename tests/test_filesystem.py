"""Files are whole or not there, on disk and in a store in memory."""

import pathlib
import sys

import pytest

import keras_jft as jft
from keras_jft import files
from keras_jft.object_store import ObjectPath

pytest.importorskip("fsspec")


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    folder = str(tmp_path)
    if request.param == "memory":
        folder = f"memory:/{tmp_path}"
        files.write_bytes(f"{folder}/a", b"")
        files.as_path("", f"{folder}/a", "").unlink()
    return folder


@pytest.fixture
def path(folder):
    return files.as_path("folder", folder, "run")


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


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = tmp_path
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
    files.write_bytes(f"{folder}/b/c", b"")
    assert sorted(files.names_in(folder)) == ["a", "b"]
    assert list(files.names_in(f"{folder}/none")) == []
    assert list(files.names_in(f"{folder}/a")) == []


def test_a_path_has_the_methods_of_pathlib(path):
    file = path / "new" / "a.b.txt"
    assert (file.name, file.stem, file.suffix) == ("a.b.txt", "a.b", ".txt")
    assert str(file.with_suffix(".csv")) == f"{path}/new/a.b.csv"
    assert file.with_name("c") == path / "new" / "c" == file.parent / "c"
    assert hash(file) == hash(path / "new" / "a.b.txt")
    assert sorted([file, path / "new" / "a"]) == [path / "new" / "a", file]
    assert "/elsewhere" / file == file
    assert not (file.exists() or file.parent.is_dir())
    files.write_bytes(file, "é\n".encode())
    assert file.is_file() and not file.is_dir()
    assert file.parent.is_dir() and not file.parent.is_file()
    assert file.read_text(encoding="utf-8") == "é\n"
    with file.open("rb") as opened:
        assert [*opened] == ["é\n".encode()]
    with files.local_copy(file) as copy:
        assert copy.suffix == ".txt" and copy.read_bytes() == file.read_bytes()


def test_a_path_lists_moves_and_removes(path):
    for name in ("b.txt", "a.txt", "c.csv", "sub/d.txt"):
        files.write_bytes(path / name, name.encode())
    assert sorted(path.glob("*.txt")) == [path / "a.txt", path / "b.txt"]
    assert [*(path / "none").glob("*")] == []
    (path / "a.txt").replace(path / "b.txt")
    assert not (path / "a.txt").exists()
    assert (path / "b.txt").read_bytes() == b"a.txt"
    (path / "b.txt").unlink()
    (path / "b.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="b.txt"):
        (path / "b.txt").unlink()
    for _ in range(2):
        files.remove_tree(path / "sub")
    assert files.list_folder(path) == ["c.csv"]


def test_a_pattern_may_be_in_the_name_of_a_folder(folder):
    for name in ("b1/x.csv", "b2/x.csv", "c/x.csv", "b1/y.csv"):
        files.write_bytes(f"{folder}/{name}", b"")
    assert files.matching(f"{folder}/b*/x.csv") == [
        f"{folder}/b1/x.csv",
        f"{folder}/b2/x.csv",
    ]


def test_what_opens_local_files_refuses_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = files.as_path("path", "memory://bucket/a", "a")
    for opens in (open, pathlib.Path):
        with pytest.raises(TypeError, match="ObjectPath"):
            opens(path)
    with pytest.raises(ValueError, match="must be text if it is a URL"):
        jft.training.Checkpoint(pathlib.Path("memory://bucket/run"))
    assert not any(tmp_path.iterdir())


def test_a_store_that_cannot_be_opened_is_told_at_once(monkeypatch):
    with pytest.raises(ValueError, match="'nowhere://run'.*not known"):
        ObjectPath("nowhere://run")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"s3://b/run.*keras_jft\[cloud\]"):
        jft.training.Checkpoint("s3://b/run")


def test_what_needs_a_local_disk_says_so(tmp_path, monkeypatch):
    """And writes no folder named "gs:"."""
    monkeypatch.chdir(tmp_path)
    table = 'output = "{}"\n[pretrain]\n[tasks.a]\n'
    for write in (
        jft.training.JSONLogger,
        lambda path: jft.training.loggers(path, batch_size=1),
        lambda path: jft.scaling.Runner(path, tensorboard=True),
        lambda path: jft.scaling.read_rows(path, kind="mlflow"),
        lambda path: jft.scaling.read_plan("a", text=table.format(path)),
        lambda path: jft.evaluation.dense_set({}, path),
        lambda path: jft.data.load("image_folder", directory=path),
        lambda path: jft.data.load("manifest", path=path),
    ):
        with pytest.raises(ValueError, match="mounted file system.*bucket"):
            write("memory://bucket/run")
    assert not any(tmp_path.iterdir())
