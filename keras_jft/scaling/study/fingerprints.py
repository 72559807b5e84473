"""Fingerprints: detect that the files a run reads have changed since.

A fingerprint is the number of data files and their total bytes. It takes one
pass over the folders and opens no file. It is the same for a copy of the files
on another machine. It misses an image that changes but keeps its size.

Files of weights keep their size when they change, so a digest of what they hold
is part of it, too.
"""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_jft.files import walk

# Options of data sets whose values are files or folders.
PATHS = (
    *("directory", "path", "urls", "annotations", "images", "masks", "sbd"),
    *("labels", "descriptions", "hierarchy", "detections", "ids", "exclude"),
    "only_labels",
)
# Files that studies may write beside images; they do not count.
WRITTEN = (".jsonl", ".claims", ".keras", ".seconds", ".files", ".html", ".md")
# That of `jft.backbones.create`, which needs Keras; this file does not.
HUB = "hub/"


class Fingerprint(NamedTuple):
    """What a run reads; its fields are columns of a row.

    Attributes:
        num_files: Number of files of data.
        file_bytes: Their total bytes.
        weights_digest: Digest of the files of weights, in hexadecimal digits;
            None without such files.
    """

    num_files: int
    file_bytes: int
    weights_digest: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the fields that are known."""
        return {k: v for k, v in self._asdict().items() if v is not None}

    def __str__(self):
        known = ", ".join(f"{k}={v!r}" for k, v in self.columns().items())
        return f"Fingerprint({known})"

    def differs(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row is of other files, as far as it says."""
        return any(
            row.get(name) not in (None, now)
            for name, now in self._asdict().items()
        )


class Fingerprints:
    """Fingerprints of configs; each folder and file is read only once."""

    def __init__(self):
        self._known, self._digests = {}, {}

    def of(self, config):
        """Return the `Fingerprint` of the files that a config reads.

        Args:
            config: A dataclass. Files of data are named by its field `options`,
                those of weights by `initial`, `backbone` and
                `backbone_options`, in it and in dataclasses inside it.

        Returns:
            A `Fingerprint`; None if nothing names a file or folder on this
            machine, as for the synthetic data set or a bucket.
        """
        paths = _present(_paths(config))
        for path in paths:
            if path not in self._known:
                self._known[path] = _measured(path)
        weights = _present(_weights(config))
        for path in weights:
            if path not in self._digests:
                self._digests[path] = _digest(path)
        if not paths and not weights:
            return None
        parts = [(0, 0), *(self._known[path] for path in paths)]
        count, size = map(sum, zip(*parts, strict=True))
        if not weights:
            return Fingerprint(count, size)
        digests = "".join(self._digests[path] for path in weights)
        digest = hashlib.sha256(digests.encode()).hexdigest()[:16]
        return Fingerprint(count, size, digest)


def _present(paths):
    return sorted({path for path in paths if os.path.exists(path)})


def _paths(config):
    """Yield the paths in the options of a config and of configs in it."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _paths(value)
        elif field.name == "options":
            for name in PATHS:
                if isinstance(value.get(name), (str, os.PathLike)):
                    path = os.fspath(value[name])
                    yield from (
                        glob.glob(path) if glob.has_magic(path) else [path]
                    )


def _weights(config):
    """Yield the paths of weights in a config and in configs in it."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _weights(value)
        elif field.name == "backbone_options":
            if isinstance(value.get("weights"), (str, os.PathLike)):
                yield os.fspath(value["weights"])
        # A folder only after "hub/": one may be called "resnet50", too.
        elif field.name in ("initial", "backbone") and (
            str(value).startswith(HUB) or os.path.isfile(str(value))
        ):
            yield value.removeprefix(HUB)


def _digest(path):
    """Return the digest of a file, or of the files in a folder."""
    if os.path.isdir(path):
        inside = sorted(map(os.fspath, walk(path)))
        names = [os.path.relpath(file, path) for file in inside]
        read = repr([*zip(names, map(_digest, inside), strict=True)])
        return hashlib.sha256(read.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _measured(path):
    """Return the number and the bytes of files in a folder, or of one file."""
    if not os.path.isdir(path):
        return 1, os.path.getsize(path)
    count = size = 0
    for file in walk(path):
        if file.is_file() and not file.name.endswith(WRITTEN):
            count += 1
            size += file.stat().st_size
    return count, size
