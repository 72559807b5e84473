"""A study: run every config once, and keep one row of results for each."""

import contextlib
import dataclasses
import errno
import functools
import os
import pickle
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich import console, progress

from keras_jft import files
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.rows.table import is_failure
from keras_jft.scaling.study import (
    claims,
    executors,
    fingerprints,
    scheduling,
)
from keras_jft.scaling.study import outlook as outlook_lib
from keras_jft.scaling.study.config_id import config_id
from keras_jft.scaling.study.until import Decided
from keras_jft.text import number_of
from keras_jft.typing import PathLike

# Fields of a config that become columns of its row.
COLUMNS = ("task", "mode", "arm", "num_examples", "seed")


class Study:
    """Run configs and keep one row of results for each in a file.

    A config is done if the file has a row with its key: a study that was
    killed continues where it stopped, and one with more configs only runs the
    new ones. A run is repeated if the files that it read have changed in number
    or total size.

    A run that fails becomes a row with its `error` and does not stop the
    others, unless they seem bound to fail as well: a `ValueError` or
    `TypeError` before any run has succeeded, or the same error from the first
    two runs, ends the study. Several threads and processes may work on one
    study, on several machines if these share a disk; each config is run by one
    of them. If the file is in an object store, one machine at a time may call
    `run`, with an executor for the others.

    Args:
        configs: Frozen dataclasses, possibly nested, one per run.
        path: The JSON lines file of rows, or its URL; other studies may share
            it.
        run: A callable from a config to a dict of scores and other columns.
        retry_failed: Whether to repeat runs whose row is an error.
        until: When to stop before all configs are done: `"decided"`, when the
            runs that are left would not change the verdict whether ten times
            more data bring any gain; or a `Decided`, with another question.
            None: run all.

    Raises:
        ValueError: If a config is not a dataclass or appears twice, `path` is
            not a JSON lines file, `run` is not callable, or `until` is given
            and the configs of a curve have fewer than four sizes.

    Example:
        >>> import dataclasses, pathlib, tempfile
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

    def __init__(
        self,
        configs: Iterable[Any],
        path: PathLike,
        run: Callable[[Any], Mapping[str, Any]],
        retry_failed: bool = False,
        until: Decided | str | None = None,
    ):
        if not isinstance(configs, Iterable):
            raise ValueError(
                "`configs` must be a list of configs. Received: "
                f"configs={configs!r}."
            )
        self.path = files.as_path("path", path, "rows.jsonl")
        self.configs = list(configs)
        if self.path.suffix.lower() == ".csv" or self.path.is_dir():
            raise ValueError(
                "`path` must name a JSON lines file, such as rows.jsonl. "
                f"Received: path={str(path)!r}."
            )
        rows_lib.check_lines(self.path)  # Before any run, not after it.
        if not callable(run):
            raise ValueError(
                "`run` must be a callable that takes a config and returns a "
                f"dict of scores. Received: run={run!r}."
            )
        self.retry_failed = retry_failed
        self.until = _until(until, self.configs)
        self._call = run
        self._fingerprints = fingerprints.Fingerprints()
        self._keys = list(map(_id_of, self.configs))
        for i, config_key in enumerate(self._keys):
            first = self._keys.index(config_key)
            if first < i:
                raise ValueError(
                    "Every config of a study must differ from the others. "
                    f"Received twice, at {first} and {i}: {self.configs[i]}. "
                    "Give repetitions different seeds."
                )

    def run(
        self, executor: Any = None, *, wait: bool = False
    ) -> list[dict[str, Any]]:
        """Run every config that has no row yet, or as many as `until` needs.

        Args:
            executor: Where to run them: any `concurrent.futures.Executor`, such
                as a `ProcessPoolExecutor` or `dask.distributed`'s
                `client.get_executor()`, or an executor of submitit; or the name
                of one, as `jft.scaling.open_executor` takes it; by default one
                after the other in this process. `configs` and `run` are sent to
                its workers, which must see the same files. Of runs with the
                same pre-training, one goes first. A run that is lost with its
                worker is done again, once. Only this process writes rows. With
                `until`, runs go one by one: the rows choose the next.
            wait: Whether to wait for runs that other processes or threads are
                doing, and to do those that they give up.

        Returns:
            The rows of all configs of the study that are done, a list of dicts
            in the order of the configs; rows of failed runs have an `error`.

        Raises:
            ValueError: If all runs seem bound to fail; or a `TypeError` or
                `RuntimeError`. The runs that failed have their rows. Or
                `executor` has no `submit`, or its processes are forked.
        """
        folder = self.path.parent / "submitit"
        with executors.open_executor(executor, folder) as opened:
            elsewhere = self._run(opened)
            while wait and elsewhere:
                for config in elsewhere:
                    with claims.wait(self.path, config_id(config)):
                        pass
                elsewhere = self._run(opened)
        return self.rows()

    def _run(self, executor):
        """Run what is left; return the configs that others are running."""
        self._fingerprints = fingerprints.Fingerprints()
        before = self._by_key()
        left = self._left()
        elsewhere: list[Any] = []  # Configs that others are running.
        failures = _Failures(len(left))
        with _bar() as bar:
            for notice in self._notices(before):
                bar.console.print(notice, markup=False)
            task = bar.add_task(
                "runs",
                total=len(self.configs),
                completed=len(self.configs) - len(left),
            )
            outcomes = self._outcomes(left, before, executor, elsewhere, bar)
            try:
                with contextlib.closing(outcomes):
                    for config, outcome in outcomes:
                        if outcome is not None:
                            row, error = self._row(config, *outcome)
                            rows_lib.append(self.path, row)
                            _print_row(row, bar)
                            failures.add(error, bar.console)
                        bar.advance(task)
            except KeyboardInterrupt:
                bar.console.print(self._stopped(), markup=False)
                raise
            if self.until is not None:
                said = self.until.told(self.rows(), len(self.configs))
                bar.console.print(said, markup=False)
            if elsewhere:
                bar.console.print(
                    "Other processes or threads are doing "
                    f"{number_of(len(elsewhere), 'run')}, to be added to "
                    f"{self.path}."
                )
        return elsewhere

    def _outcomes(self, left, before, executor, elsewhere, bar):
        """Yield `(config, outcome)` as runs end; see `scheduling.outcomes`."""
        [task] = bar.task_ids
        call = _run_here if executor is None else _run_on_a_worker
        batches = [left]
        if self.until is not None:
            order = self.until.in_order(
                left, self.rows, lambda config: self._is_new(config, before)
            )
            batches = ([config] for config in order)
        for configs in batches:
            yield from scheduling.outcomes(
                configs,
                functools.partial(call, self._call),
                executors.InThisProcess() if executor is None else executor,
                claim=lambda config: self._claim(config, before, elsewhere),
                shared_work=_shared_work,
                begin=lambda config: bar.update(
                    task, description=_described(config)
                ),
                repeat=lambda config, error: bar.console.print(
                    "Lost with its worker, and done again: "
                    f"{_described(config)} ({_first_line(error)})",
                    markup=False,
                ),
            )

    @contextlib.contextmanager
    def _claim(self, config, before, elsewhere):
        """Claim a config; yield whether to run it.

        It is not run if another process runs it, which adds it to `elsewhere`,
        or has run it since the rows `before` were read.
        """
        with claims.claim(self.path, config_id(config)) as mine:
            if not mine:
                elsewhere.append(config)
            yield mine and not self._is_new(config, before)

    def _is_new(self, config, before):
        """Return whether another process has done a config since `before`."""
        name = config_id(config)
        return self._by_key().get(name) != before.get(name)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that the configs have so far, in their order."""
        done = self._by_key()
        return [
            done[k]
            for config, k in zip(self.configs, self._keys, strict=True)
            if k in done and not self._is_stale(config, done[k])
        ]

    def dry_run(self) -> list[Any]:
        """Return the configs that `run` would run, in their order."""
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
        """Return whether the files that a run has read have changed."""
        now = self._fingerprints.of(config)
        return now is not None and now.differs(row)

    def _notices(self, rows):
        """Yield sentences about rows that this study already has."""
        failed = unknown = stale = 0
        for config, k in zip(self.configs, self._keys, strict=True):
            if k in rows:
                now = self._fingerprints.of(config)
                failed += _has_failed(rows[k])
                unknown += now is not None and "num_files" not in rows[k]
                stale += self._is_stale(config, rows[k])
        if failed and not self.retry_failed:
            yield (
                f"Not repeated: {number_of(failed, 'run')} that failed before. "
                "`Study(..., retry_failed=True)`, on the command line "
                "--retry-failed, repeats what failed."
            )
        if unknown:
            yield (
                f"{number_of(unknown, 'row')} without the number of files that "
                "were read: assumed to be the present files."
            )
        if stale:
            yield (
                f"Repeated: {number_of(stale, 'run')}, since the number or the "
                "size of the files that were read, or a file of weights, has "
                "changed."
            )

    def outlook(
        self, like: Iterable[Mapping[str, Any]] = ()
    ) -> outlook_lib.Outlook:
        """Estimate the runs, images and device-hours that `run` would take.

        Args:
            like: Rows of other studies with similar runs, used together with
                the study's own rows.

        Returns:
            An `Outlook`; print it.
        """
        rows = rows_lib.read(self.path) if self.path.exists() else []
        return outlook_lib.outlook(self.dry_run(), [*rows, *like])

    def _by_key(self):
        """Return the last row of each key in the file."""
        if not self.path.exists():
            return {}
        return {row.get("key"): row for row in rows_lib.read(self.path)}

    def _row(self, config, columns, error):
        """Return the row of a run, and the error if the run failed."""
        if columns is None:  # Its worker was lost.
            columns = {"error": _named(error), **rows_lib.provenance()}
        read = self._fingerprints.of(config)
        return {
            **_columns(config),
            **columns,
            **({} if read is None else read.columns()),
            "key": config_id(config),
            "config": rows_lib.to_json(config),
        }, error

    def _stopped(self):
        left = len(self._left())
        return (
            f"Stopped with {left} of {number_of(len(self.configs), 'run')} "
            f"left; what is done is safe in {self.path}. Run the same study "
            "again to continue."
        )


