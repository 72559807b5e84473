import builtins
import errno
import hashlib
import os
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from keras_jft.training.checkpoints import archive

ARRAYS = {
    "a/kernel": np.arange(600, dtype="float32").reshape(20, 30),
    "a/bias": np.float32([np.pi, -0.0]),
    "step": np.array(7),
    "nothing": np.zeros((0, 3), "int32"),
    "half": np.arange(5).astype(ml_dtypes.bfloat16),
}


def _assert_holds(path, arrays, about):
    found, description = archive.read(path)
    assert description == about
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_what_was_written_is_read_bit_for_bit(tmp_path):
    about = {"epoch": 3, "name": "né", "nested": [{"x": 0.1}]}
    archive.write(tmp_path / "new/a.npz", ARRAYS, about)
    _assert_holds(tmp_path / "new/a.npz", ARRAYS, about)
    assert os.listdir(tmp_path / "new") == ["a.npz"]


def test_numpy_opens_an_archive_and_its_digest_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "a.npz"
    archive.write(path, ARRAYS, {})
    with np.load(path) as opened:
        np.testing.assert_array_equal(opened["a/kernel"], ARRAYS["a/kernel"])
    content = path.read_bytes()
    assert zipfile.ZipFile(path).testzip() is None
    assert hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path, rng):
    path, bad = tmp_path / "a.npz", tmp_path / "bad.npz"
    archive.write(path, ARRAYS, {"epoch": 1})
    content = path.read_bytes()
    for place in rng.integers(0, len(content), 200):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        bad.write_bytes(flipped)
        with pytest.raises(archive.UnreadableArchive, match="bad.npz"):
            archive.read(bad)
    for length in [0, 1, 63, 64, 65, *rng.integers(0, len(content), 50)]:
        bad.write_bytes(content[:length])
        with pytest.raises(archive.UnreadableArchive, match="damaged, cut"):
            archive.read(bad)


class _Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, content):
        self._room -= len(bytes(content))
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


def test_a_disk_that_is_full_at_any_of_50_points_loses_nothing(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.npz"
    archive.write(path, ARRAYS, {"epoch": 1})
    size = path.stat().st_size
    newer = {name: array + 1 for name, array in ARRAYS.items()}
    real_open = builtins.open
    for room in np.linspace(0, size - 1, 50).astype(int):
        with monkeypatch.context() as patch:
            patch.setattr(
                builtins,
                "open",
                lambda *args, room=room: _Full(real_open(*args), room),
            )
            with pytest.raises(OSError, match=r"a\.npz.*No space.*MB are free"):
                archive.write(path, newer, {"epoch": 2})
        _assert_holds(path, ARRAYS, {"epoch": 1})
        assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("function", ["fsync", "replace", "link"])
def test_a_failing_system_call_loses_nothing(tmp_path, monkeypatch, function):
    path = tmp_path / "a.npz"
    archive.write(path, ARRAYS, {"epoch": 1}, also="best.npz")

    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    newer = {name: array + 1 for name, array in ARRAYS.items()}
    monkeypatch.setattr(os, function, fail)
    if function == "link":  # Not every file system has hard links.
        archive.write(path, newer, {"epoch": 2}, also="best.npz")
        _assert_holds(tmp_path / "best.npz", newer, {"epoch": 2})
        _assert_holds(path, newer, {"epoch": 2})
        return
    with pytest.raises(OSError, match="Input/output error"):
        archive.write(path, newer, {"epoch": 2})
    _assert_holds(path, ARRAYS, {"epoch": 1})
    _assert_holds(tmp_path / "best.npz", ARRAYS, {"epoch": 1})


class _Attack:
    """Pickled, it makes a folder where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _sign(path):
    """Gives a zip with a comment of 64 bytes the digest of an archive."""
    content = path.read_bytes()[:-64]
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


@pytest.mark.parametrize("kind", ["pickle", "compressed", "lying"])
def test_a_signed_archive_of_an_enemy_is_refused(tmp_path, kind):
    path, mark = tmp_path / "evil.npz", tmp_path / "executed"
    evil = np.empty(1, object)
    evil[0] = _Attack(mark)
    method = zipfile.ZIP_DEFLATED if kind == "compressed" else 0
    with zipfile.ZipFile(path, "w", method) as file:
        file.comment = b"0" * 64
        with file.open("description.npy", "w") as member:
            text = b'{"dtypes": {}}'
            np.lib.format.write_array(member, np.frombuffer(text, "u1"))
        with file.open("x.npy", "w") as member:
            if kind == "lying":  # 8 EB, says the header.
                np.lib.format.write_array_header_1_0(
                    member,
                    {"descr": "<f8", "fortran_order": False, "shape": (2**60,)},
                )
            else:
                np.lib.format.write_array(member, evil)
    _sign(path)
    with pytest.raises(archive.UnreadableArchive, match="evil.npz"):
        archive.read(path)
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as opened:
        if kind == "pickle":  # The attack works where pickles are loaded.
            assert opened["x"] is not None
            assert mark.exists()


def test_a_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, x=np.arange(3))
    with pytest.raises(archive.UnreadableArchive, match="not written by"):
        archive.read(path)
    path.write_bytes(pickle.dumps(_Attack(tmp_path / "executed")))
    with pytest.raises(archive.UnreadableArchive, match="not written by"):
        archive.read(path)
    assert not (tmp_path / "executed").exists()
