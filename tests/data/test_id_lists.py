"""Subsets are written as lines and read back, the same on every machine."""

import hashlib
import json
import os

import numpy as np
import pytest

from keras_jft import data as jft_data
from keras_jft.data import subsets

NAMES = [f"{i * 7919 % 101}.jpg" for i in range(101)]


def _ids(data):
    return np.asarray(data.ids(np.arange(len(data)))).tolist()


def _hash(seed, name):
    """SplitMix64, in Python's integers, of a seed and a text."""

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    golden = 0x9E3779B97F4A7C15
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "little")
    return mix((mix((seed + golden) % 2**64) + key * golden) % 2**64)


@pytest.mark.ops
def test_the_file_is_the_same_on_every_backend_and_source_order(
    make_data, tmp_path
):
    data = make_data(101, ids=NAMES)
    labels = {e["ids"]: e["labels"].tolist() for e in data.examples}
    expected = [
        {"id": name, "labels": ["abcdefghi"[k] for k in labels[name]]}
        for name in sorted(NAMES, key=lambda name: _hash(5, name))
    ]
    texts = []
    for size, examples in (
        (40, data.examples),
        (40, data.examples[::-1]),
        (7, data.examples[50:] + data.examples[:50]),
    ):
        data.examples = examples
        path = tmp_path / "new" / "subset.jsonl"
        jft_data.write_ids(jft_data.subset(data, size, seed=5), path)
        lines = path.read_text().splitlines()
        assert [json.loads(line) for line in lines] == expected[:size]
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]
    assert texts[0].startswith(texts[2]), "the smaller is inside the larger"


@pytest.mark.parametrize("kind", ["integers", "strings"])
def test_what_was_written_is_selected_again(make_data, tmp_path, kind):
    data = make_data(101, ids=NAMES if kind == "strings" else None)
    chosen = jft_data.subset(data, 30, seed=1)
    path = tmp_path / "subset.jsonl"
    jft_data.write_ids(chosen, path)
    data.examples.reverse()
    again = jft_data.select(data, path)
    assert _ids(again) == jft_data.read_ids(path).tolist()
    assert len(again) == len(again.info.label_names) + 21 == 30
    small = jft_data.select(data, path, 8)
    assert _ids(small) == _ids(again)[:8]
    assert [e["ids"] for e in small.take([3, 0])] == _ids(again)[3::-3]
    assert "images" not in small.annotations([0])[0]


def test_examples_are_selected_by_a_list_of_ids(make_data):
    data = make_data(101, ids=NAMES)
    wanted = [NAMES[60], NAMES[3], NAMES[100]]
    assert _ids(jft_data.select(data, wanted)) == wanted
    assert _ids(jft_data.select(data, np.array(wanted), 2)) == wanted[:2]
    for ids, message in (
        (["x.jpg", NAMES[0]], r"1 of 2 that are not: \['x.jpg'\]"),
        ([4], "1 of 1 that are not"),
        ([], "at least one example. Received none"),
        ([NAMES[0], NAMES[0]], "Received 2, of which 1 differ"),
    ):
        with pytest.raises(ValueError, match=message):
            jft_data.select(data, ids)


# Five images lack classes.
@pytest.mark.filterwarnings("ignore:.*occurs? in no row")
def test_the_file_is_a_manifest_of_images(tmp_path, make_data):
    from PIL import Image

    data = make_data(5, ids=[f"{i}.png" for i in range(5)])
    for example in data.examples:
        Image.fromarray(example["images"]).save(tmp_path / example["ids"])
    jft_data.write_ids(data, tmp_path / "all.jsonl")
    again = jft_data.load(
        "manifest", path=tmp_path / "all.jsonl", image_column="id",
        label_names=data.info.label_names,
    )  # fmt: skip
    for example, other in zip(data.examples, again.take(range(5)), strict=True):
        np.testing.assert_array_equal(example["images"], other["images"])
        assert sorted(example["labels"]) == other["labels"].tolist()


def test_data_without_labels_have_ids_alone(listed, tmp_path):
    image = np.zeros((1, 1, 3), "uint8")
    data = listed([{"images": image, "ids": np.int64(i)} for i in (4, 2)])
    jft_data.write_ids(data, tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == '{"id": 4}\n{"id": 2}\n'


def test_a_file_appears_whole_or_not_at_all(make_data, tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    with pytest.raises(ValueError, match=r"end in \.jsonl"):
        jft_data.write_ids(make_data(3), tmp_path / "a.csv")
    data = make_data(25)
    data.unreadable = {17}
    monkeypatch.setattr(subsets, "_READ", 10)
    with pytest.raises(ValueError, match="17 is damaged"):
        jft_data.write_ids(data, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "number", "message"),
    [
        ('{"id": "a"}', 3, "Received: 'a'"),
        ('{"id": 3}', 3, "Received: 3"),
        ('{"id": null}', 3, "Received: None"),
        ('{"id": "b', 3, "not JSON"),
        ('{"id": true}', 3, "Received: True"),
        ('{"id": 1.0}', 3, "Received: 1.0"),
        ('{"id": "\\ud800"}', 3, "Received: '.*d800"),
        ('{"id": ' + "1" * 5_000 + "}", 3, "4300 digits"),
        ("[" * 100_000, 3, "nested too deeply"),
        ("[]", 3, "Received: None"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tmp_path, line, number, message):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "a"}}\n{{"id": "c"}}\n{line}\n')
    with pytest.raises(ValueError, match=rf"line {number}[:,] .*{message}"):
        jft_data.read_ids(path)
    assert jft_data.read_ids(path, 2).tolist() == ["a", "c"]


def test_files_that_are_missing_or_too_short_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(ValueError, match=r"a\.jsonl'. Received none"):
        jft_data.read_ids(path)
    path.write_text("")
    with pytest.raises(ValueError, match="must have some ids"):
        jft_data.read_ids(path)
    path.write_text('{"id": 4}\n')
    with pytest.raises(ValueError, match="must have 2 ids. Received 1"):
        jft_data.read_ids(path, 2)


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a"}\r\n\r\n{"id": "b"}\r\n\r\n')
    assert jft_data.read_ids(path).tolist() == ["a", "b"]


def test_lists_in_other_formats_choose_too(make_data, tmp_path):
    data = make_data(101, ids=NAMES)
    (tmp_path / "a.txt").write_text(f"{NAMES[60]}\n\n {NAMES[3]}\n")
    (tmp_path / "a.json").write_text(json.dumps([NAMES[60], NAMES[3]]))
    for path in (tmp_path / "a.txt", tmp_path / "a.json"):
        assert _ids(jft_data.select(data, path)) == [NAMES[60], NAMES[3]]
        assert jft_data.read_ids(path, 1).tolist() == [NAMES[60]]
    (tmp_path / "a.json").write_text("[3, 4, 3]")
    with pytest.raises(ValueError, match="number 2: expected an id.*: 3"):
        jft_data.read_ids(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"ids": [3]}')
    with pytest.raises(ValueError, match="must hold a list of ids"):
        jft_data.read_ids(tmp_path / "a.json")


def test_names_of_files_that_are_not_utf_8_come_back(listed, tmp_path):
    image = np.zeros((1, 1, 3), "uint8")
    names = [os.fsdecode(b"\xff.png"), "é.png"]
    data = listed([{"images": image, "ids": name} for name in names])
    jft_data.write_ids(data, tmp_path / "a.jsonl")
    assert jft_data.read_ids(tmp_path / "a.jsonl").tolist() == names
