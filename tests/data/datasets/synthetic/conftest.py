"""A bare world, where it is painted, and a plane of points."""

import dataclasses

import numpy as np
import pytest

from keras_jft.data.datasets import synthetic


@pytest.fixture(scope="session")
def bare():
    """A preset of objects on one even color, and nothing else."""
    return dataclasses.replace(
        synthetic.PRESETS["standard"],
        clutter=0.0,
        distractors=0,
        occlusion=0.0,
        shading=0.0,
        noise=0.0,
    )


@pytest.fixture(scope="session")
def painted():
    """`painted(image)`: `(H, W)` bool, where `bare` shows no background."""

    def of(image):
        return (image != np.median(image, axis=(0, 1))).any(axis=-1)

    return of


@pytest.fixture(scope="session")
def inside():
    """`inside(mask)`: where a pixel and its eight neighbors are True."""

    def of(mask):
        padded = np.pad(mask, 1)
        height, width = mask.shape
        return np.logical_and.reduce(
            [
                padded[y : y + height, x : x + width]
                for y in range(3)
                for x in range(3)
            ]
        )

    return of


@pytest.fixture(scope="session")
def grid():
    """`grid(half_side, step)`: u and v of points about the center."""

    def of(half_side, step):
        axis = np.arange(-half_side, half_side, step, dtype="float32")
        return np.meshgrid(axis + step / 2, axis + step / 2)

    return of
