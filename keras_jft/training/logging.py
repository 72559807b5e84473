"""Logs of a run: JSON lines, CSV and TensorBoard."""

import importlib.util
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_jft import files
from keras_jft.text_files import parse_json, read_lines, short
from keras_jft.training.callbacks import Logger, Throughput
from keras_jft.training.checkpoints.resuming import is_passing_over
from keras_jft.training.keras_internals import model_of
from keras_jft.typing import PathLike


class JSONLogger(Logger):
    """Appends the logs of a run to a file, one JSON object per line.

    A line has `step` (since the run began), `epoch` (at the end of one),
    `seconds` (since this process began to train), `learning_rate`, and what
    Keras logs. A number that is not finite is null. A resumed run continues in
    the same file and writes repeated steps again: `read_log` keeps the last.

    Args:
        path: The file.
        every: Steps from one line to the next within an epoch; None: a line per
            epoch only.

    Raises:
        ValueError: `every` is not positive.

    Example:

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.5), "mse")
    >>> logger = JSONLogger(path)
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, callbacks=[logger], batch_size=4, verbose=0)
    >>> [(line["step"], line["learning_rate"]) for line in read_log(path)]
    [(2, 0.5)]
    """

    def __init__(self, path: PathLike, every: int | None = None):
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(
                f"`every` must be positive or None. Received: every={every}."
            )
        files.check_local("path", path, "run/log.jsonl")
        self.path, self.every = pathlib.Path(path), every

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Write a line if `every` steps are done."""
        model = model_of(self)
        if self.every is None or is_passing_over(model):
            return
        if (batch + 1) % self.every < model.steps_per_execution:
            self._write(logs)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Write the line of the epoch."""
        self._write(logs, epoch=epoch + 1)

    def _write(self, logs, **more):
        optimizer = self.model.optimizer
        line = {
            # A mirrored variable cannot be converted by `int` or `float`.
            "step": int(ops.convert_to_numpy(optimizer.iterations)),
            **more,
            "seconds": time.perf_counter() - self._began,
            "learning_rate": float(
                ops.convert_to_numpy(optimizer.learning_rate)
            ),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        line = {
            name: value if np.isfinite(value) else None
            for name, value in line.items()
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: PathLike) -> list[dict[str, Any]]:
    """Return the lines of a `JSONLogger` as dicts, in the order of steps.

    A resumed run may write a step twice; the last of its lines is kept. A line
    that is incomplete, because the run was killed, is left out.

    Args:
        path: The file.

    Raises:
        ValueError: There is no such file, it is not UTF-8, or a line is not
            what a `JSONLogger` writes.
    """
    lines = {}
    for number, text in read_lines(path):
        where = f"{str(path)!r}, line {number},"
        try:
            line = parse_json(text, where)
        except ValueError:  # An incomplete line.
            continue
        step = line.get("step") if isinstance(line, dict) else None
        if type(step) is not int:
            raise ValueError(
                f"{where} must be an object with a whole number `step`, as "
                f"`JSONLogger` writes. Received: {short(line)}."
            )
        lines[step, "epoch" in line] = line
    return [lines[key] for key in sorted(lines)]


def loggers(
    directory: PathLike, batch_size: int, every: int | None = None
) -> list[keras.callbacks.Callback]:
    """Return callbacks that write every kind of log to a directory.

    Args:
        directory: Folder for `log.jsonl`, `log.csv` and, if tensorboard is
            installed, its event files in `tensorboard/`.
        batch_size: Images per step, over all replicas.
        every: Steps from one line of `log.jsonl` to the next within an epoch.

    Returns:
        A list for `fit(callbacks=...)`; `Throughput` is in it.

    Example:

    >>> import tempfile
    >>> run = pathlib.Path(tempfile.mkdtemp()) / "run"
    >>> [type(c).__name__ for c in loggers(run, batch_size=32)][:3]
    ['Throughput', 'JSONLogger', 'CSVLogger']
    """
    files.check_local("directory", directory, "run/")
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = [
        Throughput(batch_size),
        JSONLogger(directory / "log.jsonl", every),
        keras.callbacks.CSVLogger(directory / "log.csv", append=True),
    ]
    if importlib.util.find_spec("tensorboard") is not None:
        found.append(keras.callbacks.TensorBoard(directory / "tensorboard"))
    return found