def _until(given, configs):
    """Return the `Decided` of an argument, checked, or None."""
    if given is None:
        return None
    found = Decided() if given == "decided" else given
    if not isinstance(found, Decided):
        raise ValueError(
            '`until` must be "decided", a `Decided` or None. Received: '
            f"until={given!r}."
        )
    found.check(configs)
    return found


class _Failures:
    """Distinguishes a single failed run from a study in which all will fail."""

    def __init__(self, runs):
        self._runs, self._succeeded, self._first = runs, False, None

    def add(self, error, screen):
        """Record the outcome of a run; raise if the study should end."""
        if error is None:
            self._succeeded = True
        elif _is_full(error):
            error.add_note(
                "The disk is full, so the study ends here; what is done is "
                "safe. Make room, and start it again with `retry_failed`."
            )
            raise error
        elif self._succeeded:
            screen.print(_traceback(error), markup=False)
        elif isinstance(error, (TypeError, ValueError)):
            error.add_note(self._ended())
            raise error
        elif self._first == _first_line(error):
            raise RuntimeError(f"{self._first} (as above). {self._ended()}")
        else:
            screen.print(_traceback(error), markup=False)
            self._first = self._first or _first_line(error)

    def _ended(self):
        return (
            f"The study ends here, with {number_of(self._runs, 'run')} to do, "
            "since any other would fail in the same way. Fix the cause, and "
            "start it again with `Study(..., retry_failed=True)`."
        )


