"""Sets like FastEval14k, of files in the form of Open Images'."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft.evaluation import dense_set


@pytest.fixture
def validation(tmp_path):
    """Five images: 0, 1, ... 4 leaves of a tree of six leaves and a root."""
    images = tmp_path / "validation"
    images.mkdir()
    rows = ["ImageID,Source,LabelName,Confidence"]
    leaves = [f"/m/{i}" for i in range(6)]
    for i in range(5):
        Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(images / f"i{i}.jpg")
        # Rejected labels are no labels.
        rows.append(f"i{i},verification,{leaves[-1]},0")
        rows += [f"i{i},verification,{leaf},1" for leaf in leaves[:i]]
    labels = tmp_path / "validation-labels.csv"
    labels.write_text("\n".join(rows), encoding="utf-8")
    tree = {
        "LabelName": "/m/root",
        "Subcategory": [{"LabelName": leaf} for leaf in leaves],
    }
    (tmp_path / "tree.json").write_text(json.dumps(tree), encoding="utf-8")
    return {
        "labels": str(tmp_path / "{split}-labels.csv"),
        "directory": str(images),
        "hierarchy": str(tmp_path / "tree.json"),
    }


def test_the_most_densely_labeled_images_are_chosen(validation, tmp_path):
    found = dense_set(
        validation, tmp_path / "set", num_examples=2, num_classes=4
    )
    chosen = jft.data.load(
        "open_images", found.config.split, **found.config.options
    )
    assert sorted(chosen.ids([0, 1])) == ["i3", "i4"]
    # The root of 4 images, and leaves of 4, 3, 2: of i3 and i4 all of them.
    labels = [
        {chosen.info.hierarchy.keys[label] for label in example["labels"]}
        for example in chosen
    ]
    assert labels == 2 * [{"/m/root", "/m/0", "/m/1", "/m/2"}]
    assert (found.labels_per_image, found.num_classes) == (4, 4)
    assert str(found).startswith("2 images with 4.0 labels each, of 4 classes")
    # Label ids are those of pre-training, so that its classifier can be used.
    whole = jft.data.load("open_images", "validation", **validation)
    assert chosen.info.label_names == whole.info.label_names


def test_a_dense_set_is_measured_by_the_counts_of_a_training_set(
    validation, tmp_path
):
    train = {"dataset": "open_images", "options": validation}
    found = dense_set(
        validation,
        tmp_path / "set",
        num_examples=3,
        map_weights={**train, "split": "validation"},
    )
    names = jft.data.load(
        "open_images", "validation", **validation
    ).info.label_names

    class Perfect:
        num_classes = len(names)

        def predict_on_batch(self, images):
            logits = np.zeros((len(images), len(names)), "float32")
            logits[:3] = [[1 + (i > j) for j in range(7)] for i in (2, 3, 4)]
            return logits

    scores = jft.evaluation.run(found.config, Perfect())
    assert 0 < scores["weighted_map"] <= 1


def test_what_a_dense_set_cannot_be_is_said(validation, tmp_path):
    with pytest.raises(ValueError, match="at most 5, the images of 'valid"):
        dense_set(validation, tmp_path / "set", num_examples=9)
    del validation["hierarchy"]
    names = tmp_path / "names.csv"
    rows = ["LabelName,DisplayName", *(f"/m/{i},{i}" for i in range(6))]
    names.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(ValueError, match="must have a `hierarchy`"):
        dense_set(
            {**validation, "descriptions": str(names)},
            tmp_path / "set",
            num_examples=1,
        )
