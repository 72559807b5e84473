"""Names of any alphabet, and of none, go through everything."""

import ast
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft import html_page, text

ROOT = pathlib.Path(__file__).parent.parent
# Of two bytes a letter, of three, of four; and a file name that is not UTF-8.
NAMES = ("éléphant", "猫", "\N{ELEPHANT}", "a\udcff")


def test_text_goes_to_bytes_and_back():
    expected = ["éléphant".encode(), b"\xe7\x8c\xab", b"\xf0\x9f\x90\x98"]
    encoded = text.encode_array(np.array([NAMES[:3]]))
    assert encoded.shape == (1, 3)
    assert encoded.ravel().tolist() == expected
    assert text.encode(NAMES[3]) == b"a\xff" == os.fsencode(NAMES[3])
    for name in NAMES:
        assert text.decode(text.encode(name)) == name
    array = np.array([NAMES, NAMES])
    again = text.encode_array(array)
    assert [[*map(text.decode, row)] for row in again] == array.tolist()
    numbers = np.arange(3)
    assert text.encode_array(numbers) is numbers


def test_what_is_shown_is_utf8():
    assert text.printable("猫") == "猫"
    assert text.printable("a\udcff") == "a\\udcff"
    text.printable("\ud83d").encode()  # Half of a letter, out of JSON.


@pytest.fixture
def folder(tmp_path):
    """A folder of two images each in one class folder a name."""
    for value, name in enumerate(NAMES):
        for part in ("0", name):
            path = tmp_path / "train" / name / f"{part}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (40 * value,) * 3).save(path)
    return tmp_path


IDS = sorted(f"{name}/{part}.png" for name in NAMES for part in ("0", name))


def _by_name(data):
    return {example["ids"]: example["images"][0, 0, 0] for example in data}


def _sources(folder, data):
    """The same images through every source of files that names them."""
    paths, train = data.ids(np.arange(len(data))).tolist(), folder / "train"
    size = {"height": 16, "width": 16}
    coco = {
        "images": [
            {"id": i, "file_name": path, **size} for i, path in enumerate(paths)
        ],
        "categories": [{"id": 1, "name": "猫"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]}
            for i in range(len(paths))
        ],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    jft.data.write_ids(data, folder / "list.jsonl")
    jft.data.write_records(data, folder / "records" / "é@2", verbose=False)
    masks = folder / "masks"
    for path in paths:
        (masks / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), paths.index(path)).save(masks / path)
    yield "image_folder", {"directory": folder}
    # `write_ids` keeps the bytes of a name; a list of text has only UTF-8.
    kept = [p for p in paths if text.printable(p) == p]
    lines = [json.dumps({"image": p, "label": "é"}) for p in kept]
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = {"path": folder / "manifest.jsonl", "label_column": "label"}
    yield "manifest", {**options, "directory": train}
    yield "coco", {"annotations": folder / "coco.json", "directory": train}
    yield "records", {"directory": folder / "records", "split": "é"}
    options = {"images": "train", "masks": "masks", "split": None}
    yield (
        "mask_folder",
        {"directory": folder, "classes": len(paths), **options},
    )


def test_every_source_takes_such_names_and_tensorflow_does(folder):
    pytest.importorskip("tensorflow")
    data = jft.data.load("image_folder", directory=folder, split="train")
    assert data.info.label_names == tuple(sorted(NAMES))
    assert data.ids(np.arange(8)).tolist() == IDS
    expected = {
        f"{name}/{part}.png": 40 * value
        for value, name in enumerate(NAMES)
        for part in ("0", name)
    }
    for source, options in _sources(folder, data):
        options.setdefault("split", "train")
        found = jft.data.load(source, **options)
        batches = jft.data.batches(found, 2)
        ids = np.concatenate([b["ids"].numpy() for b in batches])
        if ids.dtype.kind == "O":
            ids = np.array([*map(text.decode, ids)])
        assert ids.tolist() == found.ids(np.arange(len(found))).tolist()
        values = _by_name(found)
        if source in ("image_folder", "records"):
            assert values == expected
        else:
            assert (
                sorted(values.values())
                == sorted(expected.values())[: len(values)]
            )


# === Sources whose images have names of their own ===

XML = (
    "<annotation><size><width>16</width><height>16</height></size><object>"
    "<name>{}</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1"
    "</ymin><xmax>4</xmax><ymax>5</ymax></bndbox></object></annotation>"
)


