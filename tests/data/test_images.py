"""Image files become arrays; damaged ones become errors that name them."""

import io
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from keras_jft.data import jpeg
from keras_jft.data.images import (
    MAX_BYTES,
    AnnotatedImages,
    UnreadableImage,
    decode_image,
    decode_mask,
)


def _encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (12, 10, 3), "uint8")


def test_rgb_pixels_come_back_exactly_from_a_path_and_from_bytes(
    pixels, tmp_path
):
    data = _encoded(Image.fromarray(pixels))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        decoded = decode_image(source)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, pixels)


def test_jpeg_comes_back_nearly(rng):
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype("uint8")
    data = _encoded(Image.fromarray(smooth), "JPEG", quality=95)
    assert abs(decode_image(data).astype(int) - smooth).max() < 25


def test_gray_is_repeated_and_16_bits_keep_the_high_byte(rng):
    gray = rng.integers(0, 256, (5, 4), "uint8")
    decoded = decode_image(_encoded(Image.fromarray(gray)))
    np.testing.assert_array_equal(decoded, np.stack([gray] * 3, axis=-1))
    deep = rng.integers(0, 2**16, (5, 4), "uint16")
    decoded = decode_image(_encoded(Image.fromarray(deep)))
    np.testing.assert_array_equal(decoded[..., 1], deep // 256)


def test_16_bits_of_colors_and_transparency_keep_the_high_byte(rng):
    deep = rng.integers(0, 2**16, (5, 4, 4), "uint16")
    decoded = decode_image(_deep_png(deep[..., :3], color_type=2))
    np.testing.assert_array_equal(decoded, deep[..., :3] // 256)
    high = deep // 256
    share = high[..., 3:] / 255
    expected = high[..., :3] * share + 255 * (1 - share)
    blended = decode_image(_deep_png(deep, color_type=6))
    np.testing.assert_allclose(blended, expected, atol=0.51)


def _deep_png(pixels, color_type):
    """A PNG of 16 bits per channel, which Pillow reads but does not write."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data).to_bytes(4)
        return len(data).to_bytes(4) + kind + data + checksum

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _gray_tiff(values, bits, photometric=1):
    """A TIFF of 12 or 16 bits; photometric 0: white is 0."""
    height, width = values.shape
    if bits == 12:  # Two pixels in three bytes, the upper bits first.
        a, b = values[:, ::2], values[:, 1::2]
        packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=-1)
        data = packed.astype("uint8").tobytes()
    else:
        data = values.astype("<u2").tobytes()
    tags = {
        256: width, 257: height, 258: bits, 259: 1, 262: photometric,
        273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: height, 279: len(data),
    }  # fmt: skip
    entries = [struct.pack("<HHII", k, 4, 1, v) for k, v in tags.items()]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + b"".join(entries) + bytes(4) + data


def test_gray_of_12_bits_and_gray_whose_white_is_0_are_read(rng):
    twelve = rng.integers(0, 2**12, (5, 4))
    decoded = decode_image(_gray_tiff(twelve, 12))
    np.testing.assert_array_equal(decoded[..., 2], twelve // 16)
    deep = rng.integers(0, 2**16, (5, 4))
    decoded = decode_image(_gray_tiff(deep, 16))
    np.testing.assert_array_equal(decoded[..., 0], deep // 256)
    decoded = decode_image(_gray_tiff(deep, 16, photometric=0))
    np.testing.assert_array_equal(decoded[..., 0], 255 - deep // 256)


@pytest.mark.parametrize("largest", [15, 255, 4095])
def test_few_bits_in_the_lower_part_of_16_are_not_read_as_black(largest):
    """Such as 12 bits of an X-ray: at most 15 of 255 would be left."""
    deep = np.full((5, 4, 3), largest, "uint16")
    deep[0, 0] = 0
    for data in (
        _encoded(Image.fromarray(deep[..., 0])),
        _gray_tiff(deep[..., 0], 16),
    ):
        with pytest.raises(UnreadableImage, match=f"up to {largest} of 65535"):
            decode_image(data)
    # As a mask these are class ids.
    if largest < 256:
        mask = decode_mask(_encoded(Image.fromarray(deep[..., 0])))
        np.testing.assert_array_equal(mask[..., 0], deep[..., 0])
    if largest > 255:  # Of colors, Pillow gives the upper eight bits alone.
        with pytest.raises(UnreadableImage, match="at most 12 are used"):
            decode_image(_deep_png(deep, color_type=2))
    black = decode_image(_encoded(Image.fromarray(deep[..., 0] * 0)))
    assert black.max() == 0


def test_a_mask_is_not_read_from_a_jpeg():
    """Which makes other indices where two of them meet."""
    mask = np.zeros((16, 16), "uint8")
    mask[4:, 3:] = 1
    with pytest.raises(UnreadableImage, match="JPEG, which changes class ind"):
        decode_mask(_encoded(Image.fromarray(mask), "JPEG"))


def test_a_mask_in_the_lower_bits_of_colors_is_not_read_as_zeros():
    deep = np.full((5, 4, 3), 7, "uint16")
    with pytest.raises(UnreadableImage, match="upper 8 of its 16 bits"):
        decode_mask(_deep_png(deep, color_type=2))


def test_palettes_are_looked_up():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0] + [0] * 6)
    image.putdata([0, 1, 0])
    decoded = decode_image(_encoded(image))
    assert decoded.tolist() == [[[10, 20, 30], [200, 100, 0], [10, 20, 30]]]


def test_transparency_is_blended_over_white():
    image = Image.new("RGBA", (3, 1))
    image.putdata([(0, 0, 0, 0), (0, 0, 0, 255), (100, 0, 0, 51)])
    decoded = decode_image(_encoded(image))
    # 255 * 0.8 + 100 * 0.2 = 224 and 255 * 0.8 = 204.
    assert decoded.tolist() == [[[255] * 3, [0] * 3, [224, 204, 204]]]


def test_cmyk_is_converted():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # Red ink.
    data = _encoded(image, "JPEG", quality=95)
    assert abs(decode_image(data)[4, 4].astype(int) - [255, 0, 0]).max() < 10


def test_bilevel_is_black_and_white():
    image = Image.new("1", (2, 1))
    image.putdata([0, 1])
    assert decode_image(_encoded(image)).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_pixels_of_32_bits_are_refused(dtype):
    data = _encoded(Image.fromarray(np.ones((2, 2), dtype)), "TIFF")
    with pytest.raises(ValueError, match="'a.tif'.*of 32 bits") as raised:
        decode_image(data, name="a.tif")
    assert raised.value.cause == "unsupported"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0, 0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused_by_name(rng, kind, part):
    noise = rng.integers(0, 256, (64, 64, 3), "uint8")
    data = _encoded(Image.fromarray(noise), kind)
    with pytest.raises(ValueError, match="'some/a.jpg' cannot be read"):
        decode_image(data[: int(part * len(data))], name="some/a.jpg")


def test_what_is_no_image_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not an image")
    with pytest.raises(
        ValueError, match=r"notes\.jpg' cannot be read.*identify"
    ):
        decode_image(path)
    with pytest.raises(ValueError, match=r"gone\.jpg' does not exist"):
        decode_image(tmp_path / "gone.jpg")


def test_each_cause_can_be_counted(tmp_path, pixels):
    image = Image.fromarray(pixels)
    jpeg, png = _encoded(image, "JPEG"), _encoded(image)
    deep = _encoded(Image.fromarray(np.zeros((2, 2), "float32")), "TIFF")
    sources = {
        "missing": tmp_path / "gone.jpg",
        "unreadable": tmp_path,
        "empty": b"",
        "truncated": jpeg[: len(jpeg) // 2],
        "damaged": png[:50] + b"?" + png[51:],
        "not an image": b"not an image",
        "unsupported": deep,
        "size": png,
    }
    for cause, source in sources.items():
        size = (3, 3) if cause == "size" else None
        with pytest.raises(UnreadableImage, match="'a.jpg'") as raised:
            decode_image(source, "a.jpg", size)
        assert raised.value.cause == cause
        again = pickle.loads(pickle.dumps(raised.value))
        assert (str(again), again.cause) == (str(raised.value), cause)
    with pytest.raises(UnreadableImage) as raised:
        decode_image(png[:-20])
    assert raised.value.cause == "truncated"


def test_contents_count_and_not_the_name(tmp_path, pixels):
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(Image.fromarray(pixels)))
    np.testing.assert_array_equal(decode_image(path), pixels)
    path = path.with_suffix(".png")
    path.write_bytes(_encoded(Image.fromarray(pixels), "JPEG"))
    assert decode_image(path).shape == pixels.shape


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_counts(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    options = {"save_all": True, "append_images": frames[1:]}
    if kind == "WEBP":
        options["lossless"] = True
    decoded = decode_image(_encoded(frames[0], kind, **options))
    assert (decoded == [255, 0, 0]).all()


def test_a_byte_that_changes_in_a_png_is_noticed(pixels):
    data = _encoded(Image.fromarray(pixels))
    for place in range(8, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(UnreadableImage):
            decode_image(bytes(damaged))


def test_another_size_than_expected_is_refused_by_name(pixels):
    data = _encoded(Image.fromarray(pixels))
    assert decode_image(data, image_size=(12, 10)).shape == (12, 10, 3)
    with pytest.raises(ValueError, match=r"'a.png'.*\(10, 12\).*\(12, 10\)"):
        decode_image(data, "a.png", image_size=(10, 12))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_keep_their_indices_whatever_the_palette(rng, mode):
    indices = rng.choice(np.array([0, 1, 2, 11, 255], "uint8"), (6, 5))
    image = Image.fromarray(indices)
    if mode == "P":
        image = Image.frombytes("P", (5, 6), indices.tobytes())
        image.putpalette(list(rng.integers(0, 256, 768)))
    mask = decode_mask(_encoded(image))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, indices[..., None])


def test_colored_masks_are_refused_by_name(pixels):
    data = _encoded(Image.fromarray(pixels))
    with pytest.raises(ValueError, match="'m.png'.*'RGB'.*indices"):
        decode_mask(data, "m.png")
    with pytest.raises(ValueError, match=r"'m.png'.*\(3, 3\)"):
        decode_mask(
            _encoded(Image.fromarray(pixels[..., 0])),
            "m.png",
            image_size=(3, 3),
        )


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_masks_of_more_bits_keep_their_indices_or_are_refused(rng, dtype):
    indices = rng.choice(np.array([0, 1, 11, 255]), (6, 5)).astype(dtype)
    kind = "PNG" if dtype == "uint16" else "TIFF"
    mask = decode_mask(_encoded(Image.fromarray(indices), kind))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[..., 0], indices)
    indices[2, 3] = 256
    with pytest.raises(UnreadableImage, match="'m.png'.*values up to 256"):
        decode_mask(_encoded(Image.fromarray(indices), kind), "m.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_masks_of_gray_saved_as_colors_keep_their_indices(rng, mode):
    indices = rng.choice(np.array([0, 1, 11, 255], "uint8"), (6, 5))
    image = Image.fromarray(indices).convert(mode)
    np.testing.assert_array_equal(decode_mask(_encoded(image))[..., 0], indices)
    if mode != "RGB":
        image.putalpha(254)
    else:
        image.putpixel((1, 1), (1, 1, 2))
    with pytest.raises(
        UnreadableImage, match=f"'m.png' of mode '{mode}'"
    ) as error:
        decode_mask(_encoded(image), "m.png")
    assert ("drop its alpha" in str(error.value)) == (mode != "RGB")


# === EXIF ===


def _shown(data):
    """What Pillow shows of a file that is turned by its EXIF."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_pillow_turns_them(pixels, kind, orientation):
    data = _turned(pixels, kind, orientation)
    decoded = decode_image(data)
    if kind == "JPEG":  # Two decoders differ a little.
        np.testing.assert_allclose(decoded, _shown(data), atol=4)
    else:
        np.testing.assert_array_equal(decoded, _shown(data))
    if kind == "TIFF":  # Its orientation is part of the format.
        return
    stored = decode_image(data, orientation="ignore")
    assert stored.shape == (12, 10, 3)
    if kind == "PNG":
        np.testing.assert_array_equal(stored, pixels)


def _turned(pixels, kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    return _encoded(Image.fromarray(pixels), kind, exif=exif, **options)


def test_masks_are_turned_when_that_is_asked_for(rng):
    indices = rng.integers(0, 9, (3, 2), "uint8")
    data = _turned(indices, "PNG", 6)
    np.testing.assert_array_equal(decode_mask(data)[..., 0], indices)
    np.testing.assert_array_equal(
        decode_mask(data, orientation="apply")[..., 0], np.rot90(indices, -1)
    )


def test_damaged_exif_turns_nothing(pixels):
    data = _encoded(
        Image.fromarray(pixels), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"
    )
    assert decode_image(data).shape == (12, 10, 3)


def test_a_transposed_size_is_an_error_that_names_exif(pixels):
    data = _turned(pixels, "JPEG", 6)
    for orientation, size in (("apply", (12, 10)), ("ignore", (10, 12))):
        with pytest.raises(UnreadableImage, match="EXIF") as raised:
            decode_image(data, "a.jpg", size, orientation)
        (other,) = {"apply", "ignore"} - {orientation}
        assert f"Set orientation='{other}'" in str(raised.value)
        assert decode_image(data, "a.jpg", size, other).shape[:2] == size


def test_annotated_images_warn_once_where_exif_turns_one(pixels):
    turned, upright = (_turned(pixels, "PNG", o) for o in (3, 1))
    images = AnnotatedImages()
    images.decode(upright, "a.png")
    with pytest.warns(UserWarning, match="'b.png'.*EXIF orientation 3"):
        stored = images.decode(turned, "b.png")
    np.testing.assert_array_equal(stored, pixels)
    images.decode(turned, "c.png")  # Warnings are errors here.
    AnnotatedImages("ignore").decode(turned, "d.png")
    shown = AnnotatedImages("apply").decode(turned, "e.png")
    np.testing.assert_array_equal(shown, pixels[::-1, ::-1])
    with pytest.raises(ValueError, match="orientation.*'up'"):
        AnnotatedImages("up")


# === Hostile files ===


def test_no_other_format_is_read_and_no_program_is_started(
    tmp_path, monkeypatch
):
    called = tmp_path / "called"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {called}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PPM")
    for content in (postscript, buffer.getvalue()):
        for decode in (decode_image, decode_mask):
            with pytest.raises(UnreadableImage, match="'cat.jpg'.*identify"):
                decode(content, "cat.jpg")
    assert not called.exists()


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path):
    pipe = tmp_path / "a.jpg"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero", tmp_path):
        for decode in (decode_image, decode_mask):
            with pytest.raises(UnreadableImage, match="cannot be read") as e:
                decode(path)
            assert e.value.cause == "unreadable"


def test_a_file_too_large_to_be_an_image_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # Takes no room on the disk.
    with pytest.raises(UnreadableImage, match="at most 2147483648 bytes"):
        decode_image(path)


@pytest.mark.parametrize("has_library", [True, False])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_what_a_small_file_may_become_is_limited(
    kind, has_library, monkeypatch
):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = _encoded(Image.new("L", (300, 300)), kind)
    assert decode_image(data).shape == (300, 300, 3)
    monkeypatch.setattr(jpeg, "MAX_PIXELS", 90_000)
    decode_image(data)
    monkeypatch.setattr(jpeg, "MAX_PIXELS", 89_999)
    # A JPEG is no mask, whatever its size.
    for decode in (decode_image, decode_mask)[: 2 - (kind == "JPEG")]:
        with pytest.raises(
            UnreadableImage,
            match=r"'a.png'.* 300 x 300 pixels, .* 89999 .*MAX_PIXELS`\.$",
        ) as raised:
            decode(data, "a.png")
        assert raised.value.cause == "size"


@pytest.mark.parametrize(
    "kind, options", [("PNG", {}), ("TIFF", {"compression": "group4"})]
)
def test_a_scanned_page_of_a_few_kilobytes_is_read(kind, options):
    page = Image.new("1", (9921, 7016), 1)
    page.paste(0, (100, 200, 300, 400))
    data = _encoded(page, kind, **options)
    assert len(data) < 40_000
    mask = decode_mask(data)
    assert mask.shape == (7016, 9921, 1)
    assert mask[199:201, 100, 0].tolist() == [1, 0]


@pytest.mark.parametrize("has_library", [True, False])
def test_pillows_limit_neither_refuses_nor_warns_nor_leaves_unturned(
    has_library, monkeypatch
):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.new("RGB", (300, 200), "white")
    for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF"):
        options = {"exif": exif} if kind in ("JPEG", "PNG") else {}
        data = _encoded(image, kind, **options)
        shape = (300, 200, 3) if options else (200, 300, 3)
        # Warned of from 40,000 pixels on, refused from 58,000.
        for limit in (40_000, 29_000):
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            assert decode_image(data).shape == shape
            assert limit == Image.MAX_IMAGE_PIXELS


def test_large_photos_and_masks_fit_the_limit_and_a_bomb_does_not():
    jpeg._check_size(12_240, 16_320)
    jpeg._check_size(10_000, 10_000)
    with pytest.raises(ValueError, match="32768 x 32768"):
        jpeg._check_size(2**15, 2**15)


@pytest.mark.parametrize("has_library", [True, False])
def test_a_jpeg_of_many_scans_is_refused(pixels, has_library, monkeypatch):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    data = _encoded(Image.fromarray(pixels), "JPEG", progressive=True)
    assert decode_image(data).shape == pixels.shape
    start = data.rfind(b"\xff\xda")
    length = int.from_bytes(data[start + 2 : start + 4])
    scan = data[start : start + 2 + length] + b"\0"
    many = data[:-2] + scan * (jpeg.MAX_SCANS + 1) + data[-2:]
    with pytest.raises(UnreadableImage, match="more than 100 scans"):
        decode_image(many)


def _mutated(data, rng):
    """`data` with bytes changed, cut out, doubled, or cut off."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(damaged)))
        size = int(rng.integers(1, 9))
        match rng.integers(4):
            case 0:
                damaged[at : at + size] = rng.bytes(size)
            case 1:
                del damaged[at : at + size]
            case 2:
                damaged[at:at] = damaged[at : at + size]
            case 3:
                # Where headers say sizes, these do the most harm.
                damaged[at : at + 2] = b"\xff\xff"
        damaged = damaged or bytearray(b"?")
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of notes in odd files.
@pytest.mark.parametrize("has_library", [True, False])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damage_of_any_kind_is_an_unreadable_image(
    kind, has_library, rng, monkeypatch
):
    if not has_library:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    noise = rng.integers(0, 256, (17, 23, 3), "uint8")
    exif = {} if kind in ("GIF", "BMP") else {"exif": Image.Exif()}
    whole = [
        _encoded(Image.fromarray(noise), kind, **exif),
        _encoded(Image.fromarray(noise[..., 0]), kind),
    ]
    if kind == "JPEG":
        whole.append(_encoded(Image.fromarray(noise), kind, progressive=True))
    for number in range(200):
        damaged = _mutated(whole[number % len(whole)], rng)
        for decode in (decode_image, decode_mask):
            try:
                decoded = decode(damaged, "a.jpg")
            except UnreadableImage as error:
                assert "'a.jpg'" in str(error)
            else:
                assert decoded.ndim == 3 and decoded.dtype == np.uint8
