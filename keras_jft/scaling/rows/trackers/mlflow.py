"""Runs of MLflow, from its folder of files or its SQLite database."""

import contextlib
import math
import pathlib
import sqlite3
import urllib.parse

import yaml

from keras_jft import text_files
from keras_jft.scaling.rows.trackers.run import TrackedRun, flat

_MAGIC = b"SQLite format 3\0"
# Statuses, by the numbers that files have for them.
_STATUSES = {
    1: "RUNNING",
    2: "SCHEDULED",
    3: "FINISHED",
    4: "FAILED",
    5: "KILLED",
}
_TABLES = {"experiments", "runs", "params", "metrics"}


def matches(path: pathlib.Path) -> bool:
    """Return whether a file is the `meta.yaml` of a run, or SQLite."""
    if _is_folder(path):
        return b"run_id:" in path.read_bytes()[:100_000]
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read(paths):
    """Yield the `TrackedRun`s of files that match, in the order they began."""
    folders = [(path, _yaml(path)) for path in paths if _is_folder(path)]
    for path, about in sorted(
        folders, key=lambda f: str(f[1].get("start_time"))
    ):
        # Those that were deleted stay on disk.
        if about.get("lifecycle_stage", "active") == "active":
            yield _of_folder(path.parent, about)
    for path in paths:
        if not _is_folder(path):
            yield from _of_database(path)


def _is_folder(path):
    return path.name == "meta.yaml"


# === Files ===


def _of_folder(folder, about):
    """Return the run of a folder with its description."""
    above = folder.parent / "meta.yaml"
    experiment = _yaml(above).get("name") if above.is_file() else None
    settings = {
        name: text_files.read_text(file)
        for name, file in _named(folder / "params")
    }
    name = str(about.get("run_name") or folder.name)
    times = about.get("start_time"), about.get("end_time")
    status = about.get("status")
    return TrackedRun(
        name,
        _settings(settings, experiment, *times),
        _points(folder / "metrics"),
        _fault(_STATUSES.get(status, status)),
        f"run {name} in {folder}",
    )


def _named(folder):
    """Yield the name and the path of each file; names may have slashes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _points(folder):
    for name, path in _named(folder):
        for number, line in text_files.read_lines(path):
            try:
                _, value, step = map(float, (line + " 0").split()[:3])
            except ValueError:
                raise ValueError(
                    f"{str(path)!r}, line {number}: expected a time, a value "
                    f"and a step. Received: {line[:80]!r}."
                ) from None
            yield name, step, value


def _yaml(path):
    try:
        found = yaml.safe_load(text_files.read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{str(path)!r} is not the description of a run.")
    return found


# === SQLite ===


def _of_database(path):
    """Yield the runs of a database that were not deleted."""
    where = urllib.parse.quote(str(path.absolute()))
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{where}?mode=ro", uri=True)
        ) as database:
            yield from _selected(path, database)
    except sqlite3.Error as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as a database of MLflow: {error}. "
            "It may be cut short or damaged: copy it again."
        ) from None


def _selected(path, database):
    tables = {
        name
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        )
    }
    if not tables >= _TABLES:
        raise ValueError(
            f"{str(path)!r} is SQLite, but not a database of MLflow: it lacks "
            f"the tables {sorted(_TABLES - tables)}."
        )
    runs = database.execute(
        "SELECT run_uuid, runs.name, status, start_time, end_time, "
        "experiments.name FROM runs JOIN experiments USING (experiment_id) "
        "WHERE runs.lifecycle_stage = 'active' "
        "AND experiments.lifecycle_stage = 'active' ORDER BY start_time"
    ).fetchall()
    for run, name, status, start, end, experiment in runs:
        params = database.execute(
            "SELECT key, value FROM params WHERE run_uuid = ?", (run,)
        )
        # MLflow stores what is not a number as 0, and says so.
        points = database.execute(
            "SELECT key, step, CASE is_nan WHEN 1 THEN NULL ELSE value END "
            "FROM metrics WHERE run_uuid = ? ORDER BY step, timestamp",
            (run,),
        )
        yield TrackedRun(
            name or run,
            _settings(dict(params), experiment, start, end),
            [
                (k, s, v if isinstance(v, (int, float)) else math.nan)
                for k, s, v in points
            ],
            _fault(status),
            f"run {name or run} in {path}",
        )


# === Both ===


def _settings(params, experiment, start, end):
    found = flat(params)
    if experiment is not None:
        found.setdefault("experiment", str(experiment))
    if isinstance(start, int) and isinstance(end, int):  # Milliseconds.
        found.setdefault("wall_seconds", (end - start) / 1000)
    return found


def _fault(status):
    return None if status in (None, "FINISHED") else f"MLflow: {status}"
