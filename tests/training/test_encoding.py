"""Objects as bytes: whole, by name only, and nothing that bytes say is run."""

import functools
import json
import os
import pathlib
import random
import subprocess
import sys
import types

import numpy as np
import pytest

from keras_jft import data
from keras_jft.data import transforms
from keras_jft.training import encoding


def _again(thing):
    return encoding.decode(encoding.encode(thing))


def _assert_same(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            _assert_same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            _assert_same(one, other)
    elif isinstance(wanted, (np.ndarray, np.generic)):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


BATCH = {
    "images": np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3),
    "labels": np.array([[3, -1], [0, 2]], "int32"),
    "bounding_boxes": {
        "boxes": np.zeros((2, 0, 4), "float32"),
        "labels": np.zeros((2, 0), "int32"),
        "ignored": np.zeros((2, 0), bool),
    },
    "keypoints": np.full((2, 1, 3), np.nan, "float32"),
    "segmentation_masks": np.full((2, 4, 4, 1), 255, "uint8")[:, ::-1],
    "ids": np.array([b"a", "ö.jpg".encode()], "S8"),
    "originals": [{"ids": "ö.jpg"}, {"ids": "f\udcff.jpg"}],
}


@pytest.mark.parametrize(
    "thing",
    [
        None,
        True,
        -(2**70),
        0.1,
        float("inf"),
        "Katze \0 猫 \udcff",
        b"\0\xff",
        b"",
        (),
        [(), [[]], {}],
        {1: "a", "1": "b", (2, None): b"c"},
        {3, 1},
        frozenset("ab"),
        range(7, 1, -2),
        pathlib.Path("a/ö"),
        np.array(["猫", ""]),
        np.array([["a", 1], [None, (2,)]], object),
        np.array(3.5),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.array(["2020-01-02"], "datetime64[D]"),
        np.zeros((0, 3)),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        int,
        BATCH,
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_goes_in_comes_out(thing):
    _assert_same(_again(thing), thing)


def test_arrays_are_copies_that_can_be_written_to():
    encoded = encoding.encode(np.zeros(3))
    encoding.decode(encoded)[:] = 1
    assert not encoding.decode(encoded).any()


def test_what_is_shared_stays_shared_and_circles_stay_closed():
    names, circle = ["a"], {}
    circle["self"] = circle
    found, other, round_about = _again((names, names, circle))
    assert found is other
    assert round_about["self"] is round_about


def test_many_references_to_one_array_take_its_bytes_once():
    array = np.zeros(10_000)
    assert len(encoding.encode([array] * 50)) < 1.1 * array.nbytes


def test_objects_of_data_come_with_their_state():
    crop = _again(transforms.RandomCrop(image_size=(5, 7)))
    assert crop == transforms.RandomCrop(image_size=(5, 7))
    labels = functools.partial(data.batch.check_batch, num_classes=3)
    assert _again(labels).keywords == {"num_classes": 3}
    assert _again(["a", "b"].__getitem__)(1) == "b"
    assert _again(np.array([5, 6]).__getitem__)(1) == 6


def test_batches_read_the_same_after_the_journey(tmp_path):
    source = data.load("synthetic", num_examples=24, wrong_labels=0.2)
    source = data.cache(data.subset(source, 16), tmp_path)
    batches = data.iterate(
        data.with_labels(source, range(100)),
        4,
        transforms="modern",
        training=True,
        mixup=0.2,
    )
    again = _again(batches)
    assert again.identity == batches.identity
    _assert_same(again.batch(6), batches.batch(6))


# === What may be named ===


@encoding.sendable
class Marked:
    """A transform of a user's module."""

    def __init__(self, by):
        self.by = by


@encoding.sendable
def marked(example, rng):
    """A function of a user's module."""


class Unmarked(Marked):
    """Not of the data, nor of the script, nor marked."""


def test_what_is_marked_can_be_sent():
    assert _again(Marked(3)).by == 3
    assert _again(marked) is marked
    with pytest.raises(ValueError, match="top level of a module.*<lambda>"):
        encoding.sendable(lambda example, rng: example)


class _OwnWay:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    "thing",
    [
        Unmarked(1),
        os.remove,
        subprocess.run,
        eval,
        lambda: 1,
        Marked(1).__init__,
        random.Random(0),
        sys,
        pathlib.PurePath,
        np.ufunc,
        object(),
        Marked(Unmarked(1)),
        functools.partial(os.remove, "x"),
        type("Texts", (dict,), {})(),
    ],
    ids=lambda thing: type(thing).__name__,  # An address differs by process.
)
def test_what_has_no_name_is_refused(thing):
    with pytest.raises(ValueError, match=r"sendable.*in a list in the object"):
        encoding.encode([thing])


def test_objects_that_pickle_their_own_way_are_refused():
    with pytest.raises(ValueError, match=r"state of an object.*_OwnWay"):
        encoding.encode(encoding.sendable(_OwnWay)())


@pytest.mark.parametrize("array", [np.zeros(2, "V3"), np.zeros(2, "i4,f4")])
def test_arrays_without_numbers_are_refused(array):
    with pytest.raises(ValueError, match=r"numbers or text.*'x' of the object"):
        encoding.encode({"x": array})


def test_a_script_may_name_its_own_and_not_what_it_imports(monkeypatch):
    script = types.ModuleType("__main__")
    code = "from os import remove\nimport os\nclass Blur:\n  pass"
    exec(code, script.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert type(_again(script.Blur())) is script.Blur
    for name in ("remove", "os.remove", "Blur.__init__.__globals__", "Blut"):
        with pytest.raises(ValueError, match="may not be sent"):
            encoding.decode(_bytes(["name", f"__main__:{name}"]))


# === Bytes from anywhere ===


def _bytes(tree, rest=b""):
    header = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return encoding.MAGIC + len(header).to_bytes(8, "little") + header + rest


def test_the_bytes_are_as_documented():
    rest = np.array([1, 2], "<i2").tobytes()
    tree = ["dict", ["a", ["tuple", 1, ["array", "<i2", [2]]]]]
    _assert_same(
        encoding.decode(_bytes(tree, rest)),
        {"a": (1, np.array([1, 2], "<i2"))},
    )


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "builtins:exec",
        "builtins:object",
        "subprocess:Popen",
        "keras_jft.training.distribution.launch:launch",
        "keras_jft.database:x",
        "keras_jft.data.pipeline:os.system",
        "keras_jft.data.pipeline:functools.partial",
        "keras_jft.data.pipeline:Batches.batch.__globals__",
        "keras_jft.data.no_such_module:x",
        "keras_jft.data.:x",
        "this:s",
        "__main__:",
        "",
        3,
        None,
    ],
)
def test_nothing_else_can_be_named(name):
    sys.modules.pop("this", None)
    for tree in (["name", name], ["object", name, None]):
        with pytest.raises(ValueError):
            encoding.decode(_bytes(tree))
    assert "this" not in sys.modules


