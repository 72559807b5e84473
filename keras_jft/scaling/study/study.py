"""A study: configs in, one row each out, and nothing done twice."""

import dataclasses
import hashlib
import json
import pathlib
import time
import traceback
from collections.abc import Iterable, Mapping

from rich import console, progress

from keras_jft.scaling.law import evidence
from keras_jft.scaling.rows import cost
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.study import claims, fingerprints

# Fields of a config that are columns of its row.
COLUMNS = ("task", "mode", "arm", "num_examples", "seed")


class Study:
    """Runs configs and keeps one row of each in a file.

    A config whose key has a row is done: a study that was killed goes on where
    it stopped, and one with more configs runs only the new ones. A run whose
    files have changed since, in number or bytes, is done again.

    A run that fails becomes a row with its `error` and does not stop the rest,
    unless it seems that all will fail: a `ValueError` or `TypeError` before
    any run has succeeded, or the same error from the first two runs, ends the
    study. Several processes and threads, on several machines too where they
    share the file, may run one study: each config is run by one of them.

    Args:
        configs: Frozen dataclasses (nested ones too), one a run.
        path: The JSON lines file of rows; other studies may share it.
        run: A callable, config to a dict of scores and columns.
        retry_failed: Whether to run those again whose row is an error.

    Raises:
        ValueError: If a config is no dataclass, or stands there twice, `path`
            is no file of JSON lines, or `run` is no callable.

    Example:
        >>> import dataclasses, tempfile
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Config:
        ...     num_examples: int
        ...     seed: int = 0
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
        >>> configs = [Config(num_examples=300), Config(num_examples=1000)]
        >>> study = Study(configs, path, run=lambda config: {"top1": 0.5})
        >>> len(study.dry_run())
        2
        >>> [row["num_examples"] for row in study.run()]
        [300, 1000]
        >>> study.dry_run()
        []
    """

    def __init__(self, configs, path, run, retry_failed=False):
        if not isinstance(configs, Iterable):
            raise ValueError(
                "`configs` must be a list of configs. Received: "
                f"configs={configs!r}."
            )
        self.configs = list(configs)
        self.path = pathlib.Path(path)
        if self.path.suffix.lower() == ".csv" or self.path.is_dir():
            raise ValueError(
                "`path` must name a JSON lines file, such as rows.jsonl. "
                f"Received: path={str(path)!r}."
            )
        if not callable(run):
            raise ValueError(
                "`run` must be a callable, config to a dict of scores. "
                f"Received: run={run!r}."
            )
        self.retry_failed = retry_failed
        self._run = run
        self._fingerprints = fingerprints.Fingerprints()
        self._keys = [key(config) for config in self.configs]
        for i, config_key in enumerate(self._keys):
            first = self._keys.index(config_key)
            if first < i:
                raise ValueError(
                    "Every config of a study must differ from the others. "
                    f"Received twice, at {first} and {i}: {self.configs[i]}. "
                    "Give repetitions different seeds."
                )

    def run(self):
        """Runs what has no row yet.

        Returns:
            The rows of all configs of the study, a list of dicts in the order
            of the configs; rows of failed runs have an `error`.

        Raises:
            ValueError: Or a `TypeError` or `RuntimeError`, if it seems that
                all runs will fail. What failed has its row.
        """
        self._fingerprints = fingerprints.Fingerprints()
        before = self._by_key()
        left = self._left()
        done, elsewhere = len(self.configs) - len(left), 0
        failures = _Failures(len(left))
        with _bar() as bar:
            for notice in self._notices(before):
                bar.console.print(notice, markup=False)
            task = bar.add_task("runs", total=len(self.configs), completed=done)
            try:
                for config in left:
                    bar.update(task, description=_described(config))
                    with claims.claim(self.path, key(config)) as mine:
                        elsewhere += not mine
                        if mine and not self._is_new(config, before):
                            row, error = self._row_of(config)
                            rows_lib.append(self.path, row)
                            _print_row(row, bar)
                            failures.add(error, bar.console)
                    bar.advance(task)
            except KeyboardInterrupt:
                bar.console.print(self._stopped(), markup=False)
                raise
            if elsewhere:
                bar.console.print(
                    f"{elsewhere} runs are being done by other processes or "
                    "threads; "
                    f"their rows come into {self.path}."
                )
        return self.rows()

    def _is_new(self, config, before):
        """Whether another process has done a config since `before`."""
        name = key(config)
        return self._by_key().get(name) != before.get(name)

    def rows(self):
        """The rows there are of the configs, in their order."""
        done = self._by_key()
        return [
            done[k]
            for config, k in zip(self.configs, self._keys, strict=True)
            if k in done and not self._is_stale(config, done[k])
        ]

    def dry_run(self):
        """The configs that `run` would run, in their order."""
        self._fingerprints = fingerprints.Fingerprints()
        return self._left()

    def _left(self):
        rows = self._by_key()
        return [
            config
            for config, k in zip(self.configs, self._keys, strict=True)
            if k not in rows
            or (self.retry_failed and _has_failed(rows[k]))
            or self._is_stale(config, rows[k])
        ]

    def _is_stale(self, config, row):
        """Whether files that a run has read are others now."""
        now = self._fingerprints.of(config)
        then = tuple(map(row.get, fingerprints.Fingerprint._fields))
        return now is not None and None not in then and now != then

    def _notices(self, rows):
        """Sentences on the rows of this study that are there already."""
        failed = unknown = stale = 0
        for config, k in zip(self.configs, self._keys, strict=True):
            if k in rows:
                now = self._fingerprints.of(config)
                failed += _has_failed(rows[k])
                unknown += now is not None and "num_files" not in rows[k]
                stale += self._is_stale(config, rows[k])
        if failed and not self.retry_failed:
            yield (
                f"{failed} runs have failed before and are not repeated. "
                "`Study(..., retry_failed=True)` runs them again."
            )
        if unknown:
            yield (
                f"{unknown} rows do not say how many files they were made of: "
                "they are taken to be of the files that are there now."
            )
        if stale:
            yield (
                f"{stale} runs are done again: there are more or fewer files "
                "than they read, or of another size."
            )

    def outlook(self, like=()):
        """What `run` would take: prints runs, images and device-hours.

        Args:
            like: Rows of other studies that say what such runs take; the
                study's own are believed with them.

        Returns:
            An `Outlook`.
        """
        rows = rows_lib.read(self.path) if self.path.exists() else []
        return cost.outlook(self.dry_run(), [*rows, *like])

    def _by_key(self):
        """The last row of each key in the file."""
        if not self.path.exists():
            return {}
        return {row.get("key"): row for row in rows_lib.read(self.path)}

    def _row_of(self, config):
        """The row of a config, and the error if its run failed."""
        start, failure = time.perf_counter(), None
        try:
            scores = rows_lib.to_json(_checked(self._run(config)))
        except Exception as error:  # One run must not take the others along.
            scores, failure = {"error": _named(error)}, error
        read = self._fingerprints.of(config)
        return {
            **_columns(config),
            **scores,
            # No run takes no time.
            "wall_seconds": max(round(time.perf_counter() - start, 3), 0.001),
            **rows_lib.provenance(),
            **({} if read is None else read._asdict()),
            "key": key(config),
            "config": rows_lib.to_json(config),
        }, failure

    def _stopped(self):
        left = len(self._left())
        return (
            f"Stopped with {left} of {len(self.configs)} runs left; the others "
            f"are safe in {self.path}. The same study, run again, goes on from "
            "there."
        )


