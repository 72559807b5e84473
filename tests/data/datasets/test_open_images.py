"""Open Images: people's and machines' labels, closed, against sets by hand."""

import csv
import json

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data.datasets import open_images
from keras_jft.data.hierarchy import LabelHierarchy

# A root that has no description, two families, and a label outside.
KEYS = [f"/m/{i}" for i in range(7)]
ABOVE = {0: "", 1: "0", 2: "01", 3: "01", 4: "0", 5: "04", 6: ""}
EDGES = [("/m/0", "/m/1"), ("/m/1", "/m/2"), ("/m/1", "/m/3"),
         ("/m/0", "/m/4"), ("/m/4", "/m/5")]  # fmt: skip
TREE = LabelHierarchy([f"name {i}" for i in range(6)], EDGES, KEYS[:6])


@pytest.fixture
def write(tmp_path, save_image):
    """`write(rows)`: files and the options that load them."""

    def save(rows, images=True):
        text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
        head = "ImageID,Source,LabelName,Confidence\n"
        (tmp_path / "train-labels.csv").write_text(head + text)
        described = [6, 1, 2, 3, 4, 5]  # In an order of its own.
        lines = "".join(f"/m/{i},name {i}\n" for i in described)
        (tmp_path / "classes.csv").write_text(lines)
        for number, name in enumerate(sorted({row[0] for row in rows})):
            if images:
                save_image(f"train/{name}.jpg", number, size=(2, 2))
        return {
            "labels": tmp_path / "{split}-*.csv",
            "directory": tmp_path / "{split}",
            "descriptions": tmp_path / "classes.csv",
        }

    return save


def _random_rows(rng, num=400):
    rows = []
    for _ in range(num):
        source = rng.choice(["verification", "crowdsource-verification",
                             "machine", "machine"])  # fmt: skip
        confidence = round(float(rng.random()), 2)
        if source != "machine":
            confidence = int(rng.integers(2))
        label = rng.integers(1, 7)
        rows.append((f"{rng.integers(60):04x}", source, f"/m/{label}",
                     confidence))  # fmt: skip
    return rows


def _by_hand(path, sources, closes, threshold=0.5, unknown=None):
    """`{id: (present labels, unknown labels)}`, numbers of the keys."""
    positive, negative, machine = {}, {}, {}
    with open(path, newline="") as lines:
        for row in csv.DictReader(lines):
            if row["Source"] not in sources:
                continue
            name, label = row["ImageID"], int(row["LabelName"][3:])
            confidence = float(row["Confidence"])
            for table in (positive, negative, machine):
                table.setdefault(name, {})
            table = positive if confidence >= threshold else negative
            table = machine if row["Source"] == "machine" else table
            table[name][label] = max(confidence, table[name].get(label, 0))

    def closed(labels):
        if not closes:
            return set(labels)
        return {int(x) for k in labels for x in f"{k}{ABOVE[k]}"}

    result = {}
    for name in positive:
        no = set(negative[name]) - set(positive[name])
        allowed = {
            label: confidence
            for label, confidence in machine[name].items()
            if not closed([label]) & no and label not in positive[name]
        }
        present = closed(
            [
                *positive[name],
                *(k for k, c in allowed.items() if c >= threshold),
            ]
        )
        maybe = [
            k
            for k, c in allowed.items()
            if unknown is not None and unknown <= c < threshold
        ]
        result[name] = present, closed(maybe) - present
    return result


ALL = ("verification", "crowdsource-verification", "machine")


