"""What holds for every data set in the table."""

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import DATASETS, load

NUM = 6


@pytest.fixture(params=sorted(DATASETS))
def make(request, save_image, tmp_path):
    """A function that loads a small data set, anew at every call."""
    name, options = request.param, {"directory": tmp_path}
    if name == "synthetic":
        options = {"num_examples": NUM}
    elif name == "image_folder":
        for i in range(NUM):
            save_image(f"train/{'cat' if i % 2 else 'dog'}/{i}.png", i)
    elif name == "manifest":
        for i in range(NUM):
            save_image(f"{i}.png", i)
        lines = [f"{i}.png,{';'.join('abc'[: i % 4])}\n" for i in range(NUM)]
        path = tmp_path / "list.csv"
        path.write_text("".join(["image,labels\n", *lines]))
        options = {"path": path}
    elif name == "open_images":
        options |= request.getfixturevalue("save_open_images")(NUM)
    elif name == "parquet":
        options = request.getfixturevalue("save_parquet")(NUM)
    elif name == "coco":
        request.getfixturevalue("save_coco")(_coco(NUM))
    elif name == "coco_people":
        request.getfixturevalue("save_coco")(_people(NUM))
        folder = tmp_path / "annotations"
        path = folder / "instances_train2017.json"
        path.rename(folder / "person_keypoints_train2017.json")
    elif name in ("records", "tfds", "webdataset"):
        options = _of_tensorflow(name, request, tmp_path)
    elif name == "voc":
        _voc(request)
    elif name == "mask_folder":
        options["classes"] = NUM
        for i in range(NUM):
            save_image(f"train/images/{i}.png", i)
            save_image(f"train/masks/{i}.png", i, mode="L")
    elif name == "voc_segmentation":
        save = request.getfixturevalue("save_list")
        save("train", map(str, range(NUM)), room="Segmentation")
        options["directory"] = tmp_path / "VOC2007"
        for i in range(NUM):
            save_image(f"VOC2007/JPEGImages/{i}.png", i)
            save_image(f"VOC2007/SegmentationClass/{i}.png", i, mode="L")
    elif name == "camvid":
        for i in range(NUM):
            save_image(f"train/{i}.png", i)
            save_image(f"trainannot/{i}.png", i, mode="L")
    return lambda: load(name, **options)


def _voc(request):
    request.getfixturevalue("save_list")("train", map(str, range(NUM)))
    for i in range(NUM):
        boxes = [("cat", (1, 1 + i, 4, 2 + i), i % 2)] * (i % 3)
        request.getfixturevalue("save_voc")(str(i), boxes, value=i)


def _of_tensorflow(name, request, tmp_path):
    """Options of the data sets that TensorFlow reads."""
    if name == "records":
        pytest.importorskip("tensorflow")
        data = load("synthetic", num_examples=NUM)
        jft_data.write_records(data, f"{tmp_path}/train@2", verbose=False)
        return {"directory": tmp_path}
    if name == "webdataset":
        members = []
        for i in range(NUM):
            path = request.getfixturevalue("save_image")(f"{i}.png", i)
            members += [(path.name, path.read_bytes()), (f"{i}.txt", b"a;b")]
        path = request.getfixturevalue("save_tar")("a.tar", members)
        return {"urls": path, "label_suffix": ".txt"}
    tfds = pytest.importorskip("tensorflow_datasets")
    request.addfinalizer(_enter(tfds.testing.mock_data(NUM)))
    return {"config": "cifar100"}


def _enter(context):
    """Enters a context; gives a function that leaves it."""
    context.__enter__()
    return lambda: context.__exit__(None, None, None)


def _coco(num):
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


def _people(num):
    """A document of `num` images with 1 to 3 people each."""
    document = _coco(num)
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


def check_dataset(make):
    """Asserts the contract of `Dataset`, on two fresh copies of one."""
    data, again = make(), make()
    positions = np.arange(len(data))
    info = data.info
    assert len(data) == info.num_examples > 0
    ids = np.asarray(data.ids(positions))
    assert ids.dtype.kind in "iU"
    assert len(np.unique(ids)) == len(data), "ids are unique"
    assert ids.tolist() == np.asarray(again.ids(positions)).tolist()
    assert np.asarray(data.ids(positions[::-1])).tolist() == ids[::-1].tolist()

    examples = data.take(positions)
    assert [example["ids"] for example in examples] == ids.tolist()
    batch = jft_data.collate(
        examples, max_labels=info.max_labels, max_boxes=info.max_boxes
    )
    jft_data.check_batch(
        batch,
        num_classes=len(info.label_names) or None,
        num_mask_classes=len(info.mask_names) or None,
        num_keypoints=len(info.keypoint_names) or None,
    )
    assert batch["images"].dtype == np.uint8
    if info.hierarchy is not None:
        assert info.hierarchy.names == info.label_names
        closed = info.hierarchy.close_batch(batch["labels"])
        for row, closed_row in zip(batch["labels"], closed, strict=True):
            assert set(row) - {-1} == set(closed_row) - {-1}, "closed upward"
    for known, example in zip(
        data.annotations(positions), examples, strict=True
    ):
        assert "images" not in known and known["ids"] == example["ids"]
        _assert_same(known, {key: example[key] for key in known})
    # One by one, in another order and from a fresh copy: the same.
    for position in positions[::-1]:
        for other in (data[position], again.take([position])[0]):
            assert other.keys() == examples[position].keys()
            for key in ("images", "labels", "segmentation_masks"):
                np.testing.assert_array_equal(
                    other.get(key, 0), examples[position].get(key, 0)
                )


def _assert_same(one, other):
    for key, value in one.items():
        if isinstance(value, dict):
            assert value.keys() == other[key].keys()
            _assert_same(value, other[key])
        else:
            np.testing.assert_array_equal(value, other[key])


def test_every_data_set_keeps_the_contract(make):
    check_dataset(make)


def test_every_data_set_goes_through_the_whole_pipeline(make):
    data = jft_data.cache(jft_data.subset(make(), 4))
    batches = jft_data.iterate(data, 2, transforms="flip", training=True)
    for _ in range(2):
        for batch in batches:
            jft_data.check_batch(batch)
            assert len(batch["images"]) == 2


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'synthetic'.*'imagenet21k'"):
        load("imagenet21k")
