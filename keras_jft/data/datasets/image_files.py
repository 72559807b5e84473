"""Labeled image files: what `image_folder` and `manifest` are read with."""

import os
from pathlib import Path

import numpy as np

from keras_jft.data.datasets.dataset import Dataset
from keras_jft.data.datasets.decoding import decode_image


class ImageFiles(Dataset):
    """Image files below a folder and their labels.

    Args:
        directory: Folder that paths are relative to.
        paths: One relative path an example, which is its id.
        labels: A function from a position to an int32 scalar or `(L,)` int32.
        info: The data set's `Info`.
    """

    def __init__(self, directory, paths, labels, info):
        self.directory, self.paths = Path(directory), np.asarray(paths)
        self.labels, self.info = labels, info

    def ids(self, positions):
        """Paths relative to the folder, str."""
        return self.paths[np.asarray(positions)]

    def image_bytes(self, position):
        """The image file."""
        return Path(self.directory, self.paths[position]).read_bytes()

    def __getitem__(self, position):
        path = str(self.paths[position])
        return {
            "images": decode_image(os.path.join(self.directory, path)),
            "labels": self.labels(position),
            "ids": path,
        }

    def annotations(self, positions):
        """Labels and ids; no file is opened."""
        return [
            {"labels": self.labels(position), "ids": str(self.paths[position])}
            for position in positions
        ]
