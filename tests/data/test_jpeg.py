"""JPEG files are read strictly; what is intact is read as Pillow reads it."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_jft.data import jpeg
from keras_jft.data.images import UnreadableImage, decode_image


def _encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture
def photo(rng):
    """Shapes and noise, 120 x 160."""
    y, x = np.mgrid[:120, :160]
    waves = [128 + 100 * np.sin(x / 9) * np.cos(y / w) for w in (5, 7, 11)]
    pixels = np.stack(waves, axis=-1)
    noise = rng.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype("uint8"))


@pytest.fixture
def strict():
    return pytest.importorskip("simplejpeg")


def _start(data):
    """Where the compressed pixels begin."""
    scan = data.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])


def _noticed(data):
    try:
        decode_image(data)
    except UnreadableImage:
        return True
    return False


OPTIONS = [
    {"quality": 90},
    {"quality": 40, "subsampling": 0},
    {"quality": 90, "optimize": True},
    {"quality": 90, "progressive": True},
    {"quality": 90, "restart_marker_rows": 1},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_intact_files_are_what_pillow_makes_of_them(
    photo, options, mode, monkeypatch
):
    data = _encoded(photo.convert(mode), **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    decoded = jpeg.decode(data)
    assert decoded.dtype == np.uint8
    assert abs(decoded.astype(int) - expected).max() <= 1
    # With what often follows the end of a file: zeros, or another file.
    np.testing.assert_array_equal(jpeg.decode(data + bytes(99)), decoded)
    np.testing.assert_array_equal(jpeg.decode(data + data), decoded)
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    np.testing.assert_array_equal(jpeg.decode(data), expected)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("has_library", [True, False])
def test_scans_are_those_of_the_image_alone(
    photo, options, has_library, monkeypatch
):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = _encoded(photo, **options)
    pixels = jpeg.decode(data)
    markers = b"\xff\xda\0\2" * 10_000
    # A "motion photo": its video follows the end of the image.
    video = b"\0\0\0\x18ftypmp42" + markers
    np.testing.assert_array_equal(jpeg.decode(data + video), pixels)
    # A note before the pixels, as of a thumbnail.
    note = b"\xff\xe4" + (2 + len(markers)).to_bytes(2) + markers
    noted = data[:2] + note + data[2:]
    np.testing.assert_array_equal(jpeg.decode(noted), pixels)


@pytest.mark.parametrize("filler", [b"", b"\xff" * 3, b"\xff\0", b"\xff\xd3"])
def test_many_scans_are_counted_whatever_lies_between(photo, filler):
    data = _encoded(photo, progressive=True)
    start = data.rfind(b"\xff\xda")
    length = int.from_bytes(data[start + 2 : start + 4])
    scan = filler + data[start : start + 2 + length] + b"\0"
    # A marker that decoders pass over does not hide what follows.
    for first in (b"", b"\xff\x02\xff\xf0", b"\xff\x01\xff\xf0"):
        with pytest.raises(ValueError, match="more than 100 scans"):
            jpeg.decode(data[:-2] + first + scan * 20_000 + data[-2:])


def _frame(components, marker=0xC0):
    """Return the segment of a frame of 8 x 8 pixels."""
    about = b"\x08\0\x08\0\x08" + bytes([components])
    about += b"\x01\x11\0" * components
    return bytes([0xFF, marker]) + (2 + len(about)).to_bytes(2) + about


def _scan(components):
    """Return the segment of a scan, and an end of the compressed pixels."""
    about = bytes([components]) + b"\x01\0" * components + b"\0\x3f\0"
    return b"\xff\xda" + (2 + len(about)).to_bytes(2) + about + b"\x12"


@pytest.mark.parametrize("tables", [b"", b"\xff\xfe\0\4ab"])
@pytest.mark.parametrize("components", [1, 3])
def test_only_a_first_scan_of_all_components_is_the_only_one(
    tables, components
):
    def has_many(*before, scan=components):
        start = b"\xff\xd8" + tables + b"".join(before)
        return jpeg._has_many_scans(start + _scan(scan) * 101)

    frame = _frame(components)
    assert not has_many(frame)
    assert has_many(frame, scan=components + 1)
    assert has_many()
    assert has_many(_frame(components, marker=0xC2))  # Progressive.
    # What decoders may pass over in another way, or refuse.
    other = _frame(components, marker=0xC2)
    for odd in (b"\xff", b"\0", b"\xff\xd3", b"\xff\x01", b"\xff\xe0\0\1"):
        assert has_many(frame, odd) and has_many(odd, frame)
    assert has_many(other, frame) and has_many(frame, frame)


@pytest.mark.parametrize("has_library", [True, False])
def test_scans_after_the_only_one_are_refused(photo, has_library, monkeypatch):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = _encoded(photo)
    start = data.index(b"\xff\xda")
    more = data[:-2] + data[start : _start(data)] * 1_000 + data[-2:]
    assert _noticed(more)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("color", ["black", "white", (200, 30, 40)])
def test_flat_images_are_not_taken_for_lost_blocks(options, color):
    for mode in ("RGB", "L"):
        image = Image.new("RGB", (400, 400), color).convert(mode)
        assert not _noticed(_encoded(image, **options))


@pytest.mark.parametrize("length", [16, 64, 512])
def test_a_block_of_zeros_is_noticed(photo, rng, length, monkeypatch):
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = _encoded(photo, quality=90)
    start = _start(data)
    for _ in range(20):
        place = int(rng.integers(start, len(data) - length))
        damaged = data[:place] + bytes(length) + data[place + length :]
        assert _noticed(damaged)


def test_most_damage_of_the_compressed_pixels_is_noticed(photo, rng, strict):
    data = _encoded(photo, quality=90)
    start = _start(data)
    noticed = 0
    for _ in range(60):
        damaged = np.frombuffer(data, "uint8").copy()
        for place in rng.integers(start, len(data) - 2, 16):
            damaged[place] ^= 1 << rng.integers(8)
        noticed += _noticed(damaged.tobytes())
    assert noticed >= 48


def test_a_file_without_its_end_is_truncated(photo, strict):
    with pytest.raises(UnreadableImage, match=r"(?i)premature end") as raised:
        decode_image(_encoded(photo)[:-2])
    assert raised.value.cause == "truncated"


@pytest.mark.parametrize("with_simplejpeg", [True, False])
def test_a_size_that_no_memory_holds_is_refused(
    photo, with_simplejpeg, monkeypatch
):
    if not with_simplejpeg:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = bytearray(_encoded(photo))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc" * 2
    with pytest.raises(UnreadableImage, match="65500 x 65500 pixels, more"):
        decode_image(bytes(data))
