"""Labeled image files, the basis of `image_folder` and `manifest`."""

import os
from pathlib import Path

import numpy as np

from keras_jft.data.dataset import Dataset
from keras_jft.data.images import IMAGE_SUFFIXES, decode_image, read_file
from keras_jft.files import walk


def files_below(folder, suffixes=IMAGE_SUFFIXES):
    """Return the sorted paths of the image files below a folder.

    Args:
        folder: A folder, which `keras_jft.files.walk` walks.
        suffixes: Suffixes of the files to return, in lower case.

    Raises:
        OSError: A folder cannot be listed.
    """
    return sorted(
        path
        for path in walk(folder)
        if path.name.lower().endswith(tuple(suffixes))
    )


def files_by_name(folder, suffixes=IMAGE_SUFFIXES):
    """Return the files below a folder by their name without the suffix.

    Args:
        folder: As for `files_below`.
        suffixes: As for `files_below`.

    Returns:
        `{name: [path]}`, with several paths if files differ only in their
        suffix. A name includes the sub-folder, as in "a/1".
    """
    found = {}
    for path in files_below(folder, suffixes):
        name = path.relative_to(folder).with_suffix("").as_posix()
        found.setdefault(name, []).append(path)
    return found


class ImageFiles(Dataset):
    """Image files below a folder and their labels.

    Args:
        directory: Folder that paths are relative to.
        paths: One relative path per example.
        labels: A function from a position to an int32 scalar or `(L,)` int32.
        info: The data set's `Info`.
        ids: One text per example; by default the paths.
    """

    def __init__(self, directory, paths, labels, info, ids=None):
        self.directory, self.paths = Path(directory), np.asarray(paths)
        self.labels, self.info = labels, info
        self._ids = self.paths if ids is None else np.asarray(ids)

    def ids(self, positions):
        """Return the ids, str."""
        return self._ids[np.asarray(positions)]

    def image_bytes(self, position):
        """Return the image file."""
        return read_file(self._path(position))

    def __getitem__(self, position):
        position = self._position(position)
        return {
            "images": decode_image(self._path(position)),
            "labels": self.labels(position),
            "ids": str(self._ids[position]),
        }

    def _path(self, position):
        return os.path.join(self.directory, str(self.paths[position]))

    def annotations(self, positions):
        """Return labels and ids without opening a file."""
        return [
            {"labels": self.labels(position), "ids": str(self._ids[position])}
            for position in positions
        ]