def _webdataset(folder, images):
    shard = folder / f"{NAMES[3]}.tar"
    with tarfile.open(shard, "w") as tar:
        for name, image in images.items():
            for suffix, content in ((".png", image), (".txt", "猫".encode())):
                member = tarfile.TarInfo(f"{NAMES[3]}/{name}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    ids = [f"{NAMES[3]}/{NAMES[3]}/{name}" for name in images]
    return {"urls": shard, "label_suffix": ".txt"}, ids


def _parquet(folder, images):
    names = [*images][:3]  # Its text is UTF-8.
    columns = {
        "image": [images[name] for name in names],
        "id": names,
        "labels": [["猫"]] * 3,
    }
    with open(folder / "é.parquet", "wb") as file:
        pq.write_table(pa.table(columns), file)
    options = {"id_column": "id", "probability_column": None}
    return {"path": folder, **options}, names


def _open_images(folder, images):
    for name, image in images.items():
        (folder / f"{name}.jpg").write_bytes(image)
    names = [*images][:3]  # A CSV is UTF-8.
    rows = [f"{name},verification,/m/猫,1\n" for name in names]
    text = "ImageID,Source,LabelName,Confidence\n" + "".join(rows)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    (folder / "names.csv").write_text("/m/猫,猫\n", encoding="utf-8")
    options = {"labels": folder / "labels.csv", "directory": folder}
    return {**options, "descriptions": folder / "names.csv"}, sorted(names)


def _voc(folder, images):
    for room in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / room).mkdir(parents=True)
    for name, image in images.items():
        (folder / "JPEGImages" / f"{name}.png").write_bytes(image)
        path = folder / "Annotations" / f"{name}.xml"
        path.write_text(XML.format("猫"), encoding="utf-8")
    names = [*images][:3]  # A list is UTF-8.
    path = folder / "ImageSets" / "Main" / "é.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    return {"directory": folder, "split": "é"}, names


@pytest.mark.parametrize(
    "make",
    [_webdataset, _parquet, _open_images, _voc],
    ids=lambda f: f.__name__,
)
def test_names_and_folders_go_through_the_other_sources(make, tmp_path):
    pytest.importorskip("tensorflow")
    folder = tmp_path / NAMES[3]
    folder.mkdir()
    images = {}
    for value, name in enumerate(NAMES):
        image = io.BytesIO()
        Image.new("RGB", (16, 16), (40 * value,) * 3).save(image, "PNG")
        images[name] = image.getvalue()
    options, ids = make(folder, images)
    data = jft.data.load(make.__name__[1:], **options)
    assert data.info.label_names == ("猫",)
    values = {name.rpartition("/")[2]: v for name, v in _by_name(data).items()}
    assert values == {
        name: 40 * value for value, name in enumerate(NAMES) if name in values
    }
    found = [b["ids"].numpy() for b in jft.data.batches(data, 2)]
    assert [*map(text.decode, np.concatenate(found))] == ids
    jft.data.write_records(data, tmp_path / "猫" / "é@2", verbose=False)
    again = jft.data.load("records", "é", directory=tmp_path / "猫")
    assert again.ids(np.arange(len(ids))).tolist() == ids
    jft.data.describe(again).save(folder / "page.html")


def test_records_whose_path_is_not_utf8_are_refused_by_name(tmp_path):
    pytest.importorskip("tensorflow")
    data = jft.data.load("synthetic", num_examples=2)
    for path in (
        f"{NAMES[3]}/x@1",
        f"{NAMES[3]}@1",
        f"{NAMES[3]}.array_record@1",
    ):
        with pytest.raises(ValueError, match=r"path is UTF-8.*a\\udcff"):
            jft.data.write_records(data, tmp_path / path, verbose=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"path is UTF-8.*a\\udcff"):
        jft.data.load("records", directory=tmp_path / NAMES[3])


def test_a_model_trains_on_such_names(folder, tiny_backbone):
    data = jft.data.load("image_folder", directory=folder, split="train")
    model = jft.Classifier(tiny_backbone, len(NAMES))
    model.compile("sgd")
    batches = jft.data.iterate
    if keras.backend.backend() == "tensorflow":
        batches = jft.data.batches
    (batch, *_) = batches(data, 4, transforms="flip", training=True)
    assert len(batch["ids"]) == 4
    model.fit(batches(data, 4, transforms="flip", training=True), verbose=0)


