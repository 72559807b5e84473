"""The page says what there is, needs no other file, and escapes names."""

import re

import numpy as np
import pytest

import keras_jft as jft
from keras_jft.data.statistics import page

NASTY = "<script>alert('1')</script> & \"a\""


@pytest.fixture
def found(listed, rng):
    examples = [
        {
            "images": rng.integers(0, 255, (8, 8 + i % 2, 3), "uint8"),
            "labels": np.unique(rng.integers(0, 3, 2)).astype("int32"),
            "ids": f"{NASTY}{i}",
        }
        for i in range(40)
    ]
    data = listed(examples, {f"{NASTY}3"}, label_names=(NASTY, "b", "c"))
    return jft.data.describe(
        data,
        images="all",
        title=NASTY,
        split=NASTY,
        embeddings=rng.normal(size=(40, 2)),
        classes=[NASTY],
    )


def test_names_are_text_and_nothing_is_fetched(found, tmp_path):
    path, _ = found.save(tmp_path / "page.html")
    html = path.read_text()
    assert "<script" not in html and "url(" not in html
    sources = re.findall(r'src="(data:image/[a-z+]+)', html)
    assert html.count("src=") == len(sources)
    # Twelve samples, no fewer of the class, and three figures.
    assert sources.count("data:image/svg+xml") == 3
    assert sources.count("data:image/jpeg") > 20


def test_every_section_is_there(found, tmp_path):
    _, path = found.save(tmp_path / "page.html")
    headings = re.findall("^## (.*)", path.read_text(), re.M)
    assert headings == [
        "Worth a look",
        "Beside JFT-300M",
        "Classes and labels",
        "Labels that occur together",
        "Images",
        "Typical and odd images of a class",
        "How this was made",
    ]
    assert "Unreadable images by cause" in path.read_text()


def test_a_mask_value_without_a_name_is_said(found):
    assert page.mask_name(found, 255) == "void"
    assert page.mask_name(found, 7) == "value 7"


def test_classes_that_no_mask_has_are_remarked(listed):
    examples = [
        {
            "images": np.zeros((2, 3, 3), "uint8"),
            "segmentation_masks": np.array(mask, "uint8")[..., None],
            "ids": i,
        }
        for i, mask in enumerate(
            ([[0, 0, 255], [0, 0, 0]], [[2, 2, 2]] * 2, [[0, 0, 0]] * 2)
        )
    ]
    data = listed(examples, mask_names=("sky", "road", "tree", "car"))
    expected = (
        "2 of 4 classes are in no mask of 3 that were read: road, car. Masks "
        "with void, 255: 1."
    )
    assert expected in page.remarks(jft.data.describe(data))
    whole = listed(examples[1:], mask_names=("sky", "road", "tree"))
    (remark,) = page.remarks(jft.data.describe(whole))
    assert remark.endswith("read: road.")
    unmasked = listed(
        [{"images": e["images"], "ids": e["ids"]} for e in examples],
        mask_names=("sky", "road"),
    )
    assert "in no mask" not in str(page.remarks(jft.data.describe(unmasked)))
