"""Arrays from the bytes of `.npy` files that need not be trusted.

NumPy allocates what a header promises, even terabytes for a file of 200 bytes,
or unpickles objects. Here the header must agree with the bytes that follow it,
and these are used in place, so no array is larger than its file.
"""

import io
import math
import mmap
import zipfile

import numpy as np

_LONGEST = 10_000  # Bytes of a header, the limit of NumPy itself.


def from_bytes(content, kinds="biufU"):
    """Return the array of a `.npy` file; it is read-only.

    Args:
        content: All bytes of the file: `bytes`, or a view of a memory map.
        kinds: The `dtype.kind`s that are accepted. Objects never are.

    Raises:
        ValueError: The bytes are not a whole file of format 1.0 in C order,
            which is how `np.save` writes most arrays.

    Example:

    >>> file = io.BytesIO()
    >>> np.save(file, np.arange(3))
    >>> from_bytes(file.getvalue())
    array([0, 1, 2])
    >>> from_bytes(file.getvalue()[:-1])
    Traceback (most recent call last):
    ValueError: its header promises 24 bytes, and 23 follow
    """
    head = io.BytesIO(content[:_LONGEST])
    shape, dtype = _header(head)
    if dtype.kind not in kinds or dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}")
    count, follow = math.prod(shape), len(content) - head.tell()
    if count * dtype.itemsize != follow:
        raise ValueError(
            f"its header promises {count * dtype.itemsize} bytes, and {follow} "
            "follow"
        )
    # With an explicit count, as NumPy refuses an empty buffer without one.
    flat = np.frombuffer(content, dtype, count, head.tell())
    return flat.reshape(shape)


def from_archive(path):
    """Return the arrays of a `.npz` file, mapped; they may exceed the memory.

    Args:
        path: The file, as `np.savez` writes it. It may be removed afterwards.

    Returns:
        A dict of `name: array`.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is cut short or compressed; or as for `from_bytes`.
    """
    with open(path, "rb") as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"it is cut short, or not a zip: {error}"
            ) from error
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        member.filename.removesuffix(".npy"): _mapped(content, member)
        for member in members
    }


def _mapped(content, member):
    """Return an array of a zip, which is not copied."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename!r} is compressed")
    # The local header of a member is 30 bytes, its name and extra fields.
    start = member.header_offset + 30
    for place in (start - 4, start - 2):
        start += int.from_bytes(content[place : place + 2], "little")
    return from_bytes(memoryview(content)[start : start + member.file_size])


def _header(file):
    """Return shape and dtype of a header, checked to be possible."""
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"its format is {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # Parsing it as Python raises many kinds.
        raise ValueError(f"its header cannot be read: {error}") from error
    if is_fortran:
        raise ValueError("it is in Fortran order")
    if min(shape, default=0) < 0:  # NumPy would infer the length.
        raise ValueError(f"its shape is {shape}")
    return shape, dtype
