"""Runs that Weights & Biases has exported: a CSV or JSON with all of them.

Three forms are read: the CSV that the button of the table of runs saves, the
CSV that the script in the documentation of its API makes, with the columns
`summary` and `config`, and the JSON of the same table.
"""

import ast
import csv as csv_lib
import pathlib

from keras_jft import text_files
from keras_jft.scaling.rows import csv
from keras_jft.scaling.rows.trackers import logs
from keras_jft.scaling.rows.trackers.run import TrackedRun, check_size, flat

_TABLE = {"Name", "State"}
_EXPORT = {"summary", "config"}
# Columns of the table that neither set a run up nor measure it.
_NOTES = {
    *("Name", "State", "Notes", "User", "Created", "Updated", "End Time"),
    *("ID", "Hostname", "Sweep", "Description", "Commit", "GitHub"),
}
# Ends of the columns of an exported chart.
_CHART = ("__MIN", "__MAX")


def matches(path: pathlib.Path) -> bool:
    """Return whether a file is an export, or a record that is none."""
    if path.suffix == ".wandb":
        return True
    if path.suffix.lower() == ".json":
        return path.stat().st_size < 2**31 and all(
            f'"{n}"'.encode() in path.read_bytes() for n in _EXPORT
        )
    names = {*logs.header(path)}
    return (
        names >= _TABLE
        or names >= _EXPORT
        or any(name.endswith(_CHART) for name in names)
    )


def read(paths):
    """Yield the `TrackedRun`s of all exports."""
    for path in paths:
        if path.suffix == ".wandb":
            raise ValueError(
                f"{str(path)!r} is a run in the own format of Weights & Biases."
                " Send it there by `wandb sync`, and export the table of runs "
                "as CSV."
            )
        check_size(path)
        if path.suffix.lower() == ".json":
            yield from _exported(path, _records(path))
        elif {*logs.header(path)} >= _EXPORT:
            yield from _exported(path, _cells(path))
        elif {*logs.header(path)} >= _TABLE:
            yield from _listed(path)
        else:
            raise ValueError(
                f"{str(path)!r} is a chart that Weights & Biases has exported, "
                "which does not say what the runs were set to. Export the "
                "table of runs as CSV."
            )


def _listed(path):
    for row in csv.read(path):
        settings = {
            name: value
            for name, value in row.items()
            if name not in _NOTES and value is not None
        }
        if isinstance(settings.get("Runtime"), (int, float)):
            settings.setdefault("wall_seconds", settings.pop("Runtime"))
        yield _run(row["Name"], settings, row["State"], path)


def _exported(path, records):
    for number, record in enumerate(records, 1):
        config, summary = (
            _object(path, number, name, record.get(name))
            for name in ("config", "summary")
        )
        settings = {
            **flat(_unwrapped(config)),
            **flat({k: v for k, v in summary.items() if k[:1] != "_"}),
        }
        if isinstance(summary.get("_runtime"), (int, float)):
            settings.setdefault("wall_seconds", summary["_runtime"])
        name = record.get("name", f"number {number}")
        yield _run(name, settings, record.get("state"), path)


def _run(name, settings, state, path):
    is_done = state in (None, "finished", "Finished")
    fault = None if is_done else f"W&B: {state}"
    return TrackedRun(str(name), settings, (), fault, f"run {name} in {path}")


def _unwrapped(config):
    """Return a config without the descriptions of old versions."""
    return {
        name: value["value"]
        if isinstance(value, dict) and value.keys() == {"desc", "value"}
        else value
        for name, value in config.items()
        if name[:1] != "_"
    }


def _cells(path):
    """Yield the lines of a CSV as dicts, cells as text."""
    lines = text_files.read_csv(path)
    try:
        _, names = next(lines)
        for _, cells in lines:
            yield dict(zip(names, cells, strict=True))
    except (csv_lib.Error, ValueError) as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


def _records(path):
    """Return the runs of a JSON file: a list, or columns by number."""
    found = text_files.parse_json(path.read_bytes(), repr(str(path)))
    if isinstance(found, dict):
        columns = [k for k, v in found.items() if isinstance(v, dict)]
        if (
            found.keys() >= _EXPORT
            and {*columns} >= _EXPORT
            and all(isinstance(v, dict) for v in found["config"].values())
        ):
            numbers = found["config"]
            found = [{k: found[k].get(n) for k in columns} for n in numbers]
        else:
            found = [found]
    if not isinstance(found, list) or not all(
        isinstance(record, dict) for record in found
    ):
        raise ValueError(
            f"{str(path)!r}: expected a list of runs, each with `config` and "
            "`summary`."
        )
    return found


def _object(path, number, name, value):
    """Return an object that a cell may hold as text of JSON or Python."""
    if isinstance(value, str):
        try:
            value = text_files.parse_json(value, name)
        except ValueError:
            try:
                # As pandas writes a dict; nan is not a literal.
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                value = None
    if not isinstance(value, dict):
        raise ValueError(
            f"{str(path)!r}, run {number}: `{name}` must be an object. "
            f"Received: {text_files.short(value)}."
        )
    return value
