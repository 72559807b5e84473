"""Labels are texts or whole numbers; all else is an error with its place."""

import unicodedata

import numpy as np
import pytest

from keras_jft.data import label_names


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("cat", ["cat"]),
        ("cat; dog ;;", ["cat", "dog"]),
        ("", []),
        (None, []),
        (7, [7]),
        (-1, [-1]),
        ([], []),
        ([""], []),
        (["a;b", " c"], ["a;b", "c"]),
        ([2, 11], [2, 11]),
        ("NA", ["NA"]),
        ("\udcff", ["\udcff"]),
    ],
)
def test_labels_are_texts_and_whole_numbers(cell, labels):
    assert label_names.labels_of(cell, "here", separator=";") == labels


@pytest.mark.parametrize(
    "cell",
    [
        1.0, 1.5, float("nan"), True, False, {"a": 1}, b"cat", 2**63,
        [None], [["a"]], ["a", 1.0], [True], "\ud800", np.float32(1),
    ],
)  # fmt: skip
def test_nothing_else_is_a_label(cell):
    with pytest.raises(ValueError, match="^'a', line 7: a label must be"):
        label_names.labels_of(cell, "'a', line 7", separator=";")


def test_a_separator_splits_no_text_where_there_is_none():
    assert label_names.labels_of("a; b", "here") == ["a; b"]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([[11, 2], [], [-1, 2]], ["-1", "2", "11"]),
        ([["11", "2"], ["0"]], ["0", "2", "11"]),
        ([["b", "a"], ["11", "2"]], ["11", "2", "a", "b"]),
        ([["11", "02"]], ["02", "11"]),
        ([["1.0.2", "2.x"]], ["1.0.2", "2.x"]),
        ([["NA", "null", "none"]], ["NA", "none", "null"]),
        ([[]], []),
    ],
)
def test_whole_numbers_are_in_the_order_of_numbers(rows, names):
    assert label_names.names_in(rows, "row {}".format) == names


def test_a_column_of_texts_and_numbers_is_refused_with_both_places():
    rows = [["a"], [], ["b", 1], ["1"]]
    with pytest.raises(ValueError, match=r"row 0: 'a'; row 2: 1\. Write all"):
        label_names.names_in(rows, "row {}".format)


def test_whole_numbers_that_became_floats_are_noticed():
    rows = [["3"], ["12.0"], []]
    with pytest.raises(ValueError, match=r"row 1: the label '12\.0'.*Int64"):
        label_names.names_in(rows, "row {}".format)


@pytest.mark.parametrize("name", ["1.5", "-0.25", "1.0"])
def test_a_number_that_is_not_whole_is_not_a_class_unless_it_is_named(name):
    with pytest.raises(ValueError, match=rf"row 1: the label '{name}'.*`lab"):
        label_names.names_in([["2"], [name, "2.5"]], "row {}".format)
    assert label_names.checked_names([name, "2.5"]) == (name, "2.5")


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "<NA>"])
def test_a_missing_value_is_not_a_class_unless_it_is_named(name):
    with pytest.raises(ValueError, match=f"row 1: the label '{name}'.*empty"):
        label_names.names_in([["cat"], [name]], "row {}".format)
    assert label_names.checked_names([name]) == (name,)


@pytest.mark.parametrize(
    "cell",
    ["['cat', 'dog']", '["cat"]', "[]", "[ ]", "[1, 2]", "['a'\n 'b']",
     "('a', 'b')", "{'a'}", "set()", "()", " ['cat'] "],
)  # fmt: skip
def test_a_list_that_was_written_as_text_is_not_a_label(cell):
    with pytest.raises(ValueError, match="^row 3: .*a list.*'cat;dog'"):
        label_names.labels_of(cell, "row 3", separator=";")


@pytest.mark.parametrize("cell", ["[unknown]", "cat [1]", "(other)", "{x}"])
def test_brackets_may_be_in_a_label(cell):
    assert label_names.labels_of(cell, "here", separator=";") == [cell]


def test_two_unicode_forms_of_one_name_are_not_two_classes():
    forms = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    with pytest.raises(ValueError, match="row [01]: the label .*Unicode form"):
        label_names.names_in([[forms[0]], [forms[1]]], "row {}".format)


def test_names_that_a_user_gives_are_checked():
    assert label_names.checked_names(np.array([7, 3])) == ("7", "3")
    assert label_names.checked_names(iter("ab")) == ("a", "b")
    for wrong, says in (
        ("cat", r"must be a list.*Give \['cat'\]"),
        (b"cat", "must be a list"),
        (7, r"must be a list.*Give \[7\]"),
        (None, "must be a list"),
        (np.array("cat"), "must be a list"),
        ({"cat", "dog"}, "set has no order"),
        ({"cat": 1, "dog": 0}, "in the order of their ids"),
        ({0: "cat"}, "in the order of their ids"),
        (["\u00e9", "e\u0301"], "another Unicode form"),
        (["a", ""], "position 1"),
        (["a", "b", "a"], r"each label once.*\['a'\]"),
        ([1, "1"], "each label once"),
        ([1.0], "whole number. Received: 1.0"),
        ([None], "Received: None"),
    ):
        with pytest.raises(ValueError, match=f"`label_names`.*{says}"):
            label_names.checked_names(wrong)


def test_a_number_is_an_id_only_where_no_name_is_a_number():
    of = label_names.label_ids_by_text
    assert of(("cat", "dog")) == {"cat": 0, "dog": 1, "0": 0, "1": 1}
    # 3 is the class that is called so, and 0 is none of them.
    assert of(("5", "3")) == {"5": 0, "3": 1}
    assert of(("0", "1")) == {"0": 0, "1": 1}


def test_a_float_names_the_column_type_to_write():
    with pytest.raises(ValueError, match=r"Received: 1\.0\. pandas .* Int64"):
        label_names.labels_of(1.0, "'a.parquet', row 3")


def test_a_name_that_is_almost_there_is_named():
    names = ("cat", unicodedata.normalize("NFC", "caf\u00e9"), "Dog")
    for name, hint in (
        ("dog", "(there is 'Dog')"),
        (" cat ", "(there is 'cat')"),
        ("cafe\u0301", "(there is 'caf\u00e9', of another Unicode form)"),
    ):
        assert label_names.almost(name, names).strip() == hint
    assert label_names.almost("cow", names) == ""


def test_a_name_of_spaces_is_empty_and_shifts_no_ids():
    with pytest.raises(ValueError, match="empty string at position 1"):
        label_names.checked_names(["a", " ", "b"])
    assert label_names.checked_names(["a ", " b"]) == ("a", "b")
    with pytest.raises(ValueError, match="Received again"):
        label_names.checked_names(["a ", "a"])
