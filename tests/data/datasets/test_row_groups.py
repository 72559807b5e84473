"""Row groups are found and read as pyarrow reads whole files."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_jft.data.datasets import parquet
from keras_jft.data.datasets.parquet import RowGroups

SIZES = (7, 0, 5)  # Rows of the files; groups of at most three.


@pytest.fixture
def paths(tmp_path):
    found = []
    for number, size in enumerate(SIZES):
        columns = {
            "x": pa.array(range(size), pa.int64()),
            "y": pa.array(["a"] * size, pa.string()),
        }
        table = pa.table(columns)
        found.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(table, found[-1], row_group_size=3)
    return found


def test_every_row_is_found_in_its_file(paths):
    groups = RowGroups(paths)
    whole = np.concatenate([pq.read_table(p)["x"].to_numpy() for p in paths])
    assert groups.starts[-1] == len(whole) == 12
    positions = np.array([11, 0, 6, 7, 3])
    files, rows = groups.places(positions)
    assert files.tolist() == [2, 0, 0, 2, 0]
    assert rows.tolist() == whole[positions].tolist()
    for position, group in enumerate(groups.find(np.arange(12))):
        row = position - groups.starts[group]
        for column in (groups.column(group, "x"),
                       groups.read(group, ["x"])["x"]):  # fmt: skip
            assert column[int(row)].as_py() == whole[position]
        assert groups.first_row(group) + row == whole[position]
        assert groups.path(group) == paths[0 if position < 7 else 2]
        assert groups.schema(group).names == ["x", "y"]


def test_few_groups_are_kept_and_none_is_sent_away(paths, monkeypatch):
    monkeypatch.setattr(parquet, "_KEPT", 2)
    groups, reads = RowGroups(paths), []
    read = groups.read
    monkeypatch.setattr(
        groups, "read", lambda g, c: reads.append(g) or read(g, c)
    )
    for group in (0, 1, 0, 2, 0, 1):
        groups.column(group, "x")
    assert reads == [0, 1, 2, 1]
    monkeypatch.undo()
    again = pickle.loads(pickle.dumps(RowGroups(paths)))
    assert again.column(4, "x").to_pylist() == [0, 1, 2]


def test_files_that_are_no_parquet_or_cut_short_are_named(paths, tmp_path):
    whole = (tmp_path / "0.parquet").read_bytes()
    for text in (b"", b"x,y\n", whole[:-20], whole[: len(whole) // 2]):
        (tmp_path / "0.parquet").write_bytes(text)
        with pytest.raises(ValueError, match=r"0\.parquet' is not a Parquet"):
            RowGroups(paths)
    with pytest.raises(ValueError, match="must have rows"):
        RowGroups(paths[1:2])


def test_a_file_that_is_damaged_inside_is_named(paths, tmp_path):
    groups = RowGroups(paths)
    whole = (tmp_path / "0.parquet").read_bytes()
    (tmp_path / "0.parquet").write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(ValueError, match=r"0\.parquet', row group 0, cannot"):
        groups.column(0, "x")
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(ValueError, match=r"0\.parquet', row group 1, cannot"):
        groups.column(1, "x")


def test_a_group_of_another_length_is_named(paths):
    groups = RowGroups(paths)
    groups.starts = groups.starts + (groups.starts > 0)
    with pytest.raises(ValueError, match=r"0\.parquet', row group 0, .*rows,"):
        groups.column(0, "x")


def test_values_that_python_has_not_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"t": pa.array([2**62], pa.timestamp("us"))})
    pq.write_table(table, path)
    with pytest.raises(ValueError, match=r"a\.parquet'.*'t', cannot be read"):
        RowGroups([str(path)]).values(0, "t")


def test_texts_that_are_not_utf_8_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    bad = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"t": bad}), path)
    with pytest.raises(ValueError, match=r"a\.parquet', row group 0, cannot"):
        RowGroups([str(path)]).values(0, "t")
