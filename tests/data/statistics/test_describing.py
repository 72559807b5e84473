"""A whole description against loops over the examples."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import keras_jft as jft
from keras_jft.data.hierarchy import LabelHierarchy
from keras_jft.data.statistics import describe


@pytest.fixture
def many(listed, tree, rng):
    """90 images with closed labels of `tree`, ids as files have them."""
    sides = rng.integers(4, 9, (90, 2))
    examples = [
        {
            "images": rng.integers(0, 255, (*side, 3), "uint8"),
            "labels": tree.close(rng.integers(0, 6, i % 3)),
            "ids": f"{i:02}.jpg",
        }
        for i, side in enumerate(sides)
    ]
    return listed(examples, label_names=tree.names, hierarchy=tree)


def _numbers(found):
    return json.loads(json.dumps(found.to_dict()))


def test_everything_is_what_pandas_says(many, tree):
    found = _numbers(jft.data.describe(many, images="all", split="train"))
    rows = [example["labels"].tolist() for example in many.examples]
    table = pd.Series(rows).explode().dropna()
    per_image = pd.Series(rows).map(len)
    labels = found["labels"]
    assert labels["total"] == len(table)
    assert labels["per_image"]["mean"] == pytest.approx(per_image.mean())
    assert labels["per_image"]["95%"] == per_image.quantile(
        0.95, interpolation="lower"
    )
    assert labels["images_without"] == (per_image == 0).sum() == 30
    assert labels["closed"] == labels["total"] and labels["repeated"] == 0
    counts = table.value_counts().reindex(range(6), fill_value=0)
    assert found["classes"]["below_20"] == (counts < 20).sum()
    assert found["classes"]["largest"] == counts.max()
    assert sum(found["classes"]["by_size"].values()) == 6
    assert found["hierarchy"] == {
        "labels": 6,
        "leaves": 3,
        "roots": 3,
        "depth": 3,
        "fan_out": 2,
        "groups": [[tree.names[0], 3], [tree.names[3], 1], [tree.names[5], 0]],
    }
    heights = pd.Series([e["images"].shape[0] for e in many.examples])
    assert found["images"]["heights"]["mean"] == pytest.approx(heights.mean())
    assert (found["images"]["examined"], found["split"]) == (90, "train")


def test_the_table_has_a_row_a_class(many, tree):
    table = jft.data.describe(many, images=0).table()
    counts = Counter(
        label for e in many.examples for label in e["labels"].tolist()
    )
    assert table["images"].to_dict() == {c: counts[c] for c in range(6)}
    assert table["images"].is_monotonic_decreasing
    assert table.loc[4, "name"] == "corgi"
    assert table["level"].to_dict() == {0: 1, 1: 2, 2: 2, 3: 1, 4: 3, 5: 1}
    assert table["children"].to_dict() == {0: 2, 1: 1, 2: 0, 3: 1, 4: 0, 5: 0}
    assert table["below"].to_dict() == {0: 3, 1: 1, 2: 0, 3: 1, 4: 0, 5: 0}


def test_the_text_says_how_many_labels_the_largest_groups_have(many):
    said = str(jft.data.describe(many, images=0))
    first, second = _numbers(jft.data.describe(many, images=0))["hierarchy"][
        "groups"
    ][:2]
    shown = f"{first[0]} {first[1]}, {second[0]} {second[1]}"
    assert shown in said and "vehicle 5,720, animal 1,165" in said


def test_below_one_root_its_children_are_the_groups(listed):
    image = np.zeros((1, 1, 3), "uint8")
    tree = LabelHierarchy(
        ["thing", "animal", "cat", "dog", "vehicle"],
        [("thing", "animal"), ("thing", "vehicle")]
        + [("animal", "cat"), ("animal", "dog")],
    )
    labels = tree.close([2])
    data = listed(
        [{"images": image, "labels": labels, "ids": 0}],
        label_names=tree.names,
        hierarchy=tree,
    )
    found = _numbers(jft.data.describe(data, images=0))["hierarchy"]
    assert found["groups"] == [["animal", 2], ["vehicle", 0]]


def test_chunks_and_two_passes_change_nothing(many, monkeypatch):
    whole = _numbers(jft.data.describe(many, images=5))
    monkeypatch.setattr(describe, "CHUNK", 7)
    parts = _numbers(jft.data.describe(many, images=5))
    # With less room than classes, pairs wait for the second pass.
    twice = jft.data.describe(many, images=5, pairs_among=5)
    specific = twice.table()["specific_images"].sort_index()
    left_out = many.info.label_names[np.argsort(-specific, kind="stable")[5]]
    twice = _numbers(twice)
    assert (whole["paired_classes"], twice["paired_classes"]) == (6, 5)
    twice["paired_classes"] = 6
    for found in (whole, parts, twice):
        del found["seconds"]
    assert parts == whole
    for found in (whole, twice):
        found["pairs"] = [
            pair
            for pair in found["pairs"]
            if left_out not in (pair["first"], pair["second"])
        ]
    assert whole["pairs"] and twice == whole


def test_embeddings_sort_the_images_of_a_class(many, rng):
    embeddings = rng.normal(size=(90, 3)).astype("float32")
    odd = next(i for i, e in enumerate(many.examples) if 2 in e["labels"])
    embeddings[odd] += 50
    found = jft.data.describe(
        many, images=0, embeddings=embeddings, classes=["cat", 5]
    )
    assert list(found.prototypes) == [2, 5]
    cats = sum(2 in e["labels"] for e in many.examples)
    assert sum(part.num_images for part in found.prototypes[2]) == cats
    assert found.prototypes[2][-1].positions.tolist() == [odd]
    typical, last = found.galleries[2]
    assert typical.caption.endswith(f": {cats - 1} images")
    assert last.caption.endswith(": 1 image")
    assert [t.text for t in last.thumbnails] == [f"{odd:02}.jpg"]
    by_default = jft.data.describe(many, images=0, embeddings=embeddings)
    specific = found.table()["specific_images"]
    assert set(by_default.prototypes) == set(
        specific[specific >= 20].nlargest(3).index
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": -1}, '`images` must be a number.*or "all".*-1'),
        ({"images": "some"}, "`images` must be a number"),
        ({"embeddings": np.ones((3, 2))}, r"shape \(90, D\).*\(3, 2\)"),
        (
            {"embeddings": np.ones((90, 2)), "classes": ["cow"]},
            "names or ids of 6 classes. Received: 'cow'",
        ),
        ({"embeddings": np.ones((90, 2)), "classes": [6]}, "Received: 6"),
        ({"classes": ["dog"]}, r"need `embeddings`. Received: .*'dog'"),
    ],
)
def test_what_does_not_fit_is_refused(many, options, message):
    with pytest.raises(ValueError, match=message):
        jft.data.describe(many, **options)


def test_people_have_no_embeddings(listed):
    data = listed([{"ids": 0}], people={})
    with pytest.raises(ValueError, match="one example per person"):
        jft.data.describe(data, embeddings=np.ones((1, 2)))


def test_unreadable_files_are_counted_and_do_not_stop_it(many):
    many.unreadable = {"03.jpg", "04.jpg"}
    found = jft.data.describe(many, images="all", most_named=1)
    numbers = _numbers(found)
    # Here annotations come with the images, and cannot be read without.
    assert numbers["unreadable_annotations"]["total"] == 2
    assert numbers["images"]["unreadable"]["causes"] == {"is damaged": 2}
    assert len(numbers["images"]["unreadable"]["named"]) == 1
    assert sum(numbers["labels"]["per_image"]["counts"]) == 88
    assert "Of 90 images that were opened, 2 (2%) cannot be read." in str(found)


def test_labels_out_of_range_are_counted_apart(listed):
    image = np.zeros((2, 2, 3), "uint8")
    examples = [
        {"images": image, "labels": np.array([0, 3, 3]), "ids": i}
        for i in range(4)
    ]
    found = jft.data.describe(listed(examples, label_names=("a", "b", "c")))
    labels = _numbers(found)["labels"]
    assert labels["total"] == 4 and labels["out_of_range"] == 8
    assert labels["out_of_range_named"][:2] == [[0, 3], [0, 3]]
    assert "8 labels are not a class, the first 3 of 0" in str(found)
    names = listed(examples)
    assert len(jft.data.describe(names).table()) == 4  # 0 to 3.


def test_one_class_has_no_pairs(listed):
    image = np.zeros((2, 2, 3), "uint8")
    examples = [
        {"images": image, "labels": np.int32(0), "ids": i} for i in range(30)
    ]
    found = jft.data.describe(listed(examples, label_names=("dog",)))
    assert found.pairs == ([], [])
    assert "30 images with 1.00 labels per image, of 1 class." in str(found)


def test_empty_data_is_described(listed, tmp_path):
    found = jft.data.describe(listed([], label_names=("a",)), images="all")
    assert "The data set is empty." in str(found)
    assert _numbers(found)["labels"] is None
    page, _ = found.save(tmp_path / "page.html")
    assert "The data set is empty." in page.read_text()


def test_images_without_any_label_are_described(listed, tmp_path):
    image = np.zeros((2, 2, 3), "uint8")
    none = np.zeros(0, "int32")
    examples = [{"images": image, "labels": none, "ids": i} for i in range(3)]
    found = jft.data.describe(listed(examples, label_names=("a", "b")))
    assert _numbers(found)["labels"]["images_without"] == 3
    assert "3 (100%) of the images have no label." in str(found)
    found.save(tmp_path / "page.html")


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ("classification", "labels"),
        ("detection", "classes of boxes"),
        ("pose", "classes of boxes"),
        ("segmentation", None),
    ],
)
def test_every_task_gives_what_there_is(task, what, tmp_path):
    data = jft.data.load("synthetic", task=task, num_examples=24)
    found = jft.data.describe(data, images=24)
    numbers = _numbers(found)
    examples = data.take(np.arange(24))
    assert numbers["labels_are"] == what
    if task == "detection":
        boxes = [len(e["bounding_boxes"]["labels"]) for e in examples]
        assert numbers["boxes"]["per_image"]["mean"] == np.mean(boxes)
        sets = [np.unique(e["bounding_boxes"]["labels"]) for e in examples]
        assert numbers["labels"]["total"] == sum(map(len, sets))
    if task == "segmentation":
        masks = np.stack([e["segmentation_masks"] for e in examples])
        share = (masks == 0).mean()
        assert numbers["masks"]["background"]["pixels"] == pytest.approx(share)
    page, text = found.save(tmp_path / "page.html")
    assert page.stat().st_size > 1_000 and text.suffix == ".md"


def test_labels_of_files_need_no_image(tmp_path, many):
    lines = ["image,labels"]
    for example in many.examples:
        (tmp_path / example["ids"]).write_bytes(b"")
        lines.append(f"{example['ids']},a;b")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    data = jft.data.load("manifest", None, path=tmp_path / "list.csv")
    found = jft.data.describe(data, images=50)
    numbers = _numbers(found)
    assert numbers["labels"]["total"] == 180
    assert len(numbers["unreadable_annotations"]["named"]) == 0
    assert numbers["images"]["unreadable"]["total"] == 50
    assert numbers["images"]["unreadable"]["causes"] == {"empty": 50}
