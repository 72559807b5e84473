"""Writes a small data set of each kind; a function a name in `DATASETS`.

A function takes what finds fixtures by name and an empty folder, and gives the
options that `load` reads the data set with.
"""

import json

import pyarrow as pa
import pytest

from keras_jft import data

NUM = 6


def synthetic(fixture, folder):
    return {"num_examples": NUM}


def image_folder(fixture, folder):
    for i in range(NUM):
        name = f"train/{'cat' if i % 2 else 'dog'}/{i}.png"
        fixture("save_image")(name, i)
    return {"directory": folder}


def manifest(fixture, folder):
    for i in range(NUM):
        fixture("save_image")(f"{i}.png", i)
    lines = [f"{i}.png,{';'.join('abc'[: i % 4])}\n" for i in range(NUM)]
    path = folder / "list.csv"
    path.write_text("".join(["image,labels\n", *lines]))
    return {"path": path}


def open_images(fixture, folder):
    return {"directory": folder, **fixture("save_open_images")(NUM)}


def parquet(fixture, folder):
    return {"directory": folder, **fixture("save_parquet")(NUM)}


def records(fixture, folder):
    pytest.importorskip("tensorflow")
    examples = data.load("synthetic", num_examples=NUM)
    data.write_records(examples, f"{folder}/train@2", verbose=False)
    return {"directory": folder}


def tfds(fixture, folder):
    datasets = pytest.importorskip("tensorflow_datasets")
    mocked = datasets.testing.mock_data(NUM)
    mocked.__enter__()
    leave = lambda: mocked.__exit__(None, None, None)  # noqa: E731
    fixture("request").addfinalizer(leave)
    return {"config": "cifar100"}


def webdataset(fixture, folder):
    pytest.importorskip("tensorflow")
    members = []
    for i in range(NUM):
        path = fixture("save_image")(f"{i}.png", i)
        members += [(path.name, path.read_bytes()), (f"{i}.txt", b"a;b")]
    path = fixture("save_tar")("a.tar", members)
    return {"urls": path, "label_suffix": ".txt"}


def coco(fixture, folder):
    fixture("save_coco")(_boxes())
    return {"directory": folder}


def coco_people(fixture, folder):
    fixture("save_coco")(_people())
    path = folder / "annotations" / "instances_train2017.json"
    path.rename(path.with_name("person_keypoints_train2017.json"))
    return {"directory": folder}


def voc(fixture, folder):
    fixture("save_list")("train", map(str, range(NUM)))
    for i in range(NUM):
        boxes = [("cat", (1, 1 + i, 4, 2 + i), i % 2)] * (i % 3)
        fixture("save_voc")(str(i), boxes, value=i)
    return {"directory": folder}


def mask_folder(fixture, folder):
    for i in range(NUM):
        fixture("save_image")(f"train/images/{i}.png", i)
        fixture("save_image")(f"train/masks/{i}.png", i, mode="L")
    return {"directory": folder, "classes": NUM}


def voc_segmentation(fixture, folder):
    fixture("save_list")("train", map(str, range(NUM)), room="Segmentation")
    save = fixture("save_image")
    for i in range(NUM):
        save(f"VOC2007/JPEGImages/{i}.png", i)
        save(f"VOC2007/SegmentationClass/{i}.png", i, mode="L")
    return {"directory": folder / "VOC2007"}


def camvid(fixture, folder):
    for i in range(NUM):
        fixture("save_image")(f"train/{i}.png", i)
        fixture("save_image")(f"trainannot/{i}.png", i, mode="L")
    return {"directory": folder}


def voc_flat(fixture, folder):
    for i in range(NUM):
        boxes = [("cat", (1, 1 + i, 4, 2 + i), i % 2)] * (i % 3)
        path = fixture("save_voc")(str(i), boxes, folder="train", value=i)
        path.rename(folder / "train" / "JPEGImages" / path.name)
    return {"directory": folder}


def yolo(fixture, folder):
    for i in range(NUM):
        fixture("save_image")(f"images/train/{i}.png", i, size=(8, 10))
        path = folder / "labels" / "train" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{i % 2} 0.5 0.5 0.2 0.{i + 1}\n" * (i % 3))
    (folder / "data.yaml").write_text(
        "train: images/train\nnames: [cat, dog]\n"
    )
    return {"directory": folder}


def labelme(fixture, folder):
    corners = [[1, 1], [8, 1], [8, 6]]
    for i in range(NUM):
        fixture("save_image")(f"{i}.png", i, size=(8, 10))
        shape = {"label": "ab"[i % 2], "points": corners}
        document = {
            "imagePath": f"{i}.png",
            "imageHeight": 8,
            "imageWidth": 10,
            "shapes": [shape] * (i % 3),
        }
        (folder / f"{i}.json").write_text(json.dumps(document))
    return {"directory": folder, "split": None, "target": "masks"}


def cvat(fixture, folder):
    images = ""
    for i in range(NUM):
        fixture("save_image")(f"images/{i}.png", i, size=(8, 10))
        box = '<box label="cat" xtl="1" ytl="1.5" xbr="4" ybr="6"/>' * (i % 3)
        images += f'<image name="{i}.png" width="10" height="8">{box}</image>'
    (folder / "annotations.xml").write_text(
        f"<annotations><version>1.1</version>{images}</annotations>"
    )
    return {"directory": folder, "split": None}


def hugging_face(fixture, folder):
    rows = []
    for i in range(NUM):
        path = fixture("save_image")(f"images/{i}.png", i)
        image = {"bytes": path.read_bytes(), "path": None}
        rows.append({"image": image, "label": i % 2})
    save_arrow(folder / "train", rows, ["cat", "dog"])
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    return {"directory": folder}


def save_arrow(folder, rows, names):
    """Write rows as `save_to_disk` of Hugging Face's `datasets` 3.2 does.

    Made by hand after its documentation: the library is not installed.
    """
    folder.mkdir()
    table = pa.Table.from_pylist(rows)
    path = folder / "data-00000-of-00001.arrow"
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": path.name}], "_split": folder.name}
    (folder / "state.json").write_text(json.dumps(state))
    features = {
        "image": {"_type": "Image"},
        "label": {"names": names, "_type": "ClassLabel"},
    }
    about = json.dumps({"features": features})
    (folder / "dataset_info.json").write_text(about)


# === COCO's documents ===


def _boxes(num=NUM):
    """A document of `num` images with 0 to 2 boxes each."""
    return {
        "images": [
            {"id": i + 3, "file_name": f"{i}.png", "height": 8, "width": 10}
            for i in range(num)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {
                "id": 10 * i + j,
                "image_id": i + 3,
                "category_id": 9 if j else 3,
                "bbox": [j, j, 5, i + 1],
            }
            for i in range(num)
            for j in range(i % 3)
        ],
    }


def _people(num=NUM):
    """A document of `num` images with 1 to 3 people each."""
    document = _boxes(num)
    document["categories"] = [
        {"id": 3, "name": "person", "keypoints": ["left_ear", "right_ear"]}
    ]
    document["annotations"] = [
        {
            "id": 10 * i + j,
            "image_id": i + 3,
            "category_id": 3,
            "bbox": [j, 0, 5, i + 1],
            "keypoints": [j + 1, 0.5, 2, 0, 0, 0],
        }
        for i in range(num)
        for j in range(1 + i % 3)
    ]
    return document
