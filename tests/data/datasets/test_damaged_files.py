"""Files that were damaged or made to do harm give the documented errors alone.

Good files of every reader of tables, labels and shards are mutated at random,
of a fixed seed. What is still readable may be read; everything else must be an
error that names the file.
"""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft.data import LabelHierarchy
from keras_jft.data.datasets import manifest, open_images, parquet, webdataset
from keras_jft.data.images import UnreadableImage

# What a fuzzer of text would insert.
TOKENS = [
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b'"', b",", b";", b"[",
    b"]", b"{", b"}", b":", b"null", b"true", b"NaN", b"1e999", b"-1", b"1.5",
    b"9" * 30, b"9" * 5000, b"[" * 5000, b"../", b"file:///", b"\\ud800",
    b"a" * 200_000,
]  # fmt: skip


def mutations(content, count, seed=0):
    """Yields `count` damaged copies of the bytes of a file."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(len(data) + 1))
            end = min(len(data), start + int(rng.integers(1, 40)))
            kind = rng.integers(6)
            if kind == 0:  # Cut short.
                del data[start:]
            elif kind == 1:  # A part is lost.
                del data[start:end]
            elif kind == 2:  # A part is there twice.
                data[start:start] = data[start:end]
            elif kind == 3 and start < len(data):  # A bit is flipped.
                data[start] ^= 1 << int(rng.integers(8))
            elif kind == 4 and start < len(data):
                data[start] = int(rng.integers(256))
            else:
                token = TOKENS[rng.integers(len(TOKENS))]
                data[start : start + int(rng.integers(2))] = token
        yield bytes(data)


def _save_images(folder):
    for i in range(3):
        Image.new("RGB", (4, 5), (i, i, i)).save(folder / f"{i}.png")


def _csv(folder):
    _save_images(folder)
    text = 'image,labels,split\n0.png,"a;b",train\n1.png,c,train\n2.png,,val\n'
    (folder / "a.csv").write_text(text)
    return "a.csv", lambda path: list(manifest.load(path))


def _jsonl(folder):
    _save_images(folder)
    rows = [
        {"image": f"{i}.png", "labels": labels, "split": "train"}
        for i, labels in enumerate([["a", "b"], "c;d", []])
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "a.jsonl", lambda path: list(manifest.load(path))


def _parquet_manifest(folder):
    _save_images(folder)
    rows = {"image": ["0.png", "1.png", "2.png"], "labels": [["a"], ["b"], []]}
    pq.write_table(pa.table(rows), folder / "a.parquet")
    return "a.parquet", lambda path: list(manifest.load(path))


def _parquet(folder):
    _save_images(folder)
    images = [
        {"bytes": (folder / "0.png").read_bytes(), "path": None},
        {"bytes": None, "path": "1.png"},
        {"bytes": None, "path": "2.png"},
    ]
    rows = {
        "image": images, "labels": [["a"], ["b", "a"], None],
        "label_probs": [[1.0], [0.5, 0.25], None], "key": ["x", "y", "z"],
    }  # fmt: skip
    pq.write_table(pa.table(rows), folder / "a.parquet", row_group_size=2)

    def read(path):
        data = parquet.load(path=path, id_column="key")
        return data.annotations(range(len(data)))

    return "a.parquet", read


def _tar(folder, suffix=".json", **options):
    with tarfile.open(folder / "a.tar", "w", **options) as tar:
        for i in range(3):
            buffer = io.BytesIO()
            Image.new("RGB", (4, 5)).save(buffer, "PNG")
            for name, content in (
                (f"{'x' * 120}/{i}.png", buffer.getvalue()),
                (f"{'x' * 120}/{i}{suffix}", b'{"labels": ["a", "b"]}'),
            ):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    names = ["a", "b"]
    return "a.tar", lambda path: webdataset.load(
        path, label_suffix=suffix, label_names=names
    )


def _tar_of_gnu(folder):
    return _tar(folder, format=tarfile.GNU_FORMAT)


def _tar_of_pax(folder):
    return _tar(folder, format=tarfile.PAX_FORMAT)


def _ids(folder):
    data = jft.data.load("synthetic", num_examples=5)
    jft.data.write_ids(data, folder / "a.jsonl")
    return "a.jsonl", jft.data.read_ids


def _hierarchy(folder):
    tree = LabelHierarchy(
        ["animal", "dog", "pet"], [("animal", "dog"), ("pet", "dog")]
    )
    (folder / "a.json").write_text(json.dumps(tree.to_json()))
    return "a.json", LabelHierarchy.from_json


def _nested_hierarchy(folder):
    dog = {"LabelName": "/m/d", "Part": [{"LabelName": "/m/t"}]}
    pet = {"LabelName": "/m/p", "Subcategory": [dog]}
    tree = {"LabelName": "/m/0", "Subcategory": [pet, dog]}
    (folder / "a.json").write_text(json.dumps(tree))
    return "a.json", LabelHierarchy.from_open_images


def _open_images(folder):
    lines = ["ImageID,Source,LabelName,Confidence"]
    for i in range(3):
        lines += [f"{i}a,machine,/m/{i},0.5", f"{i}a,verification,/m/1,1"]
    (folder / "a.csv").write_text("\n".join(lines))

    def read(path):
        keys = ["/m/0", "/m/1", "/m/2"]
        reader = open_images._LabelReader(keys, None, None, 0.5, None)
        reader.add(path)
        return reader.result()

    return "a.csv", read


def _descriptions(folder):
    text = 'LabelName,DisplayName\n/m/0,Dog\n/m/1,"Crane, bird"\n/m/2,Dog\n'
    (folder / "a.csv").write_text(text)
    return "a.csv", open_images._read_descriptions


def _records(folder, name):
    """Records of labels, boxes and text ids in one shard."""
    _save_images(folder)
    rows = [
        {"image": f"{i}.png", "labels": ["a", "b"][: i + 1]} for i in range(3)
    ]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = manifest.load(folder / "m.jsonl")
    jft.data.write_records(data, folder / "train@1", verbose=False)

    def read(path):
        data = jft.data.load("records", directory=path.parent)
        data.ids(range(len(data)))
        return [data[i] for i in range(len(data))]

    return name, read


def _records_note(folder):
    pytest.importorskip("tensorflow")
    return _records(folder, "train.json")


def _records_index(folder):
    pytest.importorskip("tensorflow")
    return _records(folder, "train.index-00000-of-00001")


def _records_shard(folder):
    pytest.importorskip("tensorflow")
    return _records(folder, "train.tfrecord-00000-of-00001")


READERS = {
    _csv: 300, _jsonl: 300, _parquet_manifest: 300, _parquet: 300,
    _tar_of_gnu: 300, _tar_of_pax: 300, _ids: 300, _hierarchy: 300,
    _nested_hierarchy: 300, _open_images: 300, _descriptions: 300,
    _records_note: 200, _records_index: 200, _records_shard: 100,
}  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore:Left .* samples out", "ignore:No row of .* has a label"
)
@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__[1:])
def test_damaged_files_give_documented_errors_alone(make, tmp_path):
    name, read = make(tmp_path)
    path = tmp_path / name
    read(path)
    refused, count = 0, READERS[make]
    for content in mutations(path.read_bytes(), count):
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            about = str(content[:2000])
            assert type(error) in (ValueError, UnreadableImage), about
            assert path.parent.name in str(error) or name in str(error), about
            refused += 1
    # Not so few that nothing was tried.
    assert count > refused > count / 10
