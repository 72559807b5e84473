"""Unreadable files are counted by cause and named up to a limit."""

import pytest

from keras_jft.data.failures import MOST_CAUSES, OTHER, Failures, cause_of
from keras_jft.data.images import UnreadableImage


def test_files_with_one_cause_count_together():
    failures = Failures(most_named=2)
    for i in range(5):
        failures.add(
            i, ValueError(f"'{i}.jpg' cannot be read: {i} left. Mend.")
        )
    failures.add("a", OSError("disk"))
    assert failures.to_dict() == {
        "total": 6,
        "causes": {"cannot be read: # left": 5, "disk": 1},
        "named": [
            [0, "'0.jpg' cannot be read: 0 left. Mend."],
            [1, "'1.jpg' cannot be read: 1 left. Mend."],
        ],
    }


def test_the_cause_that_an_error_has_is_taken():
    error = UnreadableImage("'a.jpg' cannot be read. Mend it.", "truncated")
    assert cause_of(error) == "truncated"


def test_causes_are_bounded():
    failures = Failures()
    words = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(80)]
    for word in words:
        failures.add(0, ValueError(word))
    assert len(failures) == 80
    assert failures.causes[OTHER] == 80 - MOST_CAUSES


@pytest.mark.parametrize(
    ("text", "cause"),
    [('"a b.png" is 3 x 4.', "is # x #"), ("", "ValueError")],
)
def test_a_cause_has_neither_names_nor_numbers(text, cause):
    assert cause_of(ValueError(text)) == cause
