"""Renders scenes to pixels: many images of one size at once, in NumPy.

Each thing is painted in its own window. The pixels of all windows of all images
are in flat arrays, so that one operation covers them all, without a loop over
small images.

Shapes: N images, H W image height and width, S slots, M things, P pixels of all
windows, K places.
"""

import numpy as np

from keras_jft.data.datasets.synthetic import shapes, textures


def paint(things, backdrop, height, width):
    """Paint the images of a scene; return also what is on top of each pixel.

    Args:
        things: `scene.Things` of N images.
        backdrop: `scene.Backdrop` of N images.
        height: H, pixels.
        width: W, pixels.

    Returns:
        `(N, H, W, 3)` uint8 images, and `(N, H, W)` int8, the slot of the
        front thing that covers more than half of the pixel, -1 if none does.
    """
    num = len(backdrop.base)
    x, y = _grid(height, width)
    planes = _background(backdrop, x, y)
    top = np.full(num * height * width, -1, "int8")
    _paint_things(things, planes.reshape(3, -1), top, height, width)
    _light_up(planes, backdrop, x, y)
    pixels = np.empty((num, height, width, 3), "uint8")
    for channel, plane in enumerate(planes):
        pixels[..., channel] = plane
    return pixels, top.reshape(num, height, width)


def covers(things, x, y):
    """Return whether each thing covers a point, `(N, S, K)` bool.

    Args:
        things: `scene.Things` of N images.
        x: `(N, K)` points, in units of the shorter side.
        y: `(N, K)`.
    """
    cos, sin = _axes(things)
    dx = x[:, None, :] - things.x[..., None]
    dy = y[:, None, :] - things.y[..., None]
    u = dx * cos[0][..., None] + dy * sin[0][..., None]
    v = dy * cos[1][..., None] - dx * sin[1][..., None]
    stretch = np.broadcast_to(things.stretch[..., None], u.shape)
    kinds = np.broadcast_to(things.shape[..., None], u.shape)
    field = _field(kinds.ravel(), u.ravel(), v.ravel(), stretch.ravel())
    return (field.reshape(u.shape) < 0) & (things.shape[..., None] >= 0)


def _grid(height, width):
    """Return the centers of columns and rows, in units of the shorter side."""
    short = np.float32(min(height, width))
    x = (np.arange(width, dtype="float32") + 0.5) / short
    y = (np.arange(height, dtype="float32") + 0.5) / short
    return x, y[:, None]


def _background(backdrop, x, y):
    """Return `(3, N, H, W)` float32 waves, each bent by the one before."""
    column = (slice(None), None, None)
    base, colors, frequencies, phases = (
        part.astype("float32")
        for part in (
            backdrop.base,
            backdrop.colors,
            backdrop.frequencies,
            backdrop.phases,
        )
    )
    planes = np.empty((3, len(base), len(y), len(x)), "float32")
    planes[:] = base.T[..., None, None]
    wave = np.float32(0)
    for w in range(phases.shape[1]):
        along_y = frequencies[:, w, 1][column] * y + phases[:, w][column]
        wave = np.sin(frequencies[:, w, 0][column] * x + along_y + 1.5 * wave)
        for channel, plane in enumerate(planes):
            plane += colors[:, w, channel][column] * wave
    return planes


def _light_up(planes, backdrop, x, y):
    """Turn `planes` into what a camera reads under the light, 0..255."""
    column = (slice(None), None, None)
    exposure, by_x, by_y = backdrop.light.T.astype("float32")
    middle_x, middle_y = x.mean(), y.mean()
    light = 255 * (exposure[column] + by_y[column] * (y - middle_y))
    light = light + (255 * by_x)[column] * (x - middle_x)
    deviation = np.float32(255 * backdrop.noise)
    for channel, plane in enumerate(planes):
        plane *= light
        if deviation:
            noise = _noise(backdrop.noise_keys, plane[0].size, channel)
            plane += deviation * noise.reshape(plane.shape)
        plane += 0.5
        np.clip(plane, 0, 255, out=plane)


def _noise(keys, size, channel):
    """Return `(N, size)` noise of mean 0 and deviation 1, by counter.

    It is the sum of the two halves of a 32-bit hash, which is nearly normal.
    The hash is lowbias32 (https://nullprogram.com/blog/2018/07/31/).
    """
    pixels = np.arange(size, dtype="uint32") * np.uint32(3)
    pixels = (pixels + np.uint32(channel)) * np.uint32(0x9E3779B9)
    bits = pixels + keys[:, None]
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> np.uint32(16)
    total = (bits & np.uint32(0xFFFF)) + (bits >> np.uint32(16))
    noise = total.astype("float32")
    noise -= 65535
    noise *= 6**0.5 / 65536
    return noise


