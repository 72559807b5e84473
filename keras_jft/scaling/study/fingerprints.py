"""Fingerprints: detect that the files a run reads have changed since.

A fingerprint is the number of files and their total bytes. It takes one pass
over the folders and opens no file. It is the same for a copy of the files on
another machine. It misses an image that changes but keeps its size.
"""

import dataclasses
import glob
import os
from typing import NamedTuple

from keras_jft.files import walk

# Options of data sets whose values are files or folders.
PATHS = (
    *("directory", "path", "urls", "annotations", "images", "masks", "sbd"),
    *("labels", "descriptions", "hierarchy", "detections", "ids", "exclude"),
    "only_labels",
)
# Files that studies may write beside images; they do not count.
WRITTEN = (".jsonl", ".claims", ".keras", ".seconds", ".files", ".html", ".md")


class Fingerprint(NamedTuple):
    """The number of files and their total bytes; both are columns of a row."""

    num_files: int
    file_bytes: int


class Fingerprints:
    """Fingerprints of configs; each folder is listed only once."""

    def __init__(self):
        self._known = {}

    def of(self, config):
        """Return the `Fingerprint` of the files that a config reads.

        Args:
            config: A dataclass. Files are named by its field `options` and by
                those of dataclasses inside it.

        Returns:
            A `Fingerprint`; None if no option names a file or folder on this
            machine, as for the synthetic data set or a bucket.
        """
        paths = sorted(
            {path for path in _paths(config) if os.path.exists(path)}
        )
        for path in paths:
            if path not in self._known:
                self._known[path] = _measured(path)
        if not paths:
            return None
        parts = [self._known[path] for path in paths]
        return Fingerprint(*map(sum, zip(*parts, strict=True)))


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