def _is_full(error):
    """Return whether an error means that a disk or a quota is full."""
    full = (errno.ENOSPC, errno.EDQUOT)
    # Libraries that write in C tell it in words alone.
    return getattr(error, "errno", None) in full or any(
        os.strerror(number) in str(error) for number in full
    )


def _run_here(run, config, times_lost=0):
    """Run a config.

    Returns:
        What the machine that it runs on can say of its row, and the error if
        the run failed.
    """
    start, failure = time.perf_counter(), None
    try:
        scores = rows_lib.to_json(_checked(run(config)))
    except Exception as error:  # One failed run must not end the others.
        scores, failure = {"error": _named(error)}, error
    return {
        **scores,
        # Never 0, which would read as unknown.
        "wall_seconds": max(round(time.perf_counter() - start, 3), 0.001),
        **rows_lib.provenance(),
    }, failure


def _run_on_a_worker(run, config, times_lost):
    """Run a config; an error that is returned can be sent."""
    columns, error = _run_here(run, config)
    if error is not None:
        text = _traceback(error)
        try:
            error = pickle.loads(pickle.dumps(error))
        except Exception:  # Whatever its class does when it is pickled.
            kinds = (TypeError, ValueError, RuntimeError)
            kind = next((k for k in kinds if isinstance(error, k)), kinds[-1])
            error = kind(_named(error))
        error.add_note(f"On the worker:\n{text}")
    return columns, error


