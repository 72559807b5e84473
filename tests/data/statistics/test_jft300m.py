"""The paper's numbers, as printed in section 3."""

from keras_jft.data.statistics import counts


def test_the_numbers_are_those_of_the_paper():
    text = (
        "300M images 375M labels 1.26 18,291 12 2,876 more than 3K "
        "approximately 2K more than 2M approximately 20%"
    )
    for number in text.split(" images ")[1].split():
        assert any(number in said for said in counts.JFT300M.values())


def test_rows_say_what_is_missing():
    found = {"num_images": 5, "labels": None, "hierarchy": None}
    rows = {name: here for name, here, _ in counts.compare(found)}
    assert rows["images"] == "5" and rows["labels"] == "no labels"
    assert rows["depth of the hierarchy"] == "no hierarchy"


def test_numbers_read_as_people_write_them():
    assert counts.number(None) == "-"
    assert counts.number(1.256) == "1.26"
    assert counts.number(18291) == "18,291"
    assert counts.share(1, 8) == "1 (12%)" and counts.share(0, 0) == "0"