@pytest.mark.parametrize("tree", [None, TREE])
@pytest.mark.parametrize(
    "chosen",
    [
        (None, 0.5, None),
        (["machine"], 0.8, 0.2),
        ("verification", 0.5, None),
        (ALL, 0.6, 0.3),
    ],
)
def test_labels_are_those_worked_out_by_hand(
    write, rng, tree, chosen, monkeypatch, tmp_path
):
    monkeypatch.setattr(open_images, "_CHUNK", 10)
    sources, threshold, unknown = chosen
    options = write(_random_rows(rng))
    data = jft_data.load(
        "open_images", **options, hierarchy=tree, sources=sources,
        threshold=threshold, unknown=unknown,
    )  # fmt: skip
    sources = [sources] if isinstance(sources, str) else sources or ALL
    expected = _by_hand(
        tmp_path / "train-labels.csv", sources, tree, threshold, unknown
    )
    ids = data.ids(np.arange(len(data))).tolist()
    assert ids == sorted(expected)
    # "name 0" is in the hierarchy alone, so it comes last.
    order = [6, 1, 2, 3, 4, 5, 0][: 7 if tree else 6]
    assert data.info.label_names == tuple(f"name {i}" for i in order)
    counts = np.zeros(len(order), int)
    for name, example in zip(ids, data.take(np.arange(len(data))), strict=True):
        present, maybe = expected[name]
        assert {order[label] for label in example["labels"]} == present
        assert example["labels"].dtype == np.int32
        assert (np.diff(example["labels"]) > 0).all()
        counts[example["labels"]] += 1
        assert ("unknown_labels" in example) == (unknown is not None)
        row = example.get("unknown_labels", np.zeros(0, int))
        assert {order[label] for label in row if label >= 0} == maybe
    assert data.info.class_counts.tolist() == counts.tolist()
    assert data.info.max_labels == max(len(p) for p, _ in expected.values())


@pytest.mark.parametrize("kind", ["dict", "path"])
def test_the_nested_hierarchy_of_open_images_is_read(write, tmp_path, kind):
    rows = [("a", "machine", "/m/3", 0.9), ("b", "machine", "/m/6", 0.9)]
    options = write(rows)
    leaf = {"LabelName": "/m/3", "Part": [{"LabelName": "/m/5"}]}
    tree = {
        "LabelName": "/m/0bl9f",
        "Subcategory": [{"LabelName": "/m/1", "Subcategory": [leaf]}],
    }
    if kind == "path":
        path = tmp_path / "tree.json"
        path.write_text(json.dumps(tree))
        tree = path
    data = open_images.load(**options, hierarchy=tree)
    names = [data.info.label_names[k] for k in data[0]["labels"]]
    assert names == ["name 1", "name 3"]
    assert data[1]["labels"].tolist() == [0]
    assert data.info.hierarchy.keys == tuple(
        f"/m/{i}" for i in (6, *range(1, 6))
    )
    (tmp_path / "cut.json").write_text('{"LabelName": ')
    with pytest.raises(ValueError, match=r"cut\.json' is not JSON"):
        open_images.load(**options, hierarchy=tmp_path / "cut.json")


def test_a_rejection_rules_out_what_lies_below_it(write):
    options = write(
        [
            # A corgi by machine, though people see no dog: no dog.
            ("a", "machine", "/m/2", 0.9),
            ("a", "verification", "/m/1", 0),
            # People who see a corgi see a dog, whatever others say.
            ("b", "verification", "/m/2", 1),
            ("b", "crowdsource-verification", "/m/1", 0),
            # Of two rows the higher confidence counts.
            ("c", "machine", "/m/4", 0.2),
            ("c", "machine", "/m/4", 0.7),
            ("c", "machine", "/m/4", 0.1),
        ]
    )
    data = open_images.load(**options, hierarchy=TREE)
    found = [
        [data.info.label_names[label] for label in example["labels"]]
        for example in data.take(range(3))
    ]
    assert found == [
        [],
        ["name 1", "name 2", "name 0"],
        ["name 4", "name 0"],
    ]


def test_batches_carry_unknown_labels_of_one_width(write, rng):
    options = write(_random_rows(rng))
    data = open_images.load(
        **options, hierarchy=TREE, threshold=0.9, unknown=0.1
    )
    small = jft_data.cache(jft_data.subset(data, 12))
    shapes = set()
    for batch in jft_data.iterate(small, 4, transforms="flip"):
        jft_data.check_batch(batch, num_classes=7)
        shapes.add(batch["unknown_labels"].shape)
    assert len(shapes) == 1