def _shared_work(config):
    """Return what identifies the pre-training of a config; None if none."""
    before = getattr(config, "pretrain", None)
    if not getattr(before, "num_examples", True):  # Random initialization.
        return None
    return None if before is None else config_id(before)


def _checked(scores):
    """Return the result of a run as a dict; raise if it is something else."""
    if not isinstance(scores, Mapping):
        raise ValueError(
            "`run` must return a dict of scores and columns, such as "
            f'{{"top1": 0.5}}. Received: {scores!r}.'
        )
    return dict(scores)


def _named(error):
    return f"{type(error).__name__}: {error}"


def _first_line(error):
    return _named(error).splitlines()[0]


def _traceback(error):
    return "".join(traceback.format_exception(error))


def _id_of(config):
    """Return the `config_id` of a config; raise if it is not a dataclass."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(
            "A config must be an instance of a dataclass. Received: "
            f"{type(config).__name__} {config!r}."
        )
    return config_id(config)


def _columns(config):
    columns = {c: getattr(config, c) for c in COLUMNS if hasattr(config, c)}
    if columns.get("arm", "") is None:  # There is just one.
        del columns["arm"]
    return columns


def _has_failed(row):
    return is_failure(row.get("error"))


def _described(config):
    columns = _columns(config).items()
    return " ".join(f"{c}={value}" for c, value in columns) or "runs"


def _print_row(row, bar):
    """Print a line per run if there is no terminal to show the bar."""
    if not bar.console.is_terminal:
        columns = " ".join(f"{c}={row[c]}" for c in COLUMNS if c in row)
        end = "failed" if _has_failed(row) else "done"
        if "wall_seconds" in row:  # Of a lost worker, nobody knows.
            end += f" in {row['wall_seconds']:.0f} s"
        number = int(bar.tasks[0].completed) + 1
        # `soft_wrap`, since a file has no terminal width to wrap at.
        bar.console.print(
            f"{number}/{int(bar.tasks[0].total)} {columns or 'run'} {end}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _bar():
    screen = console.Console(stderr=True)
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=screen,
        # A file gets a line per run; a bar would only add half of one.
        disable=not screen.is_terminal,
        # Runs may take hours: estimate the remaining time from all of them.
        speed_estimate_period=float("inf"),
    )
