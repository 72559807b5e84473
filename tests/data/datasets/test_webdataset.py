"""Tar shards: labels of three kinds, order, random access and damage."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft import files
from keras_jft.data.datasets.webdataset import _expand, load

pytest.importorskip("tensorflow")
NAMES = ["cat", "dog", "pet"]


def _png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def _labels(data):
    return [example["labels"].tolist() for example in data.take(range(4))]


@pytest.mark.parametrize(
    ("suffix", "texts", "expected"),
    [
        (".cls", ["2", " 0\n", "1", "1"], [[2], [0], [1], [1]]),
        (
            ".json",
            ['{"labels": ["pet", "cat"], "x": 1}', "[]", '"dog"', "[2, 1]"],
            [[0, 2], [], [1], [1, 2]],
        ),
        (".txt", ["pet; dog;pet", "", "dog\n", "cat"],
         [[1, 2], [], [1], [0]]),
    ],
)  # fmt: skip
def test_labels_are_numbers_lists_or_texts(
    suffix, texts, expected, save_tar, brightness, tmp_path
):
    for shard in (0, 1):
        members = [("dir", b"")]
        for i in (2 * shard, 2 * shard + 1):
            members += [
                (f"x/{i}.JPG" if i == 3 else f"x/{i}.png", _png(i)),
                (f"x/{i}{suffix}", texts[i].encode()),
                (f"x/{i}.seg.png", b"something else"),
                (f"x/._{i}.png", b"of another system"),
            ]
        save_tar(f"train-0{shard}.tar", members)
    data = load(
        f"{tmp_path}/{{split}}-{{00..01}}.tar",
        label_names=NAMES,
        label_suffix=suffix,
    )
    assert _labels(data) == expected
    assert [brightness(data[i]) for i in (3, 1, 0, 2)] == [3, 1, 0, 2]
    assert data.ids([3, 0]).tolist() == ["train-01/x/3", "train-00/x/0"]
    assert data.image_bytes(2) == _png(2)
    counts = [sum(row.count(i) for row in expected) for i in range(3)]
    assert data.info.class_counts.tolist() == counts
    assert data.info.max_labels == max(map(len, expected))


def _members(num=3):
    return [
        member
        for i in range(num)
        for member in ((f"{i}.png", _png(i)), (f"{i}.cls", b"%d" % i))
    ]


def test_what_macos_and_tools_put_into_a_tar_is_no_sample(save_tar):
    members = [("./x/0.png", _png(5)), ("./x/0.cls", b"0")]
    for other in ("__MACOSX/x/", "./__MACOSX/._x/", "x/@eaDir/", "x/.cache/"):
        members += [(f"{other}1.png", _png(6)), (f"{other}1.cls", b"1")]
    members += [("./x/._0.png", b"\0\5"), ("./x/._0.cls", b"\0\5")]
    data = load(save_tar("a.tar", members), label_names=["cat"])
    assert data.ids(range(len(data))).tolist() == ["a/./x/0"]


def test_classes_that_no_example_has_are_named(save_tar):
    # Numbers that count from 1 leave the first name out.
    members = [m for m in _members() if not m[0].startswith("0")]
    with pytest.warns(UserWarning, match="1 of 3 .* 'cat'.*count from 0"):
        load(save_tar("a.tar", members), label_names=NAMES)
    load(save_tar("b.tar", _members()), label_names=NAMES)


def test_one_label_an_image_on_request(save_tar):
    path = save_tar("a.tar", _members())
    data = load(path, label_names=NAMES, many=False)
    assert [int(data[i]["labels"]) for i in range(3)] == [0, 1, 2]
    assert np.ndim(data[0]["labels"]) == 0 and data.info.max_labels is None
    path = save_tar("b.tar", [("0.png", _png(0)), ("0.txt", b"cat;dog")])
    with pytest.raises(ValueError, match=r"one label.*2 for '0\.txt' of.*b\.t"):
        load(path, label_suffix=".txt", many=False)


def test_names_are_gathered_where_labels_are_texts(save_tar):
    members = [("0.png", _png(0)), ("0.txt", b"pet;cat")]
    data = load(save_tar("a.tar", members), label_suffix=".txt")
    assert data.info.label_names == ("cat", "pet")
    with pytest.raises(ValueError, match="`label_names` must be given"):
        load(save_tar("b.tar", _members()))


def test_tars_of_one_name_have_ids_of_their_own(save_tar, tmp_path):
    for folder in "xy":
        save_tar(f"{folder}/a.tar", _members())
    data = load(f"{tmp_path}/{{x,y}}/a.tar", label_names=NAMES)
    ids = data.ids(np.arange(6))
    assert len(set(ids.tolist())) == 6
    assert ids[3] == f"{tmp_path}/y/a.tar/0"


def test_a_bucket_is_a_folder_too(save_tar, tmp_path, brightness):
    content = save_tar("a.tar", _members()).read_bytes()
    pytest.importorskip("fsspec")
    files.write_bytes(f"memory:/{tmp_path}/a.tar", content)
    data = load(f"memory:/{tmp_path}/a.tar", label_names=NAMES)
    assert [brightness(data[i]) for i in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", b""), ("0.png", b"")], r"two of '0' in.*a\.tar"),
        ([("0.png", b""), ("0.jpg", b"")], "two of '0'.*the second '0.jpg'"),
        ([("0.png", b"")], r"'0' of '.*a\.tar' has no \.cls"),
        ([("0.cls", b"1")], "'0' of '.*' has no image"),
        ([("0.png", b""), ("0.cls", b"3")], r"0\.cls.*0\.\.2.*\['3'\]"),
        ([("0.png", b""), ("0.cls", b"-1")], r"0\.cls.*0\.\.2.*\['-1'\]"),
        ([("0.png", b""), ("0.cls", b"\xff")], r"'0\.cls' of.* is not UTF-8"),
        ([("notes", b"")], "must name tars with images"),
    ],
)
def test_faulty_members_are_named(members, message, save_tar):
    with pytest.raises(ValueError, match=message):
        load(save_tar("a.tar", members), label_names=NAMES)


@pytest.mark.parametrize(
    "text",
    [b"[[1]]", b"null", b'[{"id": 1}]', b"[null]", b"true", b"1.5",
     b"[1, 2.0]", b'{"x": 1}', b"[" * 100_000, b"1" * 5_000, b"", b"\xff"],
)  # fmt: skip
def test_labels_that_are_neither_texts_nor_numbers_are_named(text, save_tar):
    path = save_tar("a.tar", [("0.png", b""), ("0.json", text)])
    with pytest.raises(ValueError, match=r"^'0\.json' of '[^']*a\.tar'"):
        load(path, label_suffix=".json")


def test_a_tar_that_is_cut_anywhere_is_refused(save_tar):
    path = save_tar("a.tar", _members())
    content = path.read_bytes()
    # 512 a header and 512 a content, six times; then the mark of the end.
    for size in (0, 100, 512, 600, 1024, 3000, 4096, 6 * 1024):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"a\.tar' is .*cut short"):
            load(path, label_names=NAMES)


def test_damage_and_other_files_are_named(save_tar, tmp_path):
    path = save_tar("a.tar", _members())
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content))
    with pytest.raises(
        ValueError, match=r"a\.tar' is not a tar.*Uncompress it"
    ):
        load(path, label_names=NAMES)
    damaged = bytearray(content)
    damaged[2 * 1024 + 150] ^= 1  # The checksum of the third header.
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged at byte 2048"):
        load(path, label_names=NAMES)
    with pytest.raises(OSError, match="none"):
        load(tmp_path / "none.tar")


def test_a_damaged_image_is_skipped_within_the_limit(save_tar):
    members = _members()
    members[2] = ("1.png", _png(1)[:-30])
    data = load(save_tar("a.tar", members), label_names=NAMES)
    with pytest.raises(ValueError, match="'a/1' cannot be read as an image"):
        data[1]
    batches = jft.data.iterate(data, 3, tolerate=1)
    with pytest.warns(UserWarning, match="Skipped example 'a/1'"):
        (batch,) = batches
    assert batch["ids"].tolist() == ["a/0", "a/2"]


def test_braces_of_other_forms_are_refused():
    for pattern in ("{}", "{1..}", "{3..1}", "{a..c}"):
        with pytest.raises(ValueError, match=r"\{000\.\.010\}"):
            _expand(pattern)


def _tar(path, headers, **options):
    """A tar of `(TarInfo, content)`."""
    with tarfile.open(path, "w", **options) as tar:
        for header, content in headers:
            header.size = header.size or len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def test_samples_with_more_dots_are_left_out_and_named(save_tar):
    more = [("x/3.v2.jpg", _png(3)), ("x/3.v2.cls", b"1")]
    path = save_tar("a.tar", _members() + more)
    with pytest.warns(UserWarning, match=r"Left out 1 sample.*a\.tar/x/3\.v2"):
        data = load(path, label_names=NAMES)
    assert data.ids([0, 1, 2]).tolist() == ["a/0", "a/1", "a/2"]
    # A key of its own beside it hides it no more.
    path = save_tar("b.tar", [("x/3.jpg", _png(2)), ("x/3.cls", b"0"), *more])
    with pytest.warns(UserWarning, match=r"Left out 1 sample.*x/3\.v2"):
        assert len(load(path, label_names=["cat"])) == 1
    # Nor do two of one key count as one.
    more += [("x/3.v3.jpg", _png(3)), ("x/3.v3.cls", b"1")]
    with pytest.warns(UserWarning, match=r"Left out 2 samples"):
        load(save_tar("c.tar", _members() + more), label_names=NAMES)
    # An image more of a key is no sample.
    seg = [("0.seg.png", b"a mask"), ("0.0.json", b"{}")]
    assert (
        len(load(save_tar("d.tar", _members() + seg), label_names=NAMES)) == 3
    )


@pytest.mark.parametrize(
    "kind",
    [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
     tarfile.GNUTYPE_SPARSE],
)  # fmt: skip
@pytest.mark.parametrize("name", ["1.png", "1.cls"])
def test_members_that_are_no_plain_files_are_refused(tmp_path, kind, name):
    headers = [
        (tarfile.TarInfo("1.png"), _png(1)),
        (tarfile.TarInfo("1.cls"), b"1"),
    ]
    for i, (header, content) in enumerate(headers):
        if header.name == name:
            header.type, header.linkname = kind, "/etc/passwd"
            sparse = kind == tarfile.GNUTYPE_SPARSE
            headers[i] = header, content if sparse else b""
    path = _tar(tmp_path / "a.tar", headers, format=tarfile.GNU_FORMAT)
    with pytest.raises(ValueError, match=rf"plain files.*a\.tar.*'{name}'"):
        load(path, label_names=NAMES)


@pytest.mark.parametrize(
    "about",
    [
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"},
        {"GNU.sparse.size": "9", "GNU.sparse.numblocks": "0"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
         "GNU.sparse.name": "1.cls", "GNU.sparse.realsize": "9"},
    ],
)  # fmt: skip
def test_sparse_members_of_every_kind_are_refused(tmp_path, about):
    label = tarfile.TarInfo("1.cls")
    label.pax_headers = about
    headers = [(tarfile.TarInfo("1.png"), _png(1)), (label, b"0\n".ljust(512))]
    path = _tar(tmp_path / "a.tar", headers, format=tarfile.PAX_FORMAT)
    with pytest.raises(ValueError, match=r"'1\.cls', which is sparse"):
        load(path, label_names=NAMES)


@pytest.mark.parametrize("size", ["100000", "-512", "-1", "99999999999999"])
def test_a_second_header_does_not_make_a_member_longer(tmp_path, size):
    label = tarfile.TarInfo("1.cls")
    headers = [(tarfile.TarInfo("1.png"), _png(1)), (label, b"1")]
    _tar(
        tmp_path / "a.tar", headers, format=tarfile.PAX_FORMAT,
        pax_headers={"size": size},
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"a\.tar' is cut short or damaged"):
        load(tmp_path / "a.tar", label_names=NAMES)


def test_a_header_of_endless_names_is_refused(tmp_path):
    label = tarfile.TarInfo("1.cls")
    label.pax_headers = {"comment": "1" * 20_000}
    headers = [(tarfile.TarInfo("1.png"), _png(1)), (label, b"1")]
    _tar(tmp_path / "a.tar", headers, format=tarfile.PAX_FORMAT)
    with pytest.raises(ValueError, match=r"a\.tar' is cut short or damaged"):
        load(tmp_path / "a.tar", label_names=NAMES)


def test_a_number_is_the_name_where_names_are_numbers(save_tar):
    members = [("0.png", _png(0)), ("0.cls", b"3")]
    more = [("1.png", _png(0)), ("1.cls", b"5")]
    data = load(save_tar("a.tar", members + more), label_names=[5, 3])
    assert [data[i]["labels"].tolist() for i in range(2)] == [[1], [0]]
    assert data.info.label_names == ("5", "3")
    members[1] = ("0.cls", b"1")
    with pytest.raises(ValueError, match=r"'0\.cls'.*Received: \['1'\]"):
        load(save_tar("b.tar", members), label_names=[5, 3])


def test_tars_are_a_list_or_a_pattern_too(save_tar, tmp_path):
    paths = [save_tar(f"{i}-train.tar", _members()) for i in (1, 0)]
    named = [f"{i}-train/{k}" for i in (1, 0) for k in range(3)]
    data = load(paths, label_names=NAMES)
    assert data.ids(range(6)).tolist() == named
    assert load(paths[0], label_names=NAMES).ids([2]).tolist() == named[2:3]
    data = load(f"{tmp_path}/*-{{split}}.tar", label_names=NAMES)
    assert data.ids(range(6)).tolist() == named[3:] + named[:3]
    with pytest.raises(ValueError, match=r"must be a file '.*b\*\.tar'"):
        load(f"{tmp_path}/b*.tar", label_names=NAMES)
    with pytest.raises(ValueError, match="'val', which nothing in"):
        load(paths[0], "val", label_names=NAMES)
    with pytest.raises(ValueError, match="`urls` must be a list"):
        load({paths[0]}, label_names=NAMES)


def test_null_at_the_key_is_an_image_without_labels(save_tar):
    members = [
        ("0.png", _png(0)), ("0.json", b'{"labels": null}'),
        ("1.png", _png(1)), ("1.json", b'{"labels": "dog"}'),
    ]  # fmt: skip
    path = save_tar("a.tar", members)
    data = load(path, label_suffix=".json")
    assert [e["labels"].tolist() for e in data.take([0, 1])] == [[], [0]]
    with pytest.raises(ValueError, match=r"'0\.json' of .*\['labels'\].*_key"):
        load(path, label_suffix=".json", label_key="classes")
