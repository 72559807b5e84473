"""Small image files and annotations on disk."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from PIL import Image

from keras_jft import files


@pytest.fixture
def save_image(tmp_path):
    """`save_image(path, value)`: an image file of one brightness."""

    def save(path, value=0, size=(4, 5), mode="RGB"):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        color = (value,) * 3 if mode == "RGB" else value
        Image.new(mode, size[::-1], color).save(path)
        return path

    return save


@pytest.fixture
def brightness():
    """`brightness(example)`: of an image of one brightness."""

    def of(example):
        (value,) = np.unique(example["images"])
        return int(value)

    return of


def _coco_document():
    """Three images, categories with gaps, seven annotations, one a crowd."""
    boxes = [
        [0, 0, 4, 3], [1, 1, 2, 2], [2.5, 1, 3, 3], [0, 0, 9, 7],
        [0, 5, 2, 0.25], [4, 4, 2, 2], [3, 0, 5, 2],
    ]  # fmt: skip
    images, categories = [7, 9, 9, 12, 7, 12, 12], [18, 1, 44, 1, 18, 44, 1]
    return {
        "info": {"year": 2017},
        "images": [
            {"id": i, "file_name": f"{i:04}.png", "height": 8, "width": 10}
            for i in (9, 7, 12)
        ],
        # Not in the order of the ids.
        "categories": [
            {"id": 18, "name": "dog"},
            {"id": 1, "name": "person"},
            {"id": 44, "name": "bottle"},
        ],
        "annotations": [
            {
                "id": 100 + i,
                "image_id": images[i],
                "category_id": categories[i],
                "bbox": box,
                "area": box[2] * box[3] / 2,
                "iscrowd": int(i == 3),
            }
            for i, box in enumerate(boxes)
        ],
    }


def _with_keypoints(document):
    """The same file with three keypoints a person, and only persons."""
    document["categories"] = [
        {
            "id": 1,
            "name": "person",
            "keypoints": ["nose", "left_eye", "right_eye"],
            "skeleton": [[1, 2], [1, 3]],
        }
    ]
    for record in document["annotations"]:
        record["category_id"] = 1
        record["keypoints"] = [1, 2, 2, 3, 1.5, 1, 0, 0, 0]
        record["num_keypoints"] = 2
    return document


@pytest.fixture
def coco():
    """`coco()`, `coco(keypoints=True)`: a new document in COCO's format."""

    def make(keypoints=False):
        document = _coco_document()
        return _with_keypoints(document) if keypoints else document

    return make


@pytest.fixture
def save_coco(tmp_path, save_image):
    """`save_coco(document, split)`: a file in COCO's layout, with images."""

    def save(document, split="train2017"):
        for number, record in enumerate(document["images"]):
            save_image(f"{split}/{record['file_name']}", number, size=(8, 10))
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return save


@pytest.fixture
def save_open_images(tmp_path, save_image):
    """`save_open_images(num)`: options that load so many images of them.

    Three labels and a rejected one in turn; pets are cats and dogs.
    """

    def save(num):
        for i in range(num):
            save_image(f"{i:04x}.jpg", i)
        rows = ["ImageID,Source,LabelName,Confidence"]
        for i in range(num):
            for label in range(i % 4):
                source = "machine" if i % 2 else "verification"
                rows.append(f"{i:04x},{source},/m/{label},{label / 2:.1f}")
            rows.append(f"{i:04x},verification,/m/3,0")
        (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
        names = {"/m/0": "pet", "/m/1": "cat", "/m/2": "dog", "/m/3": "tree"}
        lines = [f"{key},{name}\n" for key, name in names.items()]
        (tmp_path / "classes.csv").write_text("".join(lines))
        edges = [["/m/0", "/m/1"], ["/m/0", "/m/2"]]
        return {
            "labels": tmp_path / "labels.csv",
            "descriptions": tmp_path / "classes.csv",
            "hierarchy": {"names": names, "edges": edges},
        }

    return save


@pytest.fixture
def save_parquet(tmp_path, save_image):
    """`save_parquet(num)`: options that load so many rows of two files."""

    def save(num):
        for part in range(2):
            rows = [
                {
                    "image": save_image(f"{i}.png", i).read_bytes(),
                    "labels": [*range(i % 4)],
                    "label_probs": [1 - 0.25 * j for j in range(i % 4)],
                }
                for i in range(part, num, 2)
            ]
            table = pa.Table.from_pylist(rows)
            path = tmp_path / f"part-{part}.parquet"
            pq.write_table(table, path, row_group_size=2)
        return {"path": tmp_path, "threshold": 0.5, "label_names": [*"abc"]}

    return save


@pytest.fixture
def in_bucket(tmp_path):
    """`in_bucket(folder)`: a copy of its files that is not local."""
    pytest.importorskip("fsspec")

    def copy(folder):
        for path in filter(Path.is_file, sorted(folder.rglob("*"))):
            files.write_bytes(f"memory:/{path}", path.read_bytes())
        shutil.rmtree(folder)
        return f"memory:/{folder}"

    return copy


@pytest.fixture
def save_voc(tmp_path, save_image):
    """`save_voc(name, objects)`: an XML file and an image, 8 x 10, of VOC.

    Objects are (class, (xmin, ymin, xmax, ymax), difficult).
    """

    def save(name, objects, folder="VOC2007", value=0):
        written = "".join(
            f"<object><name>{label}</name><pose>Left</pose>"
            f"<difficult>{difficult}</difficult><bndbox><ymin>{y1}</ymin>"
            f"<xmin>{x1}</xmin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
            "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
            "</object>"
            for label, (x1, y1, x2, y2), difficult in objects
        )
        save_image(f"{folder}/JPEGImages/{name}.png", value, size=(8, 10))
        path = tmp_path / folder / "Annotations" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "<annotation><size><width>10</width><height>8</height>"
            f"<depth>3</depth></size>{written}</annotation>"
        )
        return path

    return save


@pytest.fixture
def save_list(tmp_path):
    """`save_list(split, names)`: a list in VOC's layout."""

    def save(split, names, folder="VOC2007", room="Main"):
        path = tmp_path / folder / "ImageSets" / room / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")

    return save


@pytest.fixture
def save_mask(tmp_path):
    """`save_mask(path, values)`: a palette PNG of indices, or a `.mat`."""

    def save(path, values):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.asarray(values, "uint8")
        if path.suffix == ".mat":
            scipy.io.savemat(path, {"GTcls": {"Segmentation": values}})
            return path
        image = Image.fromarray(values)
        image.putpalette([(7 * i) % 256 for i in range(768)])
        image.save(path)
        return path

    return save


@pytest.fixture
def save_tar(tmp_path):
    """`save_tar(path, [(name, bytes)])`: a tar of these members."""

    def save(path, members):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    return save