def test_a_pickle_is_not_unpickled(tmp_path):
    import pickle

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    evil = pickle.dumps(Attack())
    for sent in (evil, _bytes(evil), _bytes(["bytes", len(evil)], evil)[:-1]):
        with pytest.raises(ValueError):
            encoding.decode(sent)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("tree", "rest"),
    [
        (["array", "|O", [1]], bytes(8)),
        (["array", "|V0", [2**40]], b""),
        (["array", "|S0", [2**40]], b""),
        (["array", "<f8", [2**62, 4]], b""),
        (["array", "<f8", [-1]], b""),
        (["array", "<f8", [True]], bytes(8)),
        (["array", "<f8", "1"], bytes(8)),
        (["array", "<f8", [2]], bytes(8)),
        (["array", "<f8", [1]], bytes(9)),
        (["array", "nonsense", [1]], bytes(8)),
        (["array", "<i4,<f4", [1]], bytes(8)),
        (["bytes", 1.0], b"1"),
        (["bytes", -1], b"1"),
        (["objects", [3], 1, 2], b""),
        (["objects", [2**62, 2**62], 1], b""),
        (["set", ["list"]], b""),
        (["dict", [["list"], 1]], b""),
        (["dict", "abc"], b""),
        (["range", 1, 2, 0], b""),
        (["range", 1, 2, 3, 4], b""),
        (["path", 3], b""),
        (["again", 0], b""),
        (["tuple", ["again", 0]], b""),
        (["getter", 3], b""),
        (["partial", 3, ["tuple"], ["dict"]], b""),
        (["partial", ["name", "builtins:int"], 3, ["dict"]], b""),
        (["object", "keras_jft.data.pipeline:Examples", None], b""),
        (["object", "keras_jft.data.pipeline:Examples", 3], b""),
        (["object", "keras_jft.data.pipeline:Batches", "state"], b""),
        (["object", "keras_jft.data.transforms.presets:TRANSFORMS", None], b""),
        (["none"], b""),
        ([["list"]], b""),
        ([], b""),
        ({}, b""),
        (b"[1", b""),
        (b"\xff", b""),
        (b"[" * 100_000, b""),
        (b'["list",' * 50_000 + b"1" + b"]" * 50_000, b""),
        (b"9" * 10_000, b""),
        (1, b"more"),
    ],
)
def test_bytes_that_lie_are_errors(tree, rest):
    with pytest.raises(ValueError):
        encoding.decode(_bytes(tree, rest))


@pytest.mark.parametrize(
    "encoded",
    [b"", encoding.MAGIC, b"PK\3\4" + bytes(50), _bytes([])[:-1]],
)
def test_bytes_without_a_whole_header_are_errors(encoded):
    with pytest.raises(ValueError, match="same version of keras_jft"):
        encoding.decode(encoded)


def test_damaged_bytes_give_the_documented_error_alone():
    batches = data.iterate(data.load("synthetic", num_examples=8), 4)
    originals = [encoding.encode(thing) for thing in (batches, BATCH)]
    rng = random.Random(0)
    refused = 0
    for _ in range(400):
        mutated = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(len(mutated))
            if rng.random() < 0.3:
                del mutated[place : place + rng.randint(1, 40)]
            elif rng.random() < 0.5:
                mutated[place:place] = rng.randbytes(rng.randint(1, 8))
            else:  # Mostly of the header, as that is what is read.
                mutated[place % 3000] = rng.choice(b'0123456789[]",{}x\0\xff')
        try:
            encoding.decode(bytes(mutated))
        except ValueError:
            refused += 1
    assert refused > 200
