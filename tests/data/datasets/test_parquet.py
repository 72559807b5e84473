"""Parquet files give the images and labels of their rows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import parquet

NAMES = ("ant", "bee", "cat", "dog")
TREE = {
    "names": {f"n{i}": name for i, name in enumerate(NAMES)},
    "edges": [["n0", "n1"], ["n1", "n3"]],
}
NUM = 11


@pytest.fixture
def rows(save_image, rng):
    """Rows with the bytes, the path and the struct of an image each."""
    found = []
    for i in range(NUM):
        path = save_image(f"images/{i}.png", i)
        count = int(rng.integers(4))
        found.append(
            {
                "image": path.read_bytes(),
                "path": f"{i}.png",
                "struct": {"bytes": path.read_bytes(), "path": "gone.png"},
                "named": {"bytes": None, "path": f"{i}.png"},
                "labels": rng.integers(0, 4, count).tolist(),
                "label_probs": rng.random(count).round(2).tolist(),
                "key": f"k{i}",
            }
        )
    return found


@pytest.fixture
def save(tmp_path):
    """`save(rows)`: two files in row groups of two."""

    def write(rows):
        kind = pa.Table.from_pylist(rows).schema
        for name, part in (("a", rows[:5]), ("b", rows[5:])):
            pq.write_table(
                pa.Table.from_pylist(part, schema=kind),
                tmp_path / f"{name}.parquet",
                row_group_size=2,
            )
        return tmp_path

    return write


def _labels(row, lowest, highest=2.0):
    best = {}
    for label, p in zip(row["labels"], row["label_probs"], strict=True):
        best[label] = max(p, best.get(label, 0))
    return {label for label, p in best.items() if lowest <= p < highest}


def test_images_and_labels_are_those_of_the_rows(save, rows, brightness):
    with pytest.warns(UserWarning, match="1 of 4 classes occurs .* 'ant'"):
        data = jft_data.load(
            "parquet", path=save(rows), label_names=NAMES, threshold=0.4
        )
    assert len(data) == NUM
    ids = [f"a.parquet:{i}" for i in range(5)]
    ids += [f"b.parquet:{i}" for i in range(NUM - 5)]
    assert data.ids(np.arange(NUM)).tolist() == ids
    counts = np.zeros(4, int)
    for position in (10, 0, 4, 5, 6, 3, 1, 2, 7, 8, 9):
        example = data[position]
        expected = sorted(_labels(rows[position], 0.4))
        assert example["labels"].tolist() == expected
        assert example["labels"].dtype == np.int32
        assert brightness(example) == position
        assert example["ids"] == ids[position]
        counts[expected] += 1
    assert data.info.class_counts.tolist() == counts.tolist()
    assert data.info.max_labels == max(len(_labels(r, 0.4)) for r in rows)


@pytest.mark.parametrize("column", ["image", "path", "struct", "named"])
def test_images_are_bytes_paths_or_structs(
    save, rows, column, tmp_path, brightness
):
    data = parquet.load(
        path=[str(save(rows) / "b.parquet"), str(tmp_path / "a*")],
        image_column=column,
        directory=tmp_path / "images",
        label_names=NAMES,
        id_column="key",
    )
    order = [*range(5, NUM), *range(5)]
    positions = [4, 9, 0, 0, 10]
    found = data.take(positions)
    assert [brightness(e) for e in found] == [order[p] for p in positions]
    assert [e["ids"] for e in found] == [f"k{order[p]}" for p in positions]
    for p in positions:
        assert data.image_bytes(p) == rows[order[p]]["image"]


@pytest.mark.parametrize("column", ["image", "path"])
def test_files_may_lie_in_a_bucket(save, rows, in_bucket, column, brightness):
    bucket = in_bucket(save(rows))
    data = parquet.load(
        path=bucket,
        directory=f"{bucket}/images",
        image_column=column,
        label_names=NAMES,
    )
    assert [brightness(e) for e in data.take([7, 0])] == [7, 0]
    assert data.image_bytes(7) == rows[7]["image"]
    assert data.ids([5]).tolist() == ["b.parquet:0"]
    with pytest.raises(ValueError, match="There must be a file 'memory:"):
        parquet.load(path=f"{bucket}/c*.parquet", label_names=NAMES)


def test_paths_are_relative_to_the_file_without_a_directory(save, rows):
    for row in rows:
        row["path"] = f"images/{row['path']}"
    data = parquet.load(path=save(rows), image_column="path", label_names=NAMES)
    assert data[3]["images"][0, 0, 0] == 3


def test_a_hierarchy_closes_labels_and_unknown_ones(save, rows):
    data = parquet.load(
        path=save(rows), hierarchy=TREE, threshold=0.7, unknown=0.2
    )
    above = {0: {0}, 1: {0, 1}, 2: {2}, 3: {0, 1, 3}}
    widths = set()
    for row, example in zip(rows, data.take(range(NUM)), strict=True):
        present = set().union(*(above[k] for k in _labels(row, 0.7)))
        maybe = set().union(*(above[k] for k in _labels(row, 0.2, 0.7)))
        assert set(example["labels"].tolist()) == present
        unknown = set(example["unknown_labels"].tolist())
        assert unknown - {-1} == maybe - present
        widths.add(example["unknown_labels"].shape)
    assert len(widths) == 1


def test_names_of_labels_are_found_in_the_files(save, rows):
    for row in rows:
        row["labels"] = [NAMES[label] for label in row["labels"]]
    seen = sorted({name for row in rows for name in row["labels"]})
    data = parquet.load(path=save(rows))
    assert data.info.label_names == tuple(seen)
    first = next(i for i, row in enumerate(rows) if row["labels"])
    names = {seen[label] for label in data[first]["labels"]}
    assert names == set(rows[first]["labels"])


def test_a_row_group_is_read_once_for_a_batch(save, rows, monkeypatch):
    data = parquet.load(path=save(rows), label_names=NAMES)
    reads, read = [], data.groups.read
    monkeypatch.setattr(
        data.groups,
        "read",
        lambda g, c: reads.append((int(g), c)) or read(g, c),
    )
    data.take([0, 1, 10, 0])
    assert reads == [(0, ["image"]), (5, ["image"])]


def test_damaged_images_are_named_by_file_and_row(save, rows):
    rows[6]["image"] = rows[6]["image"][:30]
    rows[7]["image"] = None
    data = parquet.load(path=save(rows), label_names=NAMES)
    for position, row in ((6, 1), (7, 2)):
        with pytest.raises(ValueError, match=rf"b\.parquet, row {row}' cannot"):
            data[position]
    with pytest.warns(UserWarning, match=r"b\.parquet:[12]"):
        batches = jft_data.iterate(data, 4, tolerate=2, drop_remainder=False)
        assert sum(len(batch["ids"]) for batch in batches) == NUM - 2


@pytest.mark.parametrize(
    ("field", "value", "options", "message"),
    [
        ("path", "gone.png", {"image_column": "path"},
         r"1 are not: .*b\.parquet, row 3: 'gone"),
        ("path", None, {"image_column": "path"}, "row 3: None"),
        ("path", "https://a.b/c.jpg", {"image_column": "path"}, "URL"),
        ("key", "k2", {"id_column": "key"},
         r"b\.parquet', row 3: ids must not be repeated.*'k2'"),
        ("key", None, {"id_column": "key"}, "row 3: .*Received: None"),
        ("key", "x", {"id_column": "uid"}, "a column 'uid'.*`id_column`"),
        ("key", "x", {"image_column": "uid"}, "a column 'uid'.*`image_col"),
        ("key", "x", {"image_column": "labels"}, "'labels' of bytes, paths"),
        ("labels", [9], {}, r"b\.parquet', row 3: .*Received: 9"),
        ("key", "x", {"threshold": 1.5}, "threshold=1.5"),
        ("key", "x", {"threshold": 0.5, "unknown": 0.6}, "unknown=0.6"),
        ("key", "x", {"path": "nowhere"}, "There must be a file 'nowhere'"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(
    save, rows, tmp_path, field, value, options, message
):
    rows[8][field] = value
    if field == "labels":
        rows[8]["label_probs"] = [0.5]
    options = {
        "path": save(rows),
        "directory": tmp_path / "images",
        "label_names": NAMES,
    } | options
    with pytest.raises(ValueError, match=message):
        parquet.load(**options)


@pytest.mark.parametrize("column", ["path", "named"])
def test_paths_of_other_machines_are_found(save, rows, tmp_path, column):
    forms = (
        "images\\{}.png",
        "./images//{}.png",
        f"{tmp_path}/images/{{}}.png",
    )
    for i, row in enumerate(rows):
        name = forms[i % 3].format(i)
        row["path"], row["named"] = name, {"bytes": None, "path": name}
    data = parquet.load(path=save(rows), image_column=column, label_names=NAMES)
    found = [example["images"][0, 0, 0] for example in data.take(range(NUM))]
    assert found == [*range(NUM)]
    assert data.image_bytes(4) == rows[4]["image"]


@pytest.mark.parametrize("column", ["path", "named"])
def test_nothing_outside_of_the_folder_is_read(save, rows, tmp_path, column):
    secret = tmp_path / "images" / "8.png"
    folder = tmp_path / "images" / "inner"
    folder.mkdir()
    for i in range(NUM):
        (tmp_path / "images" / f"{i}.png").rename(folder / f"{i}.png")
    secret.write_bytes(rows[8]["image"])
    for name in (f"file://{secret}", f"gs://b/{secret}", "../8.png",
                 str(secret)):  # fmt: skip
        rows[8]["path"] = name
        rows[8]["named"] = {"bytes": None, "path": name}
        options = {
            "path": save(rows), "image_column": column,
            "directory": folder, "label_names": NAMES,
        }  # fmt: skip
        with pytest.raises(
            ValueError, match=r"b\.parquet, row 3: '.*(URL|out)"
        ):
            parquet.load(**options)
        if "://" in name:
            with pytest.raises(ValueError, match="a URL"):
                parquet.load(allow_outside=True, **options)
        else:
            data = parquet.load(allow_outside=True, **options)
            assert data[8]["images"][0, 0, 0] == 8


def test_a_path_beside_bytes_is_not_opened(save, rows):
    rows[8]["struct"]["path"] = "file:///etc/passwd"
    data = parquet.load(
        path=save(rows), image_column="struct", label_names=NAMES
    )
    assert data[8]["images"][0, 0, 0] == 8


def test_texts_in_place_of_bytes_are_not_paths(save, rows):
    for row in rows:
        row["struct"] = {"bytes": "../8.png", "path": "8.png"}
    with pytest.raises(ValueError, match="bytes, paths or structs"):
        parquet.load(path=save(rows), image_column="struct", label_names=NAMES)
