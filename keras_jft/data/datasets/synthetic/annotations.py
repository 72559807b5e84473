"""What an annotator would draw: from the thing on top of a pixel to targets.

Shapes: N images, H W image side, S slots.
"""

import numpy as np

from keras_jft.data.batch import VOID


def boxes(visible):
    """`(N, 4)` float32 xyxy in pixels around the True of `(N, H, W)`.

    The box of an image without any is empty: its sides are 0.
    """
    sides = []
    for axis in (1, 2):  # Over rows for x, over columns for y.
        line = visible.any(axis=axis)
        first = line.argmax(axis=1)
        last = line.shape[1] - line[:, ::-1].argmax(axis=1)
        sides.append((first, np.where(line.any(axis=1), last, first)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=1).astype("float32")


def tags(things, top):
    """`(N, H, W)` tag of the thing on top of each pixel, -1 where none.

    Args:
        things: `scene.Things` of N images.
        top: `(N, H, W)` slot on top, -1 where none.
    """
    none = np.full((len(top), 1), -1)
    lookup = np.concatenate([things.tag, none], axis=1)
    flat = np.take_along_axis(lookup, top.reshape(len(top), -1), axis=1)
    return flat.reshape(top.shape)


def void_rings(masks):
    """`masks` with a ring of `VOID`, one pixel wide, around what is higher.

    A pixel is void where one of its four neighbors has a higher class: just
    outside of every object, and between objects on one side of the border.

    Args:
        masks: `(N, H, W)` uint8.

    Example:

    >>> void_rings(np.array([[[0, 0, 0, 2, 2, 1, 1]]], "uint8"))
    array([[[  0,   0, 255,   2,   2, 255,   1]]], dtype=uint8)
    """
    around = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    neighbors = (
        around[:, :-2, 1:-1],
        around[:, 2:, 1:-1],
        around[:, 1:-1, :-2],
        around[:, 1:-1, 2:],
    )
    highest = np.maximum.reduce(neighbors)
    return np.where(highest > masks, np.uint8(VOID), masks)