class _Failures:
    """Tells a run that fails from a study whose runs all will."""

    def __init__(self, runs):
        self._runs, self._succeeded, self._first = runs, False, None

    def add(self, error, screen):
        """Takes the outcome of a run; raises if the study should end."""
        if error is None:
            self._succeeded = True
        elif self._succeeded:
            screen.print(_traceback(error), markup=False)
        elif isinstance(error, (TypeError, ValueError)):
            error.add_note(self._ended())
            raise error
        elif self._first == _named(error):
            raise RuntimeError(f"{self._first} (as above). {self._ended()}")
        else:
            screen.print(_traceback(error), markup=False)
            self._first = self._first or _named(error)

    def _ended(self):
        return (
            f"The study ends here, with {self._runs} runs to do, since others "
            "would fail alike. Mend the cause, and start it again with "
            "`Study(..., retry_failed=True)`."
        )


def _checked(scores):
    """What a run has returned, if it is a dict."""
    if not isinstance(scores, Mapping):
        raise ValueError(
            "`run` must return a dict of scores and columns, such as "
            f'{{"top1": 0.5}}. Received: {scores!r}.'
        )
    return dict(scores)


def _named(error):
    return f"{type(error).__name__}: {error}"


def _traceback(error):
    return "".join(traceback.format_exception(error))


def key(config):
    """16 hexadecimal digits that name a config by the values of its fields.

    The order of the fields and the version of the package do not matter, nor
    does 1 against 1.0; a field more or less does, unless it is marked as
    `dataclasses.field(default=..., metadata={"added": True})`: then it counts
    only where it is not its default, and runs done before it was there keep
    their keys.

    Args:
        config: A dataclass; its fields hold what a row may hold.

    Returns:
        The key, a string.

    Raises:
        ValueError: If `config` is no dataclass or a field holds something else.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     epochs: float
        >>> key(Config(4)) == key(Config(4.0)), key(Config(4)) == key(Config(5))
        (True, False)
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(
            "A config must be an instance of a dataclass. Received: "
            f"{type(config).__name__} {config!r}."
        )
    fields = _canonical(rows_lib.to_json(_keyed(config)))
    text = json.dumps(fields, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keyed(value):
    """The fields of a config that are in its key."""
    if isinstance(value, (list, tuple)):  # Such as transforms.
        return [_keyed(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {
        field.name: _keyed(given)
        for field, given in fields.items()
        if not (field.metadata.get("added") and given == field.default)
    }


def _canonical(value):
    """JSON in which equal numbers are written alike."""
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _columns(config):
    return {c: getattr(config, c) for c in COLUMNS if hasattr(config, c)}


def _has_failed(row):
    return evidence.is_failure(row.get("error"))


def _described(config):
    columns = _columns(config).items()
    return " ".join(f"{c}={value}" for c, value in columns) or "runs"


def _print_row(row, bar):
    """A line per run where there is no terminal that could show the bar."""
    if not bar.console.is_terminal:
        columns = " ".join(f"{c}={row[c]}" for c in COLUMNS if c in row)
        end = "failed" if _has_failed(row) else "done"
        number = int(bar.tasks[0].completed) + 1
        # `soft_wrap`: the width of a file is not that of a terminal.
        bar.console.print(
            f"{number}/{int(bar.tasks[0].total)} {columns or 'run'} {end} "
            f"in {row['wall_seconds']:.0f} s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _bar():
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
        # Runs may last hours: all of them count for the time that is left.
        speed_estimate_period=float("inf"),
    )
