"""Scalars and hyperparameters of TensorBoard's event files.

An event file is a TFRecord file: records of a length, its checksum, that many
bytes and their checksum. Each holds an `Event` (tensorflow/core/util/
event.proto) in the wire format of protocol buffers, of which only scalars and
what the HParams plugin wrote are looked at.
"""

import pathlib
import struct

import numpy as np

from keras_jft.scaling.rows.trackers.run import TrackedRun, flat

# Folders of the parts of one run, as Keras and Estimators name them.
_PARTS = {"train", "validation", "val", "valid", "eval", "test"}
_HPARAMS = "_hparams_/session_start_info"
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
# By the field of a tensor that holds numbers of a type one by one.
_LISTED = {5: "<f4", 6: "<f8"}
# What reading a message of another form raises.
_NOT_AN_EVENT = (
    struct.error,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
# Larger records hold graphs and images, whose checksum would take long.
_CHECKED = 2**16


def matches(path: pathlib.Path) -> bool:
    """Return whether a file is named as event files are."""
    return "tfevents" in path.name


def read(paths):
    """Yield a `TrackedRun` per run, of all files of its folders."""
    runs: dict = {}
    for path in sorted(paths):
        part = path.parent.name if path.parent.name in _PARTS else ""
        folder = path.parent.parent if part else path.parent
        runs.setdefault(folder, []).append((part, path))
    for folder, files in runs.items():
        settings, points = {}, []
        for part, path in files:
            for tag, step, value in _values(path):
                if tag == _HPARAMS:
                    settings |= value
                else:
                    points.append(
                        (f"{part}/{tag}" if part else tag, step, value)
                    )
        yield TrackedRun(folder.name, settings, points, None, f"run {folder}")


def _values(path):
    """Yield the tag, step and number of each scalar, and settings by tag."""
    for number, record in enumerate(_records(path), 1):
        try:
            yield from _of_event(record)
        except _NOT_AN_EVENT:
            raise ValueError(
                f"{str(path)!r} is damaged: event {number} is not one. Leave "
                "the file out, or copy it again."
            ) from None


def _of_event(record):
    event = dict(_fields(record))
    for _, value in _fields(event.get(5, b"")):  # Of a summary.
        fields = dict(_fields(value))
        tag, step = fields.get(1, b"").decode(), event.get(2, 0)
        if tag == _HPARAMS:
            yield tag, step, _hyperparameters(fields[9])
            continue
        found = fields.get(2)  # As TensorFlow 1 writes it.
        if found is not None:
            yield tag, step, struct.unpack("<f", found)[0]
        elif 8 in fields:
            found = _scalar(fields[8])
            if found is not None:
                yield tag, step, found


def _scalar(tensor):
    """Return the number of a tensor; None if it is not a single number."""
    fields = list(_fields(tensor))
    kind = _TYPES.get(dict(fields).get(1))
    if kind is None or any(_fields(dict(fields).get(2, b""))):
        return None
    for number, data in fields:
        if number == 4 or number in _LISTED:
            found = np.frombuffer(data, _LISTED.get(number, kind))
            return float(found[0]) if len(found) == 1 else None
    return 0.0  # Zeros are left out.


def _hyperparameters(metadata):
    """Return the settings in the metadata of the HParams plugin."""
    plugin = dict(_fields(dict(_fields(metadata))[1]))
    session = dict(_fields(plugin[2])).get(3, b"")
    found = {}
    for number, entry in _fields(session):
        if number == 1:  # A map from names to values.
            pair = dict(_fields(entry))
            for kind, value in _fields(pair.get(2, b"")):
                if kind == 2:
                    value = struct.unpack("<d", value)[0]
                    value = int(value) if value.is_integer() else value
                elif kind == 3:
                    value = value.decode()
                elif kind == 4:
                    value = bool(value)
                found[pair[1].decode()] = value
    return flat(found)


# === Files and messages ===


def _records(path):
    """Yield the records of a file, checked."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(12):
            left -= 12
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or left < length + 4:
                raise ValueError(
                    f"{str(path)!r} is cut off, by a kill or a full disk, or "
                    "is still written to. Leave it out, or copy it again."
                )
            data, end = file.read(length), file.read(4)
            left -= length + 4
            if not _is_sum(head[8:], head[:8]) or (
                length <= _CHECKED and not _is_sum(end, data)
            ):
                raise ValueError(
                    f"{str(path)!r} is damaged: a checksum is wrong. Leave it "
                    "out, or copy it again."
                )
            yield data


def _fields(message):
    """Yield the number and the value of each field: bytes, or an integer."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            if kind == 2:
                size, at = _varint(message, at)
            else:
                size = {1: 8, 5: 4}[kind] if kind in (1, 5) else -1
            if size < 0 or at + size > len(message):
                raise ValueError
            value, at = message[at : at + size], at + size
        yield key >> 3, value


def _varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            # Negative numbers are those of 64 bits.
            return value - (value >> 63 << 64), at
        if shift > 63:
            raise ValueError


def _table():
    """Return what each byte adds to a checksum, CRC-32C."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
        found.append(byte)
    return found


_TABLE = _table()


def _is_sum(stored, data):
    """Return whether bytes have the masked CRC-32C that is stored with them."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
    return stored == masked.to_bytes(4, "little")
