"""Names of tools' files."""

import pytest

from keras_jft.files import is_tool_name


@pytest.mark.parametrize(
    "name, expected",
    [
        ("._a.jpg", True), (".DS_Store", True), ("Thumbs.db", True),
        ("__MACOSX", True), ("@eaDir", True), ("desktop.ini", True),
        ("@cat", False), ("a.jpg", False), ("thumbs", False),
    ],
)  # fmt: skip
def test_tools_are_known_by_their_names(name, expected):
    assert is_tool_name(name) == expected
