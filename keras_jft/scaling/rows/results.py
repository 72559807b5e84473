"""The door for past results: find what a path holds, and read it as rows.

    found = find_results("mlruns")
    print(found)                        # what it is, in one line
    rows = found.rows(where={"arch": "resnet50"})

What a path holds is recognized by its files. If it may be two things, an error
names both and `kind` decides.
"""

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras_jft import checks, files
from keras_jft.scaling.rows import csv
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.rows.table import WITHIN_A_RUN
from keras_jft.scaling.rows.trackers import KINDS, logs
from keras_jft.scaling.rows.trackers.run import EPOCHS, row_of, setting
from keras_jft.scaling.rows.units import DIRECTIONS
from keras_jft.typing import PathLike

TABLE = "table"
_FIELD = re.compile(r"\{([^{}/]+)\}")
_MOST_FILES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of one kind at one path.

    Attributes:
        path: The path.
        kind: A name in `KINDS`, or `"table"`.
        files: Its files.
        fields: Columns that the path stands for, by the fields in its name.
    """

    path: pathlib.Path
    kind: str
    files: tuple[pathlib.Path, ...]
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Results:
    """Past results found at one or more paths. Prints as one line.

    Attributes:
        sources: A `Source` per path.
        x: The column of sizes.
    """

    sources: tuple[Source, ...]
    x: str = csv.SIZES

    def rows(
        self,
        y: str | None = None,
        *,
        epoch: str = "last",
        direction: str | None = None,
        seed: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the rows, a list of dicts, one per run.

        Args:
            y: The column of scores, which `epoch="best"` needs.
            epoch: Of trainings with a score per epoch: `"last"`, or `"best"`,
                of `y` the best value, and of all other columns the last.
            direction: `"max"` or `"min"`, for `epoch="best"`.
            seed: The column of seeds, renamed `seed`.
            where: `{column: value}` that rows must have to be returned.

        Raises:
            ValueError: A file is damaged or not what it seems to be; a run
                does not say its size; no row is as `where` says.
        """
        checks.one_of("epoch", epoch, EPOCHS)
        if epoch == "best":
            self._check_best(y, direction)
        found = []
        for source in self.sources:
            read = self._read(source, epoch, y, direction)
            found += [_with(row, source.fields) for row in read]
        if seed is not None:
            found = [_renamed(row, seed, "seed") for row in found]
        return _chosen(found, where or {})

    def _check_best(self, y, direction):
        if y is None or direction not in DIRECTIONS:
            raise ValueError(
                '`epoch` "best" needs the column of scores and which are '
                'better. Give `y`, and direction="min" or direction="max".'
            )
        plain = [
            source.path
            for source in self.sources
            if source.kind == TABLE or not KINDS[source.kind].has_steps
        ]
        if plain:
            raise ValueError(
                f'`epoch` "best" needs a score per epoch. Received: '
                f"{str(plain[0])!r}, with one row per run."
            )

    def _read(self, source, epoch, y, direction):
        """Return the rows of a source."""
        if source.kind == TABLE:
            (path,) = source.files
            return rows_lib.read(path, self.x)
        rows = []
        for run in KINDS[source.kind].read(source.files):
            row = row_of(run, epoch, y, direction)
            # Where a training ended does not tell it from others.
            for name in {*WITHIN_A_RUN} - {self.x}:
                row.pop(name, None)
            rows.append(row)
            if self.x not in row and self.x not in source.fields:
                raise ValueError(
                    f"{run.place} does not say its size, `{self.x}`. It has "
                    f"{sorted(map(str, row))}. Name one of them by `x`, "
                    "or put fields for what differs into the path, such as "
                    f"'logs/{{{self.x}}}-{{seed}}'."
                )
        if not rows:
            raise ValueError(
                f"{str(source.path)!r}: found no runs, or only deleted ones."
            )
        return rows

    def __str__(self) -> str:
        """Return the paths and what they are, in one line."""
        by_kind: dict = {}
        for source in self.sources:
            by_kind.setdefault(source.kind, []).append(source.path)
        return "; ".join(
            f"{paths[0]}{', ...' * (len(paths) > 1)} "
            f"({'a row per run' if kind == TABLE else KINDS[kind].said})"
            for kind, paths in by_kind.items()
        )


def find_results(
    paths: PathLike | Sequence[PathLike],
    *,
    x: str = csv.SIZES,
    kind: str | None = None,
) -> Results:
    """Return what is recorded at some paths.

    Args:
        paths: A path or several: a table (`*.csv` with a line per run, or the
            `*.jsonl` of a study), which may be a URL; the records of a tracker,
            a folder or a file (`KINDS`); or logs, a file per training. Fields
            in braces stand for columns: `logs/{num_examples}-{seed}.csv`.
        x: The column of sizes. A CSV without it that has epochs is the log of
            one training.
        kind: `"table"` or a name in `KINDS`, if it may be several.

    Raises:
        FileNotFoundError: There is nothing at a path.
        ValueError: It is nothing that is known, or may be several kinds.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for size in (300, 1_000):
        ...     text = f"epoch,accuracy\\n0,0.1\\n1,{size / 2_000}\\n"
        ...     _ = (folder / f"n{size}.csv").write_text(text)
        >>> found = find_results(folder / "n{num_examples}.csv")
        >>> [(row["num_examples"], row["accuracy"]) for row in found.rows()]
        [(300, 0.15), (1000, 0.5)]
    """
    if kind is not None:
        checks.one_of("kind", kind, (TABLE, *KINDS))
    sources = []
    if not isinstance(paths, (list, tuple)):
        files.check_path("path", paths, "rows.jsonl")
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        files.check_path("path", path, "rows.jsonl")
        for part, fields in _expanded(str(path)):
            sources.append(_source(part, fields, x, kind))
    return Results(tuple(sources), x)


