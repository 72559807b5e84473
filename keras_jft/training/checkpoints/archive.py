"""Files of named arrays that are either whole or refused.

An archive is an uncompressed `.npz`, which `np.load` opens anywhere, whose zip
comment is the SHA-256 of everything before it. It is written to a temporary
file, synced to the disk and then renamed, or uploaded at once to an object
store, so its path never has a part of one.
Reading runs no code and follows no links: there is no pickle, no compression
and no other file, and the arrays are never larger than the file.
"""

import hashlib
import json
import os
import shutil
import zipfile

import numpy as np

from keras_jft import files, npy
from keras_jft.text import number_of

_DIGEST_BYTES = 64
_DESCRIPTION = "description"


class UnreadableArchive(ValueError):
    """A file is damaged, cut off, or not an archive of this package."""


def write(path, arrays, description, also=None):
    """Write a whole archive, or nothing.

    Args:
        path: The file; an existing one is replaced at the end.
        arrays: `{name: array}`.
        description: A dict that JSON can represent.
        also: A second path for the same file, written just before `path`.

    Raises:
        OSError: It could not be written; a file at `path` is unchanged.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npz"
    >>> write(path, {"x": np.arange(3)}, {"epoch": 1})
    >>> read(path)
    ({'x': array([0, 1, 2])}, {'epoch': 1})
    """
    path = files.as_path("path", path, "backbone.npz")
    try:
        with files.atomic_write(path) as partial:
            with open(partial, "w+b") as file:
                _dump(file, arrays, description)
            if also is not None:
                _name_too(partial, path.with_name(also))
    except OSError as error:
        if not files.is_local(path):
            error.add_note(f"`{path}` was not written. Others are unchanged.")
            raise
        raise OSError(
            f"`{path}` could not be written: {error}. {_free(path)} Earlier "
            "files are unchanged. Make room, or save elsewhere."
        ) from error


def read(path):
    """Return `({name: array}, description)` of an archive, read-only.

    Args:
        path: The file.

    Raises:
        UnreadableArchive: It is damaged, cut off, or not an archive of this
            package.
        OSError: It could not be opened.
        ValueError: `path` is not a path.
    """
    files.check_path("path", path, "backbone.npz")
    with files.local_copy(path) as local, open(local, "rb") as file:
        try:
            _check_digest(file)
            with zipfile.ZipFile(file) as archive:
                arrays = _arrays(archive, os.fstat(file.fileno()).st_size)
            description = json.loads(arrays.pop(_DESCRIPTION).tobytes())
            for name, dtype in description.pop("dtypes").items():
                arrays[name] = arrays[name].view(_foreign(dtype))
        except Exception as error:  # A hostile file may cause any.
            raise UnreadableArchive(
                f"`{path}` is damaged, cut, or was not written by keras_jft: "
                f"{error}. Nothing was loaded from it. Use another file."
            ) from error
    return arrays, description


def _dump(file, arrays, description):
    # NumPy's format does not know the types of ml_dtypes, such as bfloat16.
    foreign = {
        name: array.dtype.name
        for name, array in arrays.items()
        if array.dtype.kind == "V"
    }
    text = json.dumps({**description, "dtypes": foreign}).encode()
    members = {_DESCRIPTION: np.frombuffer(text, np.uint8), **arrays}
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"0" * _DIGEST_BYTES
        for name, array in members.items():
            if name in foreign:
                array = array.view(f"u{array.dtype.itemsize}")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(
                    member, np.asarray(array, order="C"), allow_pickle=False
                )
    digest = _digest(file)
    file.seek(-_DIGEST_BYTES, os.SEEK_END)
    file.write(digest)


def _arrays(archive, size):
    """Return `{name: array}` of an archive, together no larger than `size`."""
    members = archive.infolist()
    names = [info.filename.removesuffix(".npy") for info in members]
    if len(set(names)) != len(names):
        raise ValueError("it holds two arrays of one name")
    # Nothing is compressed, so only members that overlap hold more than this.
    if sum(info.file_size for info in members) > size:
        raise ValueError("its members are larger than the file")
    return {
        name: _array(archive, info)
        for name, info in zip(names, members, strict=True)
    }


def _array(archive, info):
    """Return one array of an archive, no larger than its size in the file."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"`{info.filename}` is compressed")
    if info.compress_size != info.file_size:
        raise ValueError(f"`{info.filename}` has two sizes")
    try:
        return npy.from_bytes(archive.read(info))
    except ValueError as error:
        raise ValueError(f"`{info.filename}`: {error}") from error


def _foreign(name):
    """Return the type of `ml_dtypes` of that name, such as bfloat16."""
    dtype = np.dtype(name)
    if dtype.type.__module__ != "ml_dtypes":
        raise ValueError(f"it names the type {name!r}")
    return dtype


def _check_digest(file):
    size = os.fstat(file.fileno()).st_size
    if size <= _DIGEST_BYTES:
        raise ValueError(f"it has only {number_of(size, 'byte')}")
    expected = _digest(file)
    if file.read(_DIGEST_BYTES) != expected:
        raise ValueError("its checksum does not match its content")
    file.seek(0)


def _digest(file, chunk=1 << 20):
    """Return the SHA-256, in hex, of everything before the digest."""
    left = file.seek(0, os.SEEK_END) - _DIGEST_BYTES
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(chunk, left))
        digest.update(part)
        left -= len(part)
    return digest.hexdigest().encode()


def _name_too(temporary, path):
    """Give the file `temporary` a second name, `path`, in one step."""
    with files.atomic_write(path) as second:
        try:
            os.link(temporary, second)
        except OSError:  # A file system without hard links.
            shutil.copyfile(temporary, second)


def _free(path):
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return ""
    return f"{free / 1e6:,.1f} MB are free there."