def _paint_things(things, planes, top, height, width):
    """Paint the windows of all things into `(3, N * H * W)` planes."""
    slots, images = np.nonzero(things.shape.T >= 0)  # The nearest last.
    flat = things.each(lambda values: values[images, slots])
    # How much of each pixel of its window a thing covers.
    owner, at, u, v, scale = _windows(flat, images, height, width)
    stretch = flat.stretch.astype("float32")[owner]
    field = _field(flat.shape.astype("int8")[owner], u, v, stretch)
    alpha = np.clip(0.5 - field * scale, 0, 1)
    # Texture and color, only where something is visible.
    seen = np.flatnonzero(alpha)
    owner, at, u, v, scale, alpha = (
        values[seen] for values in (owner, at, u, v, scale, alpha)
    )
    kinds = flat.texture.astype("int8")[owner]
    tone = _choose(textures.FIELDS, kinds, u, v, scale)
    dark, light = flat.dark.T.astype("float32"), flat.light.T.astype("float32")
    colors = dark[:, owner] + tone * (light - dark)[:, owner]
    # Blend slot by slot, from back to front.
    ends = np.searchsorted(slots[owner], np.arange(things.shape.shape[1] + 1))
    for slot, layer in enumerate(map(slice, ends[:-1], ends[1:])):
        # Within a layer no pixel is written twice.
        here, cover = at[layer], alpha[layer]
        for plane, color in zip(planes, colors, strict=True):
            below = plane[here]
            plane[here] = below + cover * (color[layer] - below)
        top[here[cover > 0.5]] = slot


def _axes(things):
    """Return cosine and sine of each thing's axes over their half lengths."""
    wide, high = things.aspect**0.5, things.aspect**-0.5
    cos = np.cos(2 * np.pi * things.angle) / things.radius
    sin = np.sin(2 * np.pi * things.angle) / things.radius
    return (cos / wide, cos / high), (sin / wide, sin / high)


def _windows(flat, images, height, width):
    """Return the pixels near each thing, thing after thing, row after row.

    Args:
        flat: `scene.Things` of `(M,)` arrays.
        images: `(M,)` the image that each thing is in.
        height: H, pixels.
        width: W, pixels.

    Returns:
        Five `(P,)` arrays: the thing, the pixel (position in the planes), u
        and v of its center in the frame of the thing, and the pixels that one
        unit of this frame is long.
    """
    short = min(height, width)
    (x0, x1), (y0, y1) = _bounds(flat, height, width)
    (cos_u, cos_v), (sin_u, sin_v) = _axes(flat)

    thing, row = _runs(y1 - y0)  # One per row of a window.
    row += y0[thing]
    dx = (x0[thing] + 0.5) / short - flat.x[thing]
    dy = (row + 0.5) / short - flat.y[thing]
    u = (dx * cos_u[thing] + dy * sin_u[thing]).astype("float32")
    v = (dy * cos_v[thing] - dx * sin_v[thing]).astype("float32")
    start = (images[thing] * height + row) * width + x0[thing]

    line, column = _runs((x1 - x0)[thing])  # One per pixel.
    at = start[line] + column
    owner = thing[line]
    step_u, step_v = ((f / short).astype("float32") for f in (cos_u, sin_v))
    column = column.astype("float32")
    u = u[line] + column * step_u[owner]
    v = v[line] - column * step_v[owner]
    return owner, at, u, v, (flat.radius * short).astype("float32")[owner]


def _bounds(flat, height, width):
    """Return the first and the end of the columns and rows of each window."""
    short = min(height, width)
    angle = 2 * np.pi * flat.angle
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    wide, high = flat.radius * flat.aspect**0.5, flat.radius * flat.aspect**-0.5
    pulled = flat.stretch * wide
    # The extent of an ellipse that is pulled apart along its u axis.
    reach_x = np.hypot(wide * cos, high * sin) + pulled * cos
    reach_y = np.hypot(wide * sin, high * cos) + pulled * sin
    return (
        _span(flat.x * short, reach_x * short, width),
        _span(flat.y * short, reach_y * short, height),
    )


def _runs(lengths):
    """Return, for runs laid end to end, which run and where in it."""
    run = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    return run, np.arange(len(run)) - first[run]


def _span(center, reach, size):
    """Return the first pixel within `reach` of `center`, and the end."""
    first = np.floor(center - reach - 0.5).clip(0, size).astype(int)
    last = np.ceil(center + reach + 0.5).clip(0, size).astype(int)
    return first, last


def _field(kinds, u, v, stretch):
    """Return the field of each point's own shape, pulled apart along u."""
    return _choose(shapes.FIELDS, kinds, u - np.clip(u, -stretch, stretch), v)


def _choose(fields, kinds, *coordinates):
    """Return at each point the field of that point's own kind."""
    values = np.zeros_like(coordinates[0])
    for kind, field in enumerate(fields.values()):
        at = np.flatnonzero(kinds == kind)
        if at.size:
            values[at] = field(*(axis[at] for axis in coordinates))
    return values
