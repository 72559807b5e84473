"""Open Images' CSV files are read as the csv module reads them."""

import csv

import numpy as np
import pytest

from keras_jft.data.datasets import open_images as files

KEYS = [f"/m/{i}" for i in range(6)]
HEADER = "ImageID,Source,LabelName,Confidence\n"


@pytest.fixture
def save(tmp_path):
    def write(text, name="a.csv", header=HEADER):
        path = tmp_path / name
        path.write_text(header + text, encoding="utf-8")
        return path

    return write


def _reader(**options):
    options = {"threshold": 0.5, "unknown": None, **options}
    return files._LabelReader(
        KEYS, options.pop("kept", None), options.pop("sources", None), **options
    )


def _by_hand(paths, kept, sources, threshold, unknown):
    """`({id}, {(id, label): state})`, row by row."""
    seen, found = set(), {}
    for path in paths:
        with open(path, newline="") as lines:
            for row in csv.DictReader(lines):
                if sources and row["Source"] not in sources:
                    continue
                seen.add(row["ImageID"])
                confidence = float(row["Confidence"])
                if row["LabelName"] not in kept:
                    continue
                machine = row["Source"] == "machine"
                if machine and confidence < unknown:
                    continue
                present = confidence >= threshold
                state = {
                    (True, True): 1, (True, False): 0,
                    (False, True): 3, (False, False): 2,
                }[machine, present]  # fmt: skip
                pair = row["ImageID"], KEYS.index(row["LabelName"])
                found[pair] = max(found.get(pair, 0), state)
    return seen, found


@pytest.mark.parametrize(
    ("kept", "sources", "unknown"),
    [
        (KEYS, None, 0.5),
        (KEYS, ["machine"], 0.2),
        (KEYS[1:4], ["verification", "machine"], 0.3),
    ],
)
def test_rows_are_those_of_the_csv_module(
    save, rng, kept, sources, unknown, monkeypatch
):
    monkeypatch.setattr(files, "_BLOCK", 4000)  # Several blocks a file.
    paths = []
    for number in range(2):
        kinds = rng.choice(
            ["verification", "crowdsource-verification", "machine"], 900
        )
        text = "".join(
            f"{rng.integers(300):0{8 + number}x},{kind},"
            f"{KEYS[rng.integers(6)]},"
            f"{rng.random() if kind == 'machine' else rng.integers(2):.3g}\n"
            for kind in kinds
        )
        paths.append(save(text, f"{number}.csv"))
    reader = _reader(kept=kept, sources=sources, unknown=unknown)
    for path in paths:
        reader.add(path)
    ids, images, labels, states = reader.result()
    seen, expected = _by_hand(paths, kept, sources, 0.5, unknown)
    names = [name.decode() for name in ids]
    assert names == sorted(seen)
    found = [
        ((names[image], label), state)
        for image, label, state in zip(
            images, labels.tolist(), states, strict=True
        )
    ]
    assert found == sorted(expected.items())
    assert reader.seen_sources == {
        "verification", "crowdsource-verification", "machine",
    }  # fmt: skip


def test_extra_columns_and_another_order_are_read(save):
    path = save(
        "1,0.25,/m/2,x,machine\n",
        header="Rotation,Confidence,LabelName,ImageID,Source\n",
    )
    reader = _reader(unknown=0.0)
    reader.add(path)
    ids, images, labels, states = reader.result()
    assert (ids.tolist(), images.tolist()) == ([b"x"], [0])
    assert (labels.tolist(), states.tolist()) == ([2], [files._UNKNOWN])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "b,machine,/m/9,1",
            "column LabelName: expected one of the 6 lab.*m/9",
        ),
        ("b,machine,,1", "column LabelName"),
        (",machine,/m/1,1", "column ImageID: expected an id"),
        ("b,machine,/m/1,1.01", r"column Confidence.*0\.\.1.*1\.01"),
        ("b,machine,/m/1,-0.1", "column Confidence"),
        ("b,machine,/m/1,nan", "column Confidence"),
        ("b,machine,/m/1,inf", "column Confidence"),
        ("b,machine,/m/1,", "column Confidence.*None"),
    ],
)
def test_a_row_that_cannot_be_right_is_named_or_left_out(save, row, message):
    good = "a,verification,/m/1,1\n"
    path = save(good * 3 + row + "\n" + good * 2 + "c,machine,/m/0,0.75\n")
    with pytest.raises(ValueError, match=rf"a\.csv', line 5, {message}"):
        _reader().add(path)
    reader = _reader(on_error="drop")
    reader.add(path)
    with pytest.warns(UserWarning, match=r"Left out 1 row.*a\.csv', line 5"):
        reader.warn()
    assert reader.result()[0].tolist() == [b"a", b"c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Empty CSV"),
        ("ImageID,Source,LabelName\na,b,/m/1\n", "'Confidence'"),
        (HEADER + "a,machine,/m/1,1\na,machine\n", "Row #3: Expected 4"),
        (HEADER + "a,machine,/m/1,much\n", "Row #2: .*much"),
        (b"\xff\xfe\x00\x00" * 9, "must be a CSV"),
    ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"a\.csv' must be a CSV.*{message}|"
                       rf"a\.csv' {message}"):  # fmt: skip
        _reader().add(path)


def test_no_rows_are_no_images(save):
    reader = _reader()
    reader.add(save(""))
    assert [len(column) for column in reader.result()] == [0] * 4


def test_descriptions_are_read_with_and_without_a_header(tmp_path):
    path = tmp_path / "classes.csv"
    lines = '/m/0,Dog\n/m/1,"Crane, bird"\n/m/2,Dog\n'
    expected = {"/m/0": "Dog (/m/0)", "/m/1": "Crane, bird",
                "/m/2": "Dog (/m/2)"}  # fmt: skip
    names = "LabelName,DisplayName\n"
    for header in ("", names, "\ufeff" + names):
        path.write_text(header + lines, encoding="utf-8")
        assert files._read_descriptions(path) == expected
    for line in ("/m/0,Cat", "/m/3", "/m/3,", ",Cat", "/m/3,a,b"):
        path.write_text(lines + line + "\n")
        with pytest.raises(ValueError, match=r"classes\.csv', line 4"):
            files._read_descriptions(path)
    path.write_bytes(lines.encode() + b"/m/3,\xff\n")
    with pytest.raises(ValueError, match=r"classes\.csv', line 4"):
        files._read_descriptions(path)


def test_ids_of_any_letters_are_kept(save):
    reader = _reader()
    reader.add(save("ümlaut,machine,/m/1,1\nz,machine,/m/1,1\n"))
    ids = np.char.decode(reader.result()[0], "utf-8")
    assert ids.tolist() == ["z", "ümlaut"]
