"""From numbers to pixels: many images of one size at once, in NumPy.

Each thing is painted in its own window. The pixels of all windows of all
images stand in flat arrays, so that one operation serves them all and small
images cost no loop.

Shapes: N images, H W image side, S slots, M things, P pixels of all windows.
"""

import numpy as np

from keras_jft.data.datasets.synthetic import shapes, textures


def paint(things, backdrop, height, width):
    """Images of a scene, and what is on top at each of their pixels.

    Args:
        things: `scene.Things` of N images.
        backdrop: `scene.Backdrop` of N images.
        height: H, pixels.
        width: W, pixels.

    Returns:
        `(N, H, W, 3)` uint8 images, and `(N, H, W)` int8, the slot of the
        thing that covers most of the pixel, -1 where there is none.
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
    """Whether each thing covers a point: `(N, S, K)` bool.

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
    """Centers of the columns and rows, in units of the shorter side."""
    short = np.float32(min(height, width))
    x = (np.arange(width, dtype="float32") + 0.5) / short
    y = (np.arange(height, dtype="float32") + 0.5) / short
    return x, y[:, None]


def _background(backdrop, x, y):
    """`(3, N, H, W)` float32: each wave bends the next."""
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
    """Turns `planes` into what a camera reads under the light, 0..255."""
    column = (slice(None), None, None)
    exposure, by_x, by_y = backdrop.light.T.astype("float32")
    middle_x, middle_y = x.mean(), y.mean()
    light = 255 * (exposure[column] + by_y[column] * (y - middle_y))
    light = light + (255 * by_x)[column] * (x - middle_x)
    deviation = np.float32(255 * backdrop.noise)
    for channel, plane in enumerate(planes):
        plane *= light
        if deviation:
            plane += deviation * _noise(backdrop.noise_keys, plane, channel)
        plane += 0.5
        np.clip(plane, 0, 255, out=plane)


def _noise(keys, like, channel):
    """Noise of mean 0 and deviation 1 for `(N, H, W)` pixels, by counter.

    The sum of the two halves of a 32-bit hash, which is near enough normal.
    The hash is lowbias32 (https://nullprogram.com/blog/2018/07/31/).
    """
    pixels = np.arange(like[0].size, dtype="uint32") * np.uint32(3)
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
    return noise.reshape(like.shape)


def _paint_things(things, planes, top, height, width):
    """Paints the windows of all things into `(3, N * H * W)` planes."""
    slots, images = np.nonzero(things.shape.T >= 0)
    pixels = _windows(things, slots, images, height, width)
    owner, at, u, v, scale = pixels
    kinds = things.shape[images, slots].astype("int8")[owner]
    stretch = things.stretch[images, slots].astype("float32")[owner]
    field = _field(kinds, u, v, stretch)
    alpha = np.clip(0.5 - field * scale, 0, 1)
    seen = np.flatnonzero(alpha)
    owner, at, u, v, scale, alpha = (
        values[seen] for values in (owner, at, u, v, scale, alpha)
    )
    kinds = things.texture[images, slots].astype("int8")[owner]
    tone = _choose(textures.FIELDS, kinds, u, v, scale)
    dark = things.dark[images, slots].T.astype("float32")
    delta = things.light[images, slots].T.astype("float32") - dark
    colors = dark[:, owner] + tone * delta[:, owner]
    for slot in range(things.shape.shape[1]):
        layer = slice(*np.searchsorted(slots[owner], (slot, slot + 1)))
        here, cover = at[layer], alpha[layer]
        for plane, color in zip(planes, colors, strict=True):
            below = plane[here]
            plane[here] = below + cover * (color[layer] - below)
        top[here[cover > 0.5]] = slot


def _axes(things):
    """Cosine and sine of each thing's two axes, by their half lengths."""
    wide, high = things.aspect**0.5, things.aspect**-0.5
    cos = np.cos(2 * np.pi * things.angle) / things.radius
    sin = np.sin(2 * np.pi * things.angle) / things.radius
    return (cos / wide, cos / high), (sin / wide, sin / high)


def _windows(things, slots, images, height, width):
    """The pixels near each thing, thing after thing, row after row.

    Returns:
        Five `(P,)` arrays: the thing (position in `slots`), the pixel
        (position in the planes), u and v of its center in the frame of the
        thing, and the pixels that one unit of this frame is long.
    """
    short = min(height, width)
    part = {
        name: getattr(things, name)[images, slots]
        for name in ("x", "y", "radius", "aspect", "stretch", "angle")
    }
    cos, sin = (np.abs(f(2 * np.pi * part["angle"])) for f in (np.cos, np.sin))
    wide = part["radius"] * part["aspect"] ** 0.5
    high = part["radius"] * part["aspect"] ** -0.5
    pulled = part["stretch"] * wide
    reach_x = np.hypot(wide * cos, high * sin) + pulled * cos
    reach_y = np.hypot(wide * sin, high * cos) + pulled * sin
    x0, x1 = _span(part["x"] * short, reach_x * short, width)
    y0, y1 = _span(part["y"] * short, reach_y * short, height)

    rows = y1 - y0
    owner = np.repeat(np.arange(len(slots)), rows)
    row = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    row = row + y0[owner]
    (cos_u, cos_v), (sin_u, sin_v) = (
        [half[images, slots] for half in axis] for axis in _axes(things)
    )
    dx = (x0 + 0.5) / short - part["x"]
    dy = (row + 0.5) / short - part["y"][owner]
    u = (dx * cos_u)[owner] + dy * sin_u[owner]
    v = dy * cos_v[owner] - (dx * sin_v)[owner]
    start = (images[owner] * height + row) * width + x0[owner]

    columns = (x1 - x0)[owner]
    line = np.repeat(np.arange(len(owner)), columns)
    column = np.arange(len(line)) - np.repeat(
        np.cumsum(columns) - columns, columns
    )
    at = start[line] + column
    column = column.astype("float32")
    owner = owner[line]
    step_u, step_v = ((f / short).astype("float32") for f in (cos_u, sin_v))
    u = u.astype("float32")[line] + column * step_u[owner]
    v = v.astype("float32")[line] - column * step_v[owner]
    scale = (part["radius"] * short).astype("float32")[owner]
    return owner, at, u, v, scale


def _span(center, reach, size):
    """First pixel and one past the last that `center` +- `reach` touches."""
    first = np.floor(center - reach - 0.5).clip(0, size).astype(int)
    last = np.ceil(center + reach + 0.5).clip(0, size).astype(int)
    return first, last


def _field(kinds, u, v, stretch):
    """The field of each point's own shape, pulled apart along u."""
    return _choose(shapes.FIELDS, kinds, u - np.clip(u, -stretch, stretch), v)


def _choose(fields, kinds, *coordinates):
    """At each point the field of that point's own kind."""
    values = np.zeros_like(coordinates[0])
    for kind, field in enumerate(fields.values()):
        at = np.flatnonzero(kinds == kind)
        if at.size:
            values[at] = field(*(axis[at] for axis in coordinates))
    return values
