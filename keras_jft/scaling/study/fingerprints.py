"""Whether the files that a run reads are still those that it read before.

Their number and their size in bytes: one pass over the folders, which opens no
file. A copy or another machine gives the same; an image that is changed but
keeps its size is not seen.
"""

import dataclasses
import glob
import os
from typing import NamedTuple

from keras_jft.files import is_tool_name

# Options of data sets that name files or folders.
PATHS = (
    *("directory", "path", "urls", "annotations", "images", "masks", "sbd"),
    *("labels", "descriptions", "hierarchy", "detections", "ids", "exclude"),
)
# What studies write beside images.
WRITTEN = (".jsonl", ".claims", ".keras", ".seconds", ".files", ".html", ".md")


class Fingerprint(NamedTuple):
    """How many files there are, and their bytes; both in each row."""

    num_files: int
    file_bytes: int


class Fingerprints:
    """Fingerprints of configs; a folder is listed once."""

    def __init__(self):
        self._known = {}

    def of(self, config):
        """Return the `Fingerprint` of what a config reads.

        Args:
            config: A dataclass; of it and those in it `options` counts.

        Returns:
            None where no option names a file or folder of this machine, as of
            the synthetic world, or of a bucket.
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
    """Yields the paths in the options of a config and those in it."""
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
    """Number and bytes of the files of a folder, or of one file."""
    if not os.path.isdir(path):
        return 1, os.path.getsize(path)
    count = size = 0
    folders, seen = [path], set()
    while folders:
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in seen:  # A link that leads back.
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_tool_name(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.is_file() and not entry.name.endswith(WRITTEN):
                    count += 1
                    size += entry.stat().st_size
    return count, size
