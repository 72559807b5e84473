import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import resource

import numpy as np
import pytest

from keras_jft import scaling
from keras_jft.scaling.rows import rows


@dataclasses.dataclass(frozen=True)
class Inner:
    blocks: tuple[int, ...] = (3, 4)


@dataclasses.dataclass(frozen=True)
class Config:
    inner: Inner = Inner()
    folder: pathlib.Path = pathlib.Path("a/b")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "rows.jsonl"


def test_a_row_is_one_line_of_plain_json(path):
    rows.append(
        path,
        {
            "top1": np.float32(0.5),
            "num_examples": np.int64(300),
            "per_class": np.array([0.25, np.nan]),
            "loss": float("inf"),
            "config": Config(),
        },
    )
    # No reader of JSON stumbles over NaN or Infinity.
    (row,) = map(json.loads, path.read_text().splitlines())
    assert row == {
        "top1": 0.5,
        "num_examples": 300,
        "per_class": [0.25, None],
        "loss": None,
        "config": {"inner": {"blocks": [3, 4]}, "folder": "a/b"},
    }
    assert rows.read(path) == [row]


@pytest.mark.parametrize("row", [None, [1], "a", 3])
def test_a_row_is_a_dict(path, row):
    """A list would make a file that nobody can read."""
    with pytest.raises(ValueError, match="A row must be a dict"):
        rows.append(path, row)
    assert not path.exists()


def test_numbers_of_numpy_are_written_as_they_print(path):
    loss = np.float32([[0.1, 0.7], [np.inf, 3]])
    rows.append(path, {"top1": np.float32(0.03), "loss": loss, "n": loss[1, 1]})
    assert path.read_text() == (
        '{"top1": 0.03, "loss": [[0.1, 0.7], [null, 3.0]], "n": 3.0}\n'
    )


def test_a_row_that_json_cannot_hold_is_refused_and_nothing_is_written(path):
    with pytest.raises(ValueError, match="Received: set {1}"):
        rows.append(path, {"classes": {1}})
    with pytest.raises(ValueError, match="Received: dict"):
        rows.append(path, {1: 2})
    assert not path.exists()


def test_writers_at_the_same_time_neither_mix_nor_lose_rows(path):
    def write(writer):
        for i in range(25):
            rows.append(path, {"writer": writer, "i": i, "text": "x" * 3000})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    seen = [(row["writer"], row["i"]) for row in rows.read(path)]
    assert sorted(seen) == [(w, i) for w in range(8) for i in range(25)]


def test_a_line_torn_at_any_byte_is_reported_dropped_and_healed(path):
    rows.append(path, {"i": 0})
    whole = path.read_bytes()
    torn = b'{"i": 1, "text": "x"}'
    for cut in range(1, len(torn)):
        path.write_bytes(whole + torn[:cut])
        with pytest.warns(UserWarning, match=f"{path.name}.*cut off"):
            assert rows.read(path) == [{"i": 0}]
        with pytest.warns(UserWarning, match=f"{path.name}.*cut off"):
            rows.append(path, {"i": 2})
        assert rows.read(path) == [{"i": 0}, {"i": 2}]


def test_a_whole_row_without_a_line_end_is_kept(path):
    rows.append(path, {"i": 0})
    path.write_bytes(path.read_bytes().rstrip())
    assert rows.read(path) == [{"i": 0}]
    rows.append(path, {"i": 1})
    assert rows.read(path) == [{"i": 0}, {"i": 1}]


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", "7", "not json", "[" * 100_000, '{"i": 1, "i": 2}',
     f'{{"i": {"1" * 5_000}}}'],
)  # fmt: skip
def test_a_bad_line_inside_is_an_error_that_names_it(path, line):
    path.parent.mkdir()
    path.write_text(f'{{"i": 0}}\n{line}\n{{"i": 1}}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: expected one"):
        rows.read(path)


@pytest.mark.parametrize("name", ["key", "seed", "task", "mode", "split"])
@pytest.mark.parametrize("value", ["[1]", '{"a": 1}', "[]"])
def test_what_tells_runs_apart_is_a_single_value(path, name, value):
    path.parent.mkdir()
    path.write_text(f'{{"i": 0}}\n{{"{name}": {value}}}\n')
    with pytest.raises(ValueError, match=f"jsonl, line 2: `{name}` must be"):
        rows.read(path)
    # Other columns may hold what they like.
    path.write_text(f'{{"iou_by_class": {value}}}\n')
    assert len(rows.read(path)) == 1


JSON_LINES = b"".join(
    b'{"num_examples": %d, "seed": %d, "score": %.3f, "task": "cats", '
    b'"mode": "frozen", "key": "%d", "config": {"blocks": [1, 2]}, '
    b'"wall_seconds": 3.5, "cpu": "x", "error": null}\n'
    % (10**k, seed, 0.1 * k + 0.01 * seed, 10 * k + seed)
    for k in range(1, 6)
    for seed in (0, 1)
)
CSV = b"num_examples,score,seed,mode,wall_seconds\n" + b"".join(
    b'%d,%.3f,%d,"frozen, b",2.5\n' % (10**k, 0.1 * k + 0.01 * seed, seed)
    for k in range(1, 6)
    for seed in (0, 1)
)
PIECES = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
    ),
    *(b"\xff", b"\0", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-7"),
    *(b"1" * 400, b"1" * 5000, b"[[]]", b"0", b'"a"', b"\xe2\x80\xa8", b"{}"),
]


