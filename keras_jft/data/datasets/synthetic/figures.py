"""Articulated figures: a skeleton in three dimensions, projected to the image.

The axes of the body are x to the figure's left, y down, z to its front. The
camera looks along the ground, so turning the figure is a rotation about y. The
nearer a part, the later it is painted. Lengths are in heights of the figure.

Shapes: N figures, K keypoints, S parts.
"""

import numpy as np

from keras_jft.data.datasets.synthetic import render, scene, shapes, textures

KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
# Each part: the two points of the body that it connects, its radius, its
# material, and how much nearer to the camera than these points it counts.
_PARTS = {
    "neck": ("chest", "head", 0.03, "skin", -0.03),
    "pelvis": ("left_hip", "right_hip", 0.055, "trousers", -0.02),
    "torso": ("chest", "waist", 0.1, "shirt", 0.0),
    "head": ("head", "head", 0.075, "skin", 0.0),
    "hair": ("crown", "crown", 0.078, "hair", 0.0),
    "nose": ("nose", "nose", 0.012, "hair", 0.01),
    "left_eye": ("left_eye", "left_eye", 0.013, "eyes", 0.01),
    "right_eye": ("right_eye", "right_eye", 0.013, "eyes", 0.01),
    "left_ear": ("left_ear", "left_ear", 0.02, "skin", 0.0),
    "right_ear": ("right_ear", "right_ear", 0.02, "skin", 0.0),
    "left_upper_arm": ("left_shoulder", "left_elbow", 0.036, "shirt", 0.03),
    "right_upper_arm": ("right_shoulder", "right_elbow", 0.036, "shirt", 0.03),
    "left_forearm": ("left_elbow", "left_wrist", 0.027, "skin", 0.035),
    "right_forearm": ("right_elbow", "right_wrist", 0.027, "skin", 0.035),
    "left_thigh": ("left_hip", "left_knee", 0.048, "trousers", 0.0),
    "right_thigh": ("right_hip", "right_knee", 0.048, "trousers", 0.0),
    "left_shin": ("left_knee", "left_ankle", 0.038, "trousers", 0.0),
    "right_shin": ("right_knee", "right_ankle", 0.038, "trousers", 0.0),
    "left_foot": ("left_ankle", "left_toe", 0.03, "hair", 0.0),
    "right_foot": ("right_ankle", "right_toe", 0.03, "hair", 0.0),
}
# A keypoint is never hidden by the parts that meet in it.
_OWN_PARTS = {
    name: [
        part
        for part, (start, end, *_) in _PARTS.items()
        if name in (start, end)
    ]
    + (["torso"] if "shoulder" in name or "hip" in name else [])
    for name in KEYPOINTS
}


def people(keys, extent):
    """Return one figure per image: its parts as things, and its keypoints.

    Args:
        keys: `(N,)` uint64, one per image.
        extent: Width and height of the image in units of its shorter side.

    Returns:
        `scene.Things`, tag 0, the nearest part last; `(N, K)` x and y of the
        keypoints; and `(N, K)`, the slot of the last part that meets there.
    """
    body = _skeleton(keys)
    height = scene.draw(keys, "height", 0.6, 1.05)
    turn = 2 * np.pi * scene.draw(keys, "turn", -0.2, 0.2)
    turn = turn + np.pi * (scene.draw(keys, "back to front") < 0.25)
    lean = 2 * np.pi * scene.draw(keys, "lean", -0.05, 0.05)
    center_x = extent[0] * (0.5 + scene.draw(keys, "x", -0.2, 0.2))
    center_y = extent[1] * (0.5 + scene.draw(keys, "y", -0.12, 0.12))
    seen = {}
    for name, (x, y, z) in body.items():
        x, z = _turned(x, z, turn)
        y, x = _turned(y, x, lean)
        seen[name] = center_x + height * x, center_y + height * y, z
    things, slots = _in_order(_parts(keys, seen, height, turn), seen)
    own = np.stack(
        [
            np.max([slots[part] for part in _OWN_PARTS[name]], axis=0)
            for name in KEYPOINTS
        ],
        axis=1,
    )
    x, y = (
        np.stack([seen[name][axis] for name in KEYPOINTS], axis=1)
        for axis in (0, 1)
    )
    return things, x, y, own


def visibility(things, x, y, own, extent):
    """Return COCO's flag per keypoint: 2 seen, 1 hidden, 0 outside.

    Args:
        things: All `scene.Things`, those of the figures and others.
        x: `(N, K)` keypoints.
        y: `(N, K)`.
        own: `(N, K)`, the slot above which anything hides the keypoint.
        extent: Width and height of the image in units of its shorter side.
    """
    above = np.arange(things.shape.shape[1])[:, None] > own[:, None, :]
    hidden = (render.covers(things, x, y) & above).any(axis=1)
    inside = (x >= 0) & (x < extent[0]) & (y >= 0) & (y < extent[1])
    return np.where(inside, np.where(hidden, 1, 2), 0)


