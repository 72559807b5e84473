"""Patterns name files, in an order that does not depend on the disk."""

from pathlib import Path

import pytest

from keras_jft.files import check_split, files_of, of_split


@pytest.fixture
def paths(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).touch()
    return [str(tmp_path / name) for name in ("a.csv", "b.csv")]


def test_paths_patterns_and_lists_name_files(paths, tmp_path):
    assert files_of(tmp_path / "*.csv") == paths
    assert files_of(paths[::-1]) == paths[::-1], "a list keeps its order"
    assert files_of([paths[1], str(tmp_path / "a*")]) == paths[::-1]
    assert files_of(tmp_path, suffix=".csv") == paths


def test_patterns_that_match_no_file_are_refused(paths, tmp_path):
    for wrong in (tmp_path, tmp_path / "d.csv", [paths[0], "no*.csv"]):
        with pytest.raises(ValueError, match="There must be a file"):
            files_of(wrong)
    with pytest.raises(ValueError, match="There must be a file"):
        files_of(tmp_path, suffix=".parquet")


def test_the_split_is_filled_in_wherever_a_path_stands():
    assert of_split(Path("{split}/x.csv"), "val") == "val/x.csv"
    assert of_split(("{split}", "b"), 3) == ["3", "b"]
    for other in (None, {"a": "{split}"}):
        assert of_split(other, "val") is other


@pytest.mark.parametrize(
    "split, sources",
    [
        ("val", "a/{split}/*.csv"),
        ("val", "a/val/b.parquet"),
        ("Val", "a/instances_val2017.json"),
        ("val2017", Path("instances_val2017.json")),
        ("val", ["{split}.csv", "machine-val.csv"]),
        ("train", "all.csv"),
        (None, "all.csv"),
    ],
)
def test_a_split_is_chosen_by_the_name_of_a_file_or_of_its_folder(
    split, sources
):
    check_split(split, sources, "")


@pytest.mark.parametrize(
    "split, sources",
    [
        ("val", "all.csv"),
        ("val", "valid.csv"),
        ("val", "carnival/a.csv"),
        # Not any folder above, such as that of a user.
        ("test", "test/data/all.csv"),
        ("val", ["{split}.csv", "all.csv"]),
    ],
)
def test_a_split_that_nothing_chooses_is_refused(split, sources):
    with pytest.raises(ValueError, match=f"`split` must.*'{split}'.* Do so."):
        check_split(split, sources, "Do so.")
