"""Labeled image files: what `image_folder` and `manifest` are read with."""

import os
from pathlib import Path

import numpy as np

from keras_jft.data.datasets.dataset import Dataset
from keras_jft.data.datasets.decoding import decode_image, read_file


class ImageFiles(Dataset):
    """Image files below a folder and their labels.

    Args:
        directory: Folder that paths are relative to.
        paths: One relative path an example.
        labels: A function from a position to an int32 scalar or `(L,)` int32.
        info: The data set's `Info`.
        ids: One text an example; the paths, if left out.
    """

    def __init__(self, directory, paths, labels, info, ids=None):
        self.directory, self.paths = Path(directory), np.asarray(paths)
        self.labels, self.info = labels, info
        self._ids = self.paths if ids is None else np.asarray(ids)

    def ids(self, positions):
        """Those that were given, str."""
        return self._ids[np.asarray(positions)]

    def image_bytes(self, position):
        """Return the image file."""
        return read_file(self._path(position))

    def __getitem__(self, position):
        return {
            "images": decode_image(self._path(position)),
            "labels": self.labels(position),
            "ids": str(self._ids[position]),
        }

    def _path(self, position):
        return os.path.join(self.directory, str(self.paths[position]))

    def annotations(self, positions):
        """Labels and ids; no file is opened."""
        return [
            {"labels": self.labels(position), "ids": str(self._ids[position])}
            for position in positions
        ]
