"""What `describe` gives keeps its promises: JSON, text, table, page."""

import json

import pytest

import keras_jft as jft


@pytest.fixture(scope="module")
def found():
    data = jft.data.load("synthetic", num_examples=300)
    return jft.data.describe(data, images=20, split="train", title="World")


def test_it_is_json_and_says_its_settings(found):
    again = json.loads(json.dumps(found.to_dict()))
    assert (again["title"], again["split"]) == ("World", "train")
    assert again["num_examples"] == again["num_images"] == 300
    assert again["jft300m"]["classes"] == "18,291"


def test_as_text_it_stands_beside_jft300m(found):
    text = str(found)
    assert text.startswith("300 images of the split train with 1.")
    assert "18,291" in text and "2,876" in text


def test_classes_by_size_are_all_classes_once(found):
    table = found.table()
    sizes = found.to_dict()["classes"]["by_size"]
    assert list(sizes)[:4] == ["0", "1-19", "20-99", "100-999"]
    assert sizes["1-19"] == table["images"].between(1, 19).sum()
    assert sizes["0"] == (table["images"] == 0).sum()
    assert sum(sizes.values()) == len(table) == 286


def test_a_page_must_be_html(found, tmp_path):
    with pytest.raises(ValueError, match=r"HTML file, \*.html.*page.pdf"):
        found.save(tmp_path / "page.pdf")
    page, text = found.save(tmp_path / "new" / "page.html")
    assert page.name == "page.html" and text.read_text().startswith("# World")
