"""Rows of results: JSON lines that survive kills, full disks and co-writers.

A row is one flat JSON object per run: its scores, `task`, `mode`,
`num_examples`, `seed`, its origin (`provenance`) and its whole `config`, which
alone is nested. A number that is not finite is written as null, which every
JSON reader understands.

Each row is written by a single `write` of one line under a file lock: several
processes can write without mixing or losing lines, and a reader never sees half
a line of a running writer. If a writer is killed within a line, the next one
notices, warns and repairs the file. In an object store the whole file is
written anew for each row, by the processes of one machine (`files.edited`).
"""

import codecs
import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_jft import checks, files, text_files
from keras_jft.scaling.rows import csv
from keras_jft.scaling.rows.table import CURVES
from keras_jft.typing import PathLike
from keras_jft.version import __version__


def append(path: PathLike, row: Mapping[str, Any]) -> None:
    """Append one row to a file, whole or not at all.

    Args:
        path: A JSON lines file; it and its folder are created if missing. To
            one in an object store, only one machine may append.
        row: A dict with string keys. Dataclasses, NumPy values, tuples and
            paths inside become JSON; nan and infinity become null.

    Raises:
        ValueError: If the row is not a dict or holds a value that JSON cannot
            represent, or `path` is not a path; or the file is not JSON lines.
            The file is left as it was.
        OSError: If the line cannot be written; the file is left as it was.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
        >>> append(path, {"num_examples": 300, "top1": np.float32(0.5)})
        >>> append(path, {"num_examples": 1000, "top1": float("nan")})
        >>> read(path)[1]
        {'num_examples': 1000, 'top1': None}
    """
    files.check_path("path", path, "rows.jsonl")
    if not isinstance(row, Mapping):
        raise ValueError(
            "A row must be a dict, such as {'num_examples': 300, 'top1': 0.5}. "
            f"Received: {text_files.short(row)}."
        )
    line = json.dumps(to_json(row), allow_nan=False).encode() + b"\n"
    try:
        with (
            files.edited(path) as local,
            _locked(local, os.O_RDWR | os.O_APPEND | os.O_CREAT) as file,
        ):
            _check_lines(path, file)
            _write(path, file, line, _heal(path, file))
    except OSError as error:
        error.add_note(
            f"The row was not added to {path}, which is as it was before. Make "
            "room, and run the same again: what is done is safe."
        )
        raise


def read(path: PathLike, x: str = csv.SIZES) -> list[dict[str, Any]]:
    """Return all rows of a file as a list of dicts.

    Args:
        path: A JSON lines file, as `append` writes it, a JSON file with one
            list of rows, or a CSV file (`*.csv`) whose first line names the
            columns.
        x: The column of sizes of a CSV file.

    Returns:
        A list of dicts, in the order of the lines. A last line that was cut
        off by a kill is left out with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `path` is not a path or is a folder; or another line is
            not a JSON object, has a list or an object in place of a name or a
            number (`key`, `seed`, `task` and so on), or does not fit the
            columns of a CSV file. The error names the line.
    """
    place = files.as_path("path", path, "rows.jsonl")
    if place.is_dir():
        raise ValueError(
            f"{str(path)!r} is a folder. Give a file of rows in it, *.jsonl or "
            "*.csv."
        )
    if place.suffix.lower() == ".csv":
        return csv.read(path, x)
    with (
        files.local_copy(place) as local,
        _locked(local, os.O_RDONLY) as file,
    ):
        content = _content(file)
    if content.lstrip().startswith(b"["):
        return _listed(path, content)
    lines = content.split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parsed(line)
        if row is not None:
            _check_names(f"{path}, line {number}", row)
            rows.append(row)
        elif number == len(lines) and (rows or _may_be_torn(line)):
            # No line end: the write was cut off.
            warnings.warn(_torn(path, line), stacklevel=2)
        else:
            raise ValueError(
                f"{path}, line {number}: expected one JSON object per line. "
                f"Received: {_shortened(line)}. Fix or delete that line. (The "
                "name of a CSV file must end in .csv.)"
            )
    return rows


def _listed(path, content):
    """Return the rows of a file with one JSON list, as pandas writes them."""
    rows = text_files.parse_json(content, repr(str(path)))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}, row {number}: expected a JSON object. Received: "
                f"{text_files.short(row)}. Fix or delete that row."
            )
        _check_names(f"{path}, row {number}", row)
    return rows


def check_lines(path):
    """Raise a `ValueError` if rows cannot be appended to a file.

    Args:
        path: The file; it may be missing.
    """
    if files.as_path("path", path, "rows.jsonl").exists():
        with (
            files.local_copy(path) as local,
            _locked(local, os.O_RDONLY) as file,
        ):
            _check_lines(path, file)