def read_rows(
    path: PathLike | Sequence[PathLike],
    *,
    x: str = csv.SIZES,
    y: str | None = None,
    kind: str | None = None,
    epoch: str = "last",
    direction: str | None = None,
    seed: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of past results, whatever tool wrote them.

    Args:
        path: As for `find_results`: a path, or several.
        x: The column of sizes.
        y: The column of scores, which `epoch="best"` needs.
        kind: What the path holds, if it may be several things.
        epoch: `"last"` or `"best"`: the score of a training with one per epoch.
        direction: `"max"` or `"min"`, for `epoch="best"`.
        seed: The column of seeds, renamed `seed`.
        where: `{column: value}` that rows must have.

    Returns:
        A list of dicts, one per run, in their order in the files.

    Raises:
        FileNotFoundError: There is nothing at a path.
        ValueError: As `find_results` and `Results.rows` do.
    """
    found = find_results(path, x=x, kind=kind)
    return found.rows(
        y, epoch=epoch, direction=direction, seed=seed, where=where
    )


# === Looking ===


def _expanded(path):
    """Yield the paths that a path with fields stands for, and their columns."""
    names = _FIELD.findall(path)
    if not names or os.path.exists(path):
        yield files.as_path("path", path, "rows.jsonl"), {}
        return
    literal = _FIELD.split(path)[::2]
    pattern = re.compile("([^/]+?)".join(map(re.escape, literal)))
    found = sorted(glob.glob("*".join(map(glob.escape, literal))))
    matched = [(p, pattern.fullmatch(p)) for p in found]
    if not any(match for _, match in matched):
        raise FileNotFoundError(f"There is no file or folder like {path!r}.")
    for part, match in sorted(matched, key=_by_number):
        if match:
            values = map(setting, match.groups())
            yield pathlib.Path(part), dict(zip(names, values, strict=True))


def _by_number(matched):
    """Return what sorts paths by their fields: n300 before n1000."""
    values = map(setting, matched[1].groups() if matched[1] else ())
    return [(isinstance(value, str), value) for value in values]


def _source(path, fields, x, kind):
    """Return the `Source` at a path."""
    if kind not in (None, TABLE):
        files.check_local("path", path, "mlruns")
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
    if kind == TABLE or not files.is_local(path):
        return Source(path, TABLE, (path,), fields)
    found = _matching([path] if path.is_file() else _files(path), kind)
    if kind is None and x in logs.header(path):
        # A table that has epochs, too, is not the log of one training.
        found = {n: p for n, p in found.items() if not KINDS[n].has_steps}
    if len(found) > 1:
        raise ValueError(
            f"{str(path)!r} holds records of several kinds: {[*found]}. Choose "
            f'one, such as kind="{next(iter(found))}".'
        )
    if found:
        ((name, matched),) = found.items()
        return Source(path, name, tuple(matched), fields)
    if path.is_dir() or kind is not None:
        known = "; ".join(f"{k.said}: {k.files}" for k in KINDS.values())
        raise ValueError(
            f"{str(path)!r} is a {'folder' if path.is_dir() else 'file'} "
            f"without records that are known ({known}). Give a file of rows, "
            "*.jsonl or *.csv."
        )
    return Source(path, TABLE, (path,), fields)


def _files(folder):
    """Return the files in a folder and the folders in it, sorted."""
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        paths = [pathlib.Path(root, name) for name in sorted(names)]
        found += [path for path in paths if path.is_file()]  # Not a pipe.
        if len(found) > _MOST_FILES:
            raise ValueError(
                f"{str(folder)!r} has more than {_MOST_FILES:,} files. Name "
                "the folder of the runs."
            )
    return found


def _matching(candidates, kind):
    """Return `{kind: files}`; what lies in a run of MLflow belongs to it."""
    found: dict = {}
    for name in KINDS if kind is None else [kind]:
        matched = [path for path in candidates if KINDS[name].matches(path)]
        if not matched:
            continue
        found[name] = matched
        owned = {p.parent for p in matched if p.name == "meta.yaml"}
        candidates = [
            path
            for path in candidates
            if path not in matched and owned.isdisjoint(path.parents)
        ]
    return found


# === Rows ===


def _with(row, fields):
    """Return a row with the columns that its path stands for."""
    row.update(fields)
    return row


def _renamed(row, name, to):
    if name in row:
        row[to] = row.pop(name) if name != to else row[to]
        return row
    raise ValueError(
        f"`seed` must be a column of every row. Received: {name!r}; a row has "
        f"{sorted(map(str, row))}."
    )


def _chosen(rows, where):
    """Return the rows that have some values, as numbers or as text."""
    for name, value in where.items():
        values = {str(row[name]) for row in rows if name in row}
        rows = [row for row in rows if _is(row.get(name), value)]
        if not rows:
            raise ValueError(
                f"No row has `where` {name}={value}. The values of {name} are "
                f"{sorted(values)[:10]}."
            )
    return rows


def _is(value, wanted):
    return (
        value == wanted
        or (value is not None and str(value) == str(wanted))
        or (isinstance(wanted, str) and value == setting(wanted))
    )
