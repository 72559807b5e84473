"""What an annotator would draw: from the thing on top of a pixel to targets.

Shapes: N images, H W image side, S slots.
"""

import numpy as np

VOID = 255


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
    """`masks` with `VOID` wherever a neighbor on the right or below differs.

    Both pixels of such a pair are void, as in PASCAL VOC.

    Args:
        masks: `(N, H, W)` uint8.
    """
    ringed = masks.copy()
    for axis in (1, 2):
        before, after = (
            (slice(None),) * axis + (part,)
            for part in (slice(None, -1), slice(1, None))
        )
        edge = masks[before] != masks[after]
        ringed[before][edge] = VOID
        ringed[after][edge] = VOID
    return ringed