def provenance():
    """Return versions, hardware and the current time, as columns of a row.

    Returns:
        A dict of `time` (UTC), `cpu` (model), `cores` (usable by this
        process), `accelerator` (names of NVIDIA devices, or None), `backend`
        (Keras's, or None if Keras was not imported) and `version_<package>`.
    """
    now = datetime.datetime.now(datetime.UTC)
    keras = sys.modules.get("keras")
    return {
        "time": now.isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "accelerator": _accelerator(),
        "backend": keras.backend.backend() if keras else None,
        "version_keras_jft": __version__,
        **{
            f"version_{package}": _version(package)
            for package in ("keras", "tensorflow", "jax", "numpy")
        },
    }


def to_json(value):
    """Convert a value to what JSON can represent.

    Args:
        value: Dataclasses, dicts with string keys, lists, tuples, NumPy arrays
            and scalars, paths, strings, numbers, booleans and None, nested in
            any way.

    Returns:
        The same value in dicts, lists, strings and finite numbers: a dataclass
        as a dict of its fields, a sequence as a list, a path as a string, nan
        and infinity as None.

    Raises:
        ValueError: If a value is of another kind.

    Example:
        >>> to_json({"blocks": (3, 4), "loss": np.float32("nan")})
        {'blocks': [3, 4], 'loss': None}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray):
        return to_json([*value] if value.ndim else value[()])
    if isinstance(value, np.generic):
        return to_json(checks.plain_number(value))
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError(
        "A row or a config may hold numbers, strings, booleans, None, paths, "
        "arrays, dataclasses, sequences and dicts with string keys. Received: "
        f"{type(value).__name__} {value!r}."
    )


@contextlib.contextmanager
def _locked(path, flags):
    """Yield a file descriptor of `path` under a lock, shared for reading."""
    import fcntl  # Not on Windows, where the rest of the package imports.

    file = os.open(path, flags, 0o644)
    try:
        shared = flags & os.O_ACCMODE == os.O_RDONLY
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)  # Releases the lock, too.


def _write(path, file, line, size):
    """Write a line at the end of a file of so many bytes, or nothing."""
    try:
        if os.write(file, line) < len(line):
            raise OSError(f"{path}: only part of a row could be written.")
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _check_lines(path, file):
    """Raise a `ValueError` unless a file begins with the line of a row."""
    with open(file, "rb", closefd=False) as lines:
        first = next(filter(bytes.strip, lines), b"")
    is_torn = not first.endswith(b"\n") and _may_be_torn(first)
    if first.strip() and _parsed(first) is None and not is_torn:
        raise _not_lines(path, first)


def _not_lines(path, line):
    return ValueError(
        f"{path} must be JSON lines, one object per line, to take a row. "
        f"Received: {_shortened(line)}. Give another file; or, if this is a "
        "list of rows, read it with `jft.scaling.read_rows` and append each "
        "row to a new file."
    )


def _may_be_torn(line):
    """Return whether a line without an end may be a part of a row."""
    return line.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def _heal(path, file):
    """Make the file end with a line end; return its size."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return size
    content = _content(file)
    start = content.rfind(b"\n") + 1
    if _parsed(content[start:]) is not None:  # Whole, but for its line end.
        os.write(file, b"\n")
        return size + 1
    before = filter(bytes.strip, content[:start].split(b"\n"))
    if not _may_be_torn(content[start:]) and None in map(_parsed, before):
        raise _not_lines(path, content[start:])
    warnings.warn(_torn(path, content[start:]), stacklevel=4)
    os.ftruncate(file, start)
    return start


def _content(file):
    return os.pread(file, os.fstat(file).st_size, 0)


def _check_names(where, row):
    """Raise a `ValueError` if what tells runs apart is not a single value."""
    for name in ("key", "seed", *CURVES):
        if isinstance(row.get(name), (list, dict)):
            raise ValueError(
                f"{where}: `{name}` must be text or a number. Received: "
                f"{text_files.short(row[name])}. Fix or delete that line."
            )


def _parsed(line):
    """Return the JSON object of a line, or None."""
    try:
        row = text_files.parse_json(line, "a row")
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _torn(path, line):
    return (
        f"{path}: the last line was cut off by a kill or a full disk, and was "
        f"dropped: {_shortened(line)}"
    )


def _shortened(line):
    text = line.decode(errors="replace")
    return text if len(text) <= 60 else f"{text[:60]}..."


def _cpu():
    with contextlib.suppress(OSError):
        for line in (
            pathlib.Path("/proc/cpuinfo")
            .read_text(encoding="utf-8")
            .splitlines()
        ):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _accelerator():
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(done.stdout.split("\n")).strip(", ") or None


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