def _skeleton(keys):
    """Return the points of the body, {name: (x, y, z)}, the waist first."""
    zero = np.zeros(len(keys))
    look = 2 * np.pi * scene.draw(keys, "look", -0.1, 0.1)
    points = {
        "waist": (zero, zero, zero),
        "chest": (zero, zero - 0.3, zero),
        "head": (zero, zero - 0.43, zero + 0.01),
    }
    face = {  # Relative to the center of the head.
        "nose": (0, 0.015, 0.078),
        "left_eye": (0.032, -0.012, 0.068),
        "right_eye": (-0.032, -0.012, 0.068),
        "left_ear": (0.082, 0.005, 0.0),
        "right_ear": (-0.082, 0.005, 0.0),
        "crown": (0, -0.022, -0.02),
    }
    for name, (x, y, z) in face.items():
        x, z = _turned(x, z, look)
        points[name] = _add(points["head"], (x, y, z))
    for side, sign in (("left", 1), ("right", -1)):
        points[f"{side}_shoulder"] = (zero + sign * 0.115, zero - 0.285, zero)
        points[f"{side}_hip"] = (zero + sign * 0.07, zero, zero)
        points |= _limbs(keys, points, side, sign)
    return points


def _limbs(keys, points, side, sign):
    """Draw elbow, wrist, knee, ankle and toe of one side by random angles."""

    def degrees(name, low, high):
        return np.pi / 180 * scene.draw(keys, f"{side} {name}", low, high)

    def along(start, length, swing, spread):
        step = (
            length * sign * np.sin(spread),
            length * np.cos(swing) * np.cos(spread),
            length * np.sin(swing) * np.cos(spread),
        )
        return _add(start, step)

    swing, spread = degrees("arm", -30, 50), degrees("arm out", 5, 110)
    elbow = along(points[f"{side}_shoulder"], 0.16, swing, spread)
    swing = swing + degrees("elbow", 0, 80)
    spread = spread + degrees("elbow out", -50, 50)
    wrist = along(elbow, 0.15, swing, spread)
    swing, spread = degrees("leg", -25, 40), degrees("leg out", 0, 22)
    knee = along(points[f"{side}_hip"], 0.24, swing, spread)
    swing = swing - degrees("knee", 0, 50)
    ankle = along(knee, 0.23, swing, spread)
    toe = _add(ankle, (sign * 0.015, 0.02, 0.07))
    joints = zip(
        ("elbow", "wrist", "knee", "ankle", "toe"),
        (elbow, wrist, knee, ankle, toe),
        strict=True,
    )
    return {f"{side}_{name}": point for name, point in joints}


def _turned(a, b, angle):
    """Turn the point (a, b) of a plane from its b axis to its a axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    return a * cos + b * sin, b * cos - a * sin


def _add(point, step):
    return tuple(a + b for a, b in zip(point, step, strict=True))


def _parts(keys, seen, height, turn):
    """Return `scene.Things`, one slot per part: bars, and a square torso."""
    start, end = (
        np.array([seen[part[i]][:2] for part in _PARTS.values()])
        for i in (0, 1)
    )  # (S, 2, N)
    dx, dy = (end - start).transpose(1, 2, 0)  # (N, S)
    x, y = ((start + end) / 2).transpose(1, 2, 0)
    length = np.hypot(dx, dy)
    radius = height[:, None] * np.array([part[2] for part in _PARTS.values()])
    angle = np.arctan2(dy, dx) / (2 * np.pi)
    stretch = length / 2 / radius
    aspect = np.ones_like(radius)
    shape = np.full(radius.shape, list(shapes.FIELDS).index("disc"))

    # The side of a square is 1.414 of its radius.
    torso = list(_PARTS).index("torso")
    across = height * (0.2 * np.abs(np.cos(turn)) + 0.11) / 2**0.5
    down = length[:, torso] / 2**0.5
    shape[:, torso] = list(shapes.FIELDS).index("square")
    radius[:, torso] = np.sqrt(across * down)
    aspect[:, torso] = across / down
    angle[:, torso] -= 0.25
    stretch[:, torso] = 0

    texture = np.zeros(shape.shape, int)
    texture[:, torso] = len(textures.FIELDS) * scene.draw(keys, "texture")
    tones = _tones(keys)
    light = np.stack([tones[part[3]] for part in _PARTS.values()], axis=1)
    return scene.Things(
        shape=shape,
        texture=texture,
        x=x,
        y=y,
        radius=radius,
        aspect=aspect,
        stretch=stretch,
        angle=angle,
        light=light,
        dark=light * 0.4,
        tag=np.zeros_like(shape),
    )


def _tones(keys):
    """Draw what the parts are made of: {material: `(N, 3)` RGB}."""

    def tone(name, hue, saturation, value):
        ranges = (("hue", hue), ("saturation", saturation), ("value", value))
        return scene.rgb(
            *(scene.draw(keys, f"{name} {part}", *r) for part, r in ranges)
        )

    return {
        "skin": tone("skin", (0.05, 0.09), (0.3, 0.6), (0.35, 1)),
        "hair": tone("hair", (0.04, 0.12), (0.2, 0.8), (0.05, 0.45)),
        "eyes": tone("eyes", (0, 1), (0, 0.3), (0, 0.15)),
        "shirt": tone("shirt", (0, 1), (0.5, 1), (0.6, 1)),
        "trousers": tone("trousers", (0, 1), (0.2, 1), (0.2, 0.8)),
    }


def _in_order(things, seen):
    """Order the parts from far to near; return also the slot of each."""
    depth = np.stack(
        [
            (seen[start][2] + seen[end][2]) / 2 + nearer
            for start, end, _, _, nearer in _PARTS.values()
        ],
        axis=1,
    )
    order = depth.argsort(axis=1, kind="stable")
    ranks = order.argsort(axis=1, kind="stable")
    images = np.arange(len(order))[:, None]
    things = things.each(lambda values: values[images, order])
    return things, dict(zip(_PARTS, ranks.T, strict=True))
