"""Image files that a table names: found where meant, refused where not."""

import os
import unicodedata

import pytest

from keras_jft import files as files_lib
from keras_jft.data.datasets.image_paths import ImageFinder, find_images

NFC = unicodedata.normalize("NFC", "café")
NFD = unicodedata.normalize("NFD", "café")


@pytest.fixture
def folder(tmp_path):
    """`d/images` with a few files, and one file beside it."""
    files = (
        "a b%20#1.jpg", "sub/c.jpg", "images/d.jpg", f"{NFD}/{NFC}.jpg",
        "e.JPG", "back\\slash.jpg", "f.png",
    )  # fmt: skip
    for name in ("../secret.jpg", *files):
        path = tmp_path / "d" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "d" / "images"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a b%20#1.jpg", "a b%20#1.jpg"),
        ("./a b%20#1.jpg", "a b%20#1.jpg"),
        ("sub//c.jpg", "sub/c.jpg"),
        ("sub/./c.jpg", "sub/c.jpg"),
        ("sub/../sub/c.jpg", "sub/c.jpg"),
        ("sub\\c.jpg", "sub/c.jpg"),
        (".\\sub\\\\c.jpg", "sub/c.jpg"),
        ("back\\slash.jpg", "back\\slash.jpg"),
        ("images/sub/c.jpg", "sub/c.jpg"),
        ("d/images/sub/c.jpg", "sub/c.jpg"),
        ("images\\sub\\c.jpg", "sub/c.jpg"),
        ("images/d.jpg", "images/d.jpg"),
        ("images/images/d.jpg", "images/d.jpg"),
        (f"{NFC}/{NFC}.jpg", f"{NFD}/{NFC}.jpg"),
        (f"{NFD}/{NFD}.jpg", f"{NFD}/{NFC}.jpg"),
        (f"images/{NFC}\\{NFD}.jpg", f"{NFD}/{NFC}.jpg"),
    ],
)
def test_what_is_meant_is_found(folder, name, file):
    assert (folder / file).is_file()
    assert find_images(folder, [name], "'m.csv'") == [file]


def test_absolute_paths_inside_are_relative_ones(folder, tmp_path):
    path = str(folder / "sub" / "c.jpg")
    assert find_images(folder, [path], "'m.csv'") == ["sub/c.jpg"]
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert find_images(link, [path], "'m.csv'") == ["sub/c.jpg"]
    assert find_images(link, [f"{link}/e.JPG"], "'m.csv'") == ["e.JPG"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("g.jpg", r"'g\.jpg'\."),
        ("SUB/C.jpg", r"there is 'sub/c\.jpg'"),
        ("e.jpg", r"there is 'e\.JPG'"),
        ("f.jpg", r"there is 'f\.png'"),
        ("f", r"there is 'f\.png'"),
        ("", "0 letters"),
        (None, "not a path"),
        (3, "not a path"),
        ("a\0", "not a path"),
        ("../secret.jpg", "leaves the folder.*allow_outside"),
        ("/data/upload/1/f.png", r"the folder \(there is 'f\.png' in it\)"),
        ("/data/upload/1/none.png", "leaves the folder: `allow_out"),
        ("..\\secret.jpg", "leaves the folder"),
        ("sub/../../secret.jpg", "leaves the folder"),
        ("/etc/passwd", "leaves the folder"),
        ("..", "leaves the folder"),
        (".", r"'\.'"),
        ("a" * 5000, "5000 letters"),
        ("a" * 4000, "aaa"),
        ("./" * 4000 + "f.png", "8005 letters"),
        ("\ud800.jpg", "d800"),
    ],
)
def test_what_is_not_a_file_inside_is_named(folder, name, says):
    names = ["sub/c.jpg", name]
    pattern = rf"(?s)image of 'm\.csv'.*1 of 2 are not: .*{says}"
    with pytest.raises(ValueError, match=pattern) as error:
        find_images(folder, names, "'m.csv'")
    assert type(error.value) is ValueError


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://a/b.jpg", "gs://a/b.jpg", "s3://a"]
)
def test_urls_are_never_followed(folder, url, allow):
    with pytest.raises(ValueError, match="a URL, which is not followed"):
        find_images(folder, [url], "'m.csv'", allow_outside=allow)


def test_what_lies_outside_is_found_where_that_is_allowed(folder):
    secret = str(folder.parent / "secret.jpg")
    names = ["../secret.jpg", secret, "sub\\c.jpg", "..\\secret.jpg"]
    found = find_images(folder, names, "'m.csv'", allow_outside=True)
    assert found == ["../secret.jpg", secret, "sub/c.jpg", "../secret.jpg"]
    with pytest.raises(ValueError, match=r"'\.\./none\.jpg'"):
        find_images(folder, ["../none.jpg"], "'m.csv'", allow_outside=True)


def test_a_name_of_two_files_is_refused(folder):
    (folder / f"{NFC}{NFC}.jpg").write_bytes(b"")
    (folder / f"{NFD}{NFD}.jpg").write_bytes(b"")
    if len([n for n in os.listdir(folder) if n.count("caf") == 2]) < 2:
        pytest.skip("This disk has one Unicode form.")
    exact = [f"{NFC}{NFC}.jpg", f"{NFD}{NFD}.jpg"]
    assert find_images(folder, exact, "'m.csv'") == exact
    with pytest.raises(ValueError, match="may be any of"):
        find_images(folder, [f"{NFC}{NFD}.jpg"], "'m.csv'")


def test_each_folder_is_listed_once(folder, monkeypatch):
    listed = []
    listing = files_lib.names_in
    monkeypatch.setattr(
        files_lib, "names_in", lambda f: listed.append(f) or listing(f)
    )
    finder = ImageFinder(folder)
    for _ in range(3):
        for name in ("sub/c.jpg", "sub\\c.jpg", "images/d.jpg", "e.JPG"):
            finder.find(name)
    assert len(listed) == len(set(listed))


def test_images_in_a_bucket_are_found():
    pytest.importorskip("fsspec")
    files_lib.write_bytes("memory://bucket/images/sub/a.jpg", b"")
    names = ["sub/a.jpg", "sub\\a.jpg", "images/sub/a.jpg"]
    found = find_images("memory://bucket/images", names, "'m.csv'")
    assert found == ["sub/a.jpg"] * 3
    with pytest.raises(ValueError, match="leaves the folder"):
        find_images("memory://bucket/images/sub", ["../b.jpg"], "'m.csv'")