def mutated(content, rng):
    """Some bytes replaced, dropped, doubled or put in."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(content) + 1))
        until = at + int(rng.integers(0, 30))
        piece = PIECES[rng.integers(len(PIECES))]
        kind = rng.integers(4)
        if kind == 0:
            content[at:until] = piece
        elif kind == 1:
            content[at:at] = piece
        elif kind == 2:
            content[at:at] = content[at:until]
        else:
            del content[at : at + int(rng.integers(0, 300))]
    return bytes(content)


@pytest.mark.filterwarnings("ignore:.*(cut off|no line end)")
@pytest.mark.parametrize(
    ("name", "content"), [("rows.jsonl", JSON_LINES), ("scores.csv", CSV)]
)
def test_a_damaged_file_gives_rows_or_an_error_that_names_it(
    tmp_path, name, content, rng
):
    file, read = tmp_path / name, 0
    for _ in range(400):
        file.write_bytes(mutated(content, rng))
        try:
            found = rows.read(file)
        except ValueError as error:
            assert name in str(error), error
            continue
        assert all(isinstance(row, dict) for row in found)
        read += 1
        if read % 4 == 0:  # A forecast takes a while.
            with contextlib.suppress(ValueError):
                str(scaling.forecasts(found))
    assert 20 < read < 380


def test_one_list_of_rows_is_read_as_pandas_writes_it(path):
    path.parent.mkdir()
    path.write_text('[{"num_examples": 300, "top1": 0.5},\n {"seed": 1}]')
    assert rows.read(path) == [{"num_examples": 300, "top1": 0.5}, {"seed": 1}]
    path.write_text('[{"seed": 1}, 5]')
    with pytest.raises(ValueError, match="row 2: expected a JSON object"):
        rows.read(path)


def test_a_byte_order_mark_and_blank_lines_are_passed_over(path):
    path.parent.mkdir()
    path.write_bytes(b'\xef\xbb\xbf{"i": 0}\r\n\r\n{"i": 1}\r\n\r\n')
    assert rows.read(path) == [{"i": 0}, {"i": 1}]


def test_a_full_disk_leaves_the_file_as_it_was(path):
    rows.append(path, {"i": 0})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # Room for a part of the next line alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        with pytest.raises(OSError, match="only part of a row"):
            rows.append(path, {"i": 1, "text": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    rows.append(path, {"i": 2})
    assert rows.read(path) == [{"i": 0}, {"i": 2}]


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"rows\.jsonl"):
        rows.read(path)


def test_provenance_says_what_ran_where_and_when():
    row = rows.provenance()
    assert row["version_numpy"] == np.__version__
    assert row["cores"] >= 1
    assert row["cpu"]
    assert row["time"].endswith("+00:00")
    assert rows.to_json(row) == row


@pytest.mark.parametrize(
    "content",
    [
        '[{"n": 300, "top1": 0.5},{"n": 1000, "top1": 0.6}]',
        '[{"n": 300, "top1": 0.5},\n {"n": 1000, "top1": 0.6}]\n',
        '{\n "n": 300\n}',
        "shopping: milk",
        "shopping\nmilk",
        "n,top1\n300,0.5\n",
    ],
)
def test_a_file_that_is_not_json_lines_takes_no_row_and_is_left(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match=r"rows.jsonl must be JSON lines"):
        rows.append(path, {"n": 3000, "top1": 0.7})
    assert path.read_text() == content
    # A study says so before it runs anything.
    with pytest.raises(ValueError, match=r"rows.jsonl must be JSON lines"):
        scaling.Study([Config()], path, run=lambda config: {"top1": 0.5})
    assert path.read_text() == content


def test_text_alone_is_no_row_that_was_cut_off(path):
    path.parent.mkdir()
    path.write_text("shopping: milk")
    with pytest.raises(ValueError, match="line 1: expected one JSON object"):
        rows.read(path)


def test_zeros_that_a_power_cut_leaves_after_rows_are_healed(path):
    rows.append(path, {"i": 0})
    path.write_bytes(path.read_bytes() + bytes(5))
    with pytest.warns(UserWarning, match="cut off"):
        rows.append(path, {"i": 1})
    assert rows.read(path) == [{"i": 0}, {"i": 1}]