def test_subsets_caches_and_lists_keep_such_names(folder, tmp_path):
    data = jft.data.load("image_folder", directory=folder, split="train")
    path = tmp_path / "ids.jsonl"
    jft.data.write_ids(jft.data.subset(data, 5), path)
    some = jft.data.select(data, path)
    assert some.ids(np.arange(5)).tolist() == (
        jft.data.subset(data, 5).ids(np.arange(5)).tolist()
    )
    cached = jft.data.cache(data, tmp_path / "cache")
    assert _by_name(cached) == _by_name(data)
    assert jft.data.cache(data, tmp_path / "cache")[0]["ids"] == IDS[0]


def test_pages_show_such_names(folder, tmp_path):
    data = jft.data.load("image_folder", directory=folder, split="train")
    found = jft.data.describe(data)
    page, markdown = found.save(tmp_path / "page.html")
    for path in (page, markdown):
        shown = path.read_text(encoding="utf-8")
        assert all(name in shown for name in NAMES[:3])
        assert "udcff" in shown and "\udcff" not in shown


def test_figures_draw_what_the_font_has_and_spell_the_rest():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert html_page.drawable("éléphant at 5 $") == r"éléphant at 5 \$"
    assert html_page.drawable("猫\n\udcff") == "\\u732b\n\\udcff"
    axes = figure.subplots()
    axes.set_title(" ".join(map(html_page.drawable, NAMES)))
    assert b"<svg" in html_page.svg_of(figure)  # Warnings are errors here.


def test_pictures_of_results_take_such_names():
    images = np.zeros((1, 16, 16, 3), "uint8")
    entry = {
        "boxes": np.array([[[1.0, 2, 9, 9]]], "float32"),
        "labels": np.array([[3]]),
    }
    plot = jft.evaluation.plot_detections
    html_page.svg_of(plot(images, entry, {**entry, "scores": [[0.9]]}, NAMES))
    masks = np.full((1, 16, 16), 3, "uint8")
    plot = jft.evaluation.plot_segmentation
    html_page.svg_of(plot(images, masks, masks, NAMES, titles=NAMES[3:]))


@pytest.mark.slow
def test_text_files_are_utf8_whatever_the_locale(tmp_path):
    code = f"""
import json, pathlib
import numpy as np
import keras_jft as jft
folder = pathlib.Path({str(tmp_path)!r})
from keras_jft.data.dataset import Dataset, Info
class Two(Dataset):
    info = Info(num_examples=2, label_names=("\\u732b",))
    def ids(self, positions):
        return np.array(["\\xe9", "\\u732b"])[np.asarray(positions)]
    def __getitem__(self, position):
        return {{"images": np.zeros((8, 8, 3), "uint8"),
                "labels": np.int32(0), "ids": self.ids(position).item()}}
jft.data.write_ids(Two(), folder / "ids.jsonl")
jft.data.cache(Two(), folder / "cache")
jft.data.describe(Two()).save(folder / "page.html")
"""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    soonest = {"KERAS_BACKEND": "jax"}  # Of the backends to import.
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **soonest, **ascii_only},
        check=True,
    )
    ids = (tmp_path / "ids.jsonl").read_bytes()
    assert '"é"'.encode() in ids and '"猫"'.encode() in ids
    assert "猫" in (tmp_path / "page.html").read_bytes().decode("utf-8")


# === Every file of text is opened as UTF-8 ===


def _mode(call, place):
    """The mode of a call that opens a file, as text; None: not known."""
    found = [k.value for k in call.keywords if k.arg == "mode"]
    found += call.args[place : place + 1]
    if not found:
        return "r"
    return found[0].value if isinstance(found[0], ast.Constant) else None


def _opens_text(call):
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", None))
    if name in ("read_text", "write_text"):
        place = getattr(function, "value", None)  # `text_files` has its own.
        return place is not None and getattr(place, "id", "") != "text_files"
    if name == "NamedTemporaryFile":
        return bool(call.args) and "b" not in _mode(call, 0)
    if name != "open":
        return False
    if isinstance(function, ast.Name):
        return "b" not in (_mode(call, 1) or "b")
    first = _mode(call, 0)  # `path.open("w")`, and not `Image.open(path)`.
    return isinstance(first, str) and set(first) <= set("rwax+")


@pytest.mark.parametrize("room", ["keras_jft", "examples", "benchmarks"])
def test_every_text_file_is_opened_as_utf8(room):
    stray = []
    for path in (ROOT / room).rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _opens_text(call):
                given = {keyword.arg for keyword in call.keywords}
                if not given & {"encoding", None}:  # None: `**options`.
                    stray.append(f"{path.name}:{call.lineno}")
    assert stray == []
