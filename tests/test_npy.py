"""Arrays of `.npy` files: as NumPy reads them, and no more than is there."""

import io
import zipfile

import numpy as np
import pytest

from keras_jft import npy


def _bytes(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def _header(text, rest=b""):
    """A file whose header is this text."""
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + rest


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="int16").reshape(2, 3),
        np.float32(2.5),
        np.zeros((0, 4), "int64"),
        np.array(["a", "caf\u00e9"]),
        np.array([True, False]),
        np.arange(3, dtype=">f8"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_what_numpy_writes_comes_back(array, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=np.arange(3), a=array)
    mapped = npy.from_archive(path)
    assert mapped["first"].tolist() == [0, 1, 2]
    for found in (npy.from_bytes(_bytes(array)), mapped["a"]):
        expected = np.load(path)["a"]
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert not found.flags.writeable


def test_records_are_read_on_request():
    rows = np.array([(1, 2.0)], [("a", "<i8"), ("b", "<f4")])
    assert npy.from_bytes(_bytes(rows), "V").tolist() == [(1, 2.0)]
    with pytest.raises(ValueError, match="it holds"):
        npy.from_bytes(_bytes(rows))


_INTS = "{'descr': '<i8', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "magic string"),
        (b"\x93NUMPY\x01\x00", "EOF"),
        (_bytes(np.arange(3), version=(2, 0)), "format is"),
        (_bytes(np.arange(3))[:-1], "promises 24 bytes, and 23 follow"),
        (_bytes(np.arange(3)) + b"0", "promises 24 bytes, and 25 follow"),
        # Terabytes, and more than any number of bytes.
        (_header(_INTS % "(10**12,)"), "."),
        (_header(_INTS % "(1000000000000,)", b"12345678"), "and 8 follow"),
        (_header(_INTS % f"({10**30}, {10**30})"), "and 0 follow"),
        (_header(_INTS % "(-1,)", b"12345678"), r"shape is \(-1,\)"),
        (_header(_INTS % ("(" * 3000)), "."),
        (_header("[" * 9000), "."),
        (_header("{'descr': '<U0', 'fortran_order': False, 'shape': (9,)}"),
         "it holds"),
        (_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
                 b"12345678"), "it holds object"),
        (_bytes(np.zeros((2, 3), order="F")), "Fortran"),
        (_bytes(np.array([1 + 2j])), "it holds complex128"),
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_the_content_are_refused(
    content, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        npy.from_bytes(content)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=message):
        npy.from_archive(path)


def test_an_archive_that_is_cut_or_compressed_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(3))
    with pytest.raises(ValueError, match="'a.npy' is compressed"):
        npy.from_archive(path)
    np.savez(path, a=np.zeros(3))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut short"):
            npy.from_archive(path)


def test_objects_are_refused_whatever_is_asked_for():
    content = _bytes(np.array([None, 1], object), allow_pickle=True)
    for kinds in ("O", "VO"):
        with pytest.raises(ValueError, match="it holds object"):
            npy.from_bytes(content, kinds)
