"""Text as bytes: UTF-8 whatever the machine's locale.

The name of a file on Linux is bytes, which need not be UTF-8. Python reads each
byte that is not as a lone surrogate, `\\udc80` to `\\udcff` (PEP 383). The
functions here write those bytes back, so that such a name can serve as an id.
"""

import re
import unicodedata
from typing import Any

import numpy as np

ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
"""Options of `str.encode`, `bytes.decode` and `open` that keep every byte."""


def encode(text):
    """Return the UTF-8 bytes of a string, or the original bytes of a file name.

    >>> encode("é"), encode("a\\udcff")
    (b'\\xc3\\xa9', b'a\\xff')
    """
    return text.encode(**ENCODING)


def decode(data):
    """Return the text of UTF-8 bytes, or of the bytes of a file name.

    >>> decode(b"\\xc3\\xa9") == "é", decode(b"a\\xff") == "a\\udcff"
    (True, True)
    """
    return data.decode(**ENCODING)


def encode_array(array):
    """Return an array with its text as bytes; other arrays are unchanged.

    TensorFlow's `numpy_function` reads NumPy text as ASCII, but passes bytes
    through.

    Args:
        array: Anything that `np.asarray` takes.

    Returns:
        An array of the same shape; of `bytes` objects where it held text.

    >>> encode_array(np.array(["é", "ab"])).tolist()
    [b'\\xc3\\xa9', b'ab']
    """
    array = np.asarray(array)
    if array.dtype.kind != "U":
        return array
    encoded = np.empty(array.shape, object)  # Dtype S loses trailing zeros.
    encoded.reshape(-1)[:] = [encode(text) for text in array.flat]
    return encoded


def composed(text):
    """Return the one Unicode form (NFC) that all forms of a name share.

    >>> len("e\u0301"), len(composed("e\u0301"))
    (2, 1)
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def printable(text):
    """Return text that any UTF-8 page or terminal can show.

    Bytes of a file name that are not UTF-8 become escapes, as in its `repr`.

    >>> print(printable("a\\udcff.jpg"))
    a\\udcff.jpg
    """
    return text.encode("utf-8", "backslashreplace").decode()


def without_addresses(text):
    """Return a `repr` without places in memory, the same in every process.

    >>> without_addresses("[<function crop at 0x7f2a5c0e3d80>]")
    '[<function crop>]'
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def number_of(count, noun, plural=None):
    """Return a count of things in words.

    Args:
        count: How many.
        noun: What one of them is called.
        plural: What several are called, if not `noun` and an "s".

    >>> number_of(1, "run"), number_of(0, "run")
    ('1 run', '0 runs')
    >>> number_of(1_200, "class", "classes")
    '1,200 classes'
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
