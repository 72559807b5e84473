"""Logs of one training each: a line per epoch or per step.

Those of Lightning (`metrics.csv`), of Ultralytics (`results.csv`), of Keras's
`CSVLogger` (any name) and of Hugging Face's `Trainer` (`trainer_state.json`).
What the training was run with lies beside the log, where the tool writes it.
"""

import csv
import math
import pathlib

import yaml

from keras_jft import text_files
from keras_jft.scaling.rows import spreadsheet
from keras_jft.scaling.rows.trackers.run import (
    TrackedRun,
    check_size,
    flat,
)
from keras_jft.text import number_of

# Columns and keys that number the records, the finer one first.
_STEPS = ("step", "epoch")
_HUGGING_FACE = ("all_results.json", "train_results.json")


def header(path: pathlib.Path) -> list[str]:
    """Return the names of a CSV's columns; none of a file that is not a CSV."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return []
    with path.open("rb") as file:
        line = file.readline(100_000).decode("utf-8-sig", errors="replace")
    mark = max(",;\t", key=line.count)
    return [
        name.strip() for name in next(csv.reader([line], delimiter=mark), [])
    ]


def is_lightning(path: pathlib.Path) -> bool:
    """Return whether a CSV is the `metrics.csv` of Lightning."""
    return path.name == "metrics.csv" and {"epoch", "step"} <= {*header(path)}


def is_ultralytics(path: pathlib.Path) -> bool:
    """Return whether a CSV is the `results.csv` of Ultralytics."""
    names = header(path)
    return {"epoch", "step"} & {*names} == {"epoch"} and any(
        name.startswith("metrics/") for name in names
    )


def is_keras(path: pathlib.Path) -> bool:
    """Return whether a CSV begins like those of Keras's `CSVLogger`.

    That is `epoch`, other columns by the alphabet, and epochs from 0.
    """
    names = header(path)
    if (
        names[:1] != ["epoch"]
        or names[1:] != sorted(names[1:])
        or not names[1:]
    ):
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = [line for line, _ in zip(file, range(2), strict=False)]
    return len(lines) < 2 or lines[1].lstrip().startswith("0")


def is_hugging_face(path: pathlib.Path) -> bool:
    """Return whether a file is the state of a `Trainer`."""
    return path.name == "trainer_state.json"


def read_lightning(paths):
    """Yield a `TrackedRun` per `metrics.csv`."""
    for path in paths:
        yield _of_csv(path, path.parent.name, path.with_name("hparams.yaml"))


def read_ultralytics(paths):
    """Yield a `TrackedRun` per `results.csv`."""
    for path in paths:
        yield _of_csv(path, path.parent.name, path.with_name("args.yaml"))


def read_keras(paths):
    """Yield a `TrackedRun` per log of Keras."""
    for path in paths:
        yield _of_csv(path, path.stem)


def _of_csv(path, name, settings=None):
    check_size(path)
    names = header(path)
    step = next((n for n in _STEPS if n in names), None)
    points, place = [], 0.0
    for number, cells in _lines(path, names):
        place = _number(path, number, cells.pop(step, ""), place)
        points += [
            (key, place, _number(path, number, text, None))
            for key, text in cells.items()
            if text != ""
        ]
    found = _settings(settings) if settings and settings.is_file() else {}
    return TrackedRun(name, found, points, None, str(path))


def _lines(path, names):
    """Yield the number and the cells of each line below the header."""
    mark = max(",;\t", key=text_files.read_text(path).split("\n")[0].count)
    if mark == ",":
        lines = text_files.read_csv(path)
    else:
        rows = csv.reader(
            text_files.read_text(path).splitlines(), delimiter=mark
        )
        lines = enumerate(rows, 1)
    next(lines, None)
    for number, cells in lines:
        if len(cells) != len(names):
            raise ValueError(
                f"{str(path)!r}, line {number}: expected "
                f"{number_of(len(names), 'cell')}. "
                f"Received {len(cells)}. If the training was stopped within "
                "the line, delete it."
            )
        yield number, dict(zip(names, map(str.strip, cells), strict=True))


def _number(path, number, text, default):
    if text == "" and default is not None:
        return default
    if text.lower() in ("nan", "inf", "-inf"):
        return float(text)
    found = spreadsheet.number(text)
    if found is None:
        # A list, as CSVLogger writes arrays, is not a score.
        return math.nan
    return float(found)


def _settings(path):
    """Return the settings of a YAML file, those without a value left out."""
    check_size(path)
    try:
        found = yaml.load(text_files.read_text(path), _Plain)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}") from None
    return flat(found) if isinstance(found, dict) else {}


class _Plain(yaml.SafeLoader):
    """Loads YAML with values of any class, which Lightning writes, as None."""


_Plain.add_multi_constructor("", lambda *_: None)


def read_hugging_face(paths):
    """Yield a `TrackedRun` per training: of its states the latest.

    A state lies in each checkpoint, `checkpoint-500`, and beside them.
    """
    latest: dict = {}
    for path in paths:
        check_size(path)
        state = text_files.parse_json(path.read_bytes(), repr(str(path)))
        if not isinstance(state, dict) or not isinstance(
            state.get("log_history"), list
        ):
            raise ValueError(
                f"{str(path)!r} is not the state of a Trainer: it has no list "
                "`log_history`."
            )
        folder = path.parent
        if folder.name.startswith("checkpoint-"):
            folder = folder.parent
        step = _whole(state.get("global_step"), 0)
        if folder not in latest or step > latest[folder][0]:
            latest[folder] = step, state, path
    for folder, (_, state, path) in latest.items():
        settings = flat({k: v for k, v in state.items() if k != "log_history"})
        for name in _HUGGING_FACE:
            if (folder / name).is_file():
                more = text_files.parse_json(
                    (folder / name).read_bytes(), repr(str(folder / name))
                )
                settings |= flat(more if isinstance(more, dict) else {})
        yield TrackedRun(
            folder.name, settings, _history(path, state), None, str(path)
        )


def _history(path, state):
    for number, record in enumerate(state["log_history"], 1):
        if not isinstance(record, dict):
            raise ValueError(
                f"{str(path)!r}: record {number} of `log_history` is not an "
                "object."
            )
        step = _whole(record.get("step"), number)
        for name, value in record.items():
            if isinstance(value, (int, float)) and name not in _STEPS:
                yield name, step, float(value)


def _whole(value, default):
    return value if isinstance(value, int) else default