def test_the_file_of_an_image_is_handed_out_as_it_is(write, tmp_path):
    data = open_images.load(**write([("a", "machine", "/m/6", 0.9)]))
    assert data.image_bytes(0) == (tmp_path / "train/a.jpg").read_bytes()


def test_files_may_lie_in_a_bucket(save_open_images, in_bucket, tmp_path):
    options = save_open_images(6)
    here = open_images.load(**options, directory=tmp_path)
    expected, image = here.take(range(6)), here.image_bytes(3)
    bucket = in_bucket(tmp_path)
    options |= {
        "labels": f"{bucket}/lab*.csv",
        "descriptions": f"{bucket}/classes.csv",
        "directory": bucket,
    }
    there = open_images.load(**options)
    assert there.image_bytes(3) == image
    for one, other in zip(expected, there.take(range(6)), strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])
        assert one["labels"].tolist() == other["labels"].tolist()
    with pytest.raises(ValueError, match="There must be a file 'memory:"):
        open_images.load(**options | {"labels": f"{bucket}/none.csv"})
    with pytest.raises(ValueError, match="6 of 6"):
        open_images.load(**options | {"directory": f"{bucket}/none"})


def test_classes_choose_rows_but_not_images(write, tmp_path):
    options = write(
        [
            ("a", "verification", "/m/2", 1),
            ("b", "verification", "/m/6", 1),
        ]
    )
    listed = tmp_path / "trainable.txt"
    listed.write_text("/m/6\n/m/1\n")
    for classes in (listed, ["/m/6", "/m/1"]):
        data = open_images.load(**options, classes=classes)
        assert [e["labels"].tolist() for e in data.take([0, 1])] == [[], [0]]
    with pytest.raises(ValueError, match=r"1 that are not: \['/m/8'\]"):
        open_images.load(**options, classes=["/m/8", "/m/1"])


def test_images_without_a_file_are_an_error_or_left_out(write, tmp_path):
    rows = [(name, "machine", "/m/6", 0.9) for name in "abcde"]
    rows[3] = ("d", "machine", "/m/2", 0.9)
    options = write(rows)
    for name in "bc":
        (tmp_path / f"train/{name}.jpg").unlink()
    (tmp_path / "train/f.jpg").write_bytes(b"")  # Not in the labels.
    with pytest.raises(ValueError, match=r"2 of 5 images: \['b', 'c'\]"):
        open_images.load(**options)
    with pytest.warns(UserWarning, match="2 of 5 images.*left out"):
        data = open_images.load(**options, missing="drop")
    assert data.ids(np.arange(3)).tolist() == ["a", "d", "e"]
    names = [data.info.label_names[data[i]["labels"][0]] for i in range(3)]
    assert names == ["name 6", "name 2", "name 6"]
    options["directory"] = tmp_path / "elsewhere"
    with pytest.raises(ValueError, match="5 of 5"):
        open_images.load(**options, missing="drop")


def test_faulty_rows_are_an_error_or_left_out(write):
    options = write(
        [("a", "machine", "/m/6", 0.9), ("a", "machine", "/m/99", 0.9)]
    )
    with pytest.raises(ValueError, match="line 3, column LabelName"):
        open_images.load(**options)
    with pytest.warns(UserWarning, match="Left out 1 row"):
        data = open_images.load(**options, on_error="drop")
    assert data[0]["labels"].tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0}, "`threshold` must be above 0"),
        ({"threshold": 1.1}, "threshold=1.1"),
        ({"unknown": 0.5}, "below `threshold`.*unknown=0.5"),
        ({"unknown": -0.1}, "unknown=-0.1"),
        ({"missing": "skip"}, "`missing` must be one of"),
        ({"on_error": "skip"}, "`on_error` must be one of"),
        ({"descriptions": None}, "neither `descriptions` nor"),
        (
            {"sources": "verified"},
            r"sources \['verified'\].*\['machine'\] only",
        ),
        ({"split": "val"}, "There must be a file '.*val-"),
    ],
)
def test_wrong_arguments_are_refused(write, changes, message):
    options = write([("a", "machine", "/m/6", 0.9)]) | changes
    with pytest.raises(ValueError, match=message):
        open_images.load(**options)
