"""Writes a small data set of each kind; a function a name in `DATASETS`.

A function takes what finds fixtures by name and an empty folder, and gives the
options that `load` reads the data set with.
"""

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
