"""`Checkpoint`: a killed run resumes as if it had not been interrupted."""

import concurrent.futures
import copy
import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_jft import checks, files
from keras_jft.text import number_of
from keras_jft.training import inputs, keras_internals
from keras_jft.training.checkpoints import archive, resuming, state
from keras_jft.training.distribution import replicas
from keras_jft.typing import PathLike

_NAME, _DIGITS = "step-{}.npz", 10
_KIND = "a run of keras_jft.training.Checkpoint"
BEST = "best.npz"
_COUNTS = ("epoch", "done", "step")
_NO_POSITION = (
    "`Checkpoint` cannot know the position in the data that `fit` received. If "
    "the run is killed, it resumes with the state of the model, but reads and "
    "drops the batches of the interrupted epoch from its beginning. That is "
    "exact only if every pass has the same batches in the same order. Pass the "
    "result of `jft.data.batches` to `fit`, also after `map` or `prefetch`, or "
    "arrays with `shuffle=False`. For a `keras.Model` that is not a "
    "`jft.training.Model`, pass these data to `Checkpoint(data=...)` as well."
)


class Checkpoint(keras.callbacks.Callback):
    """Saves a run while it is fit, and resumes it.

    `model.fit(batches, epochs=10, callbacks=[Checkpoint("run/")])` continues
    where the newest checkpoint in `run/` was taken, even in the middle of an
    epoch, and ends with the weights, bit for bit, of a run that was never
    interrupted (on a machine whose operations are deterministic, as on one
    CPU). `epochs` counts from the very beginning: a finished run only loads.

    A checkpoint holds weights, optimizer, seeds of random layers, metrics, the
    position in the data and the history. It is one archive (`archive.py`),
    written to a temporary file and then renamed, or uploaded. A damaged one is
    set aside with a warning, and the one before it is used. The state of other
    callbacks (such as the patience of `EarlyStopping`) is not saved. Of several
    workers, only the chief writes, and all read the same directory.

    A run resumes only with the same model, optimizer, loss, L2 and multipliers.
    If the learning rate is a number, not a schedule, it is saved, and a resumed
    run continues with it; if it was compiled with another one, a warning says
    so. A schedule may change, also with a warning.

    Data from `jft.data.batches` continue at the right batch, also after `map`,
    `prefetch` and `with_options` of `tf.data`. For other data, the batches
    already seen in the epoch are read and dropped, which is exact if all passes
    are the same. `fit` warns of that when it starts, except for arrays that it
    does not shuffle.

    Args:
        directory: Where checkpoints are saved, one per run: a folder, or a URL
            such as "s3://bucket/run" or "gs://bucket/run".
        save_every: Steps from one checkpoint to the next. Another is saved at
            the end of every epoch.
        keep: How many of the newest to keep.
        best: Name of a value in the logs of an epoch. The checkpoint of the
            best epoch is kept as `best.npz`, besides the `keep` newest; of
            equally good ones the latest, which has trained longest.
        mode: `"min"` or `"max"`: which value of `best` is better. By default
            `"min"` if its name has "loss" or "error" in it, else `"max"`.
        asynchronous: Whether a thread writes a copy in the host's memory while
            training continues. An error in writing is then raised at the next
            checkpoint or at the end.
        data: The data that `fit` receives, so that a resumed run can continue
            at the right batch. Only needed for a `keras.Model` that is not a
            `jft.training.Model`.

    Raises:
        ValueError: An argument is out of range, or `data` have no position; or,
            in `fit`, the checkpoint is of another model, optimizer, loss or
            data set, or no checkpoint can be read.
        OSError: In `fit`, a checkpoint cannot be written; earlier ones are
            unchanged.
        FloatingPointError: In `fit`, a weight is not finite; nothing is
            written.

    Example:

    >>> import tempfile
    >>> inputs = keras.Input((2,))
    >>> model = jft.training.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("sgd", "mse")
    >>> arguments = {"epochs": 2, "shuffle": False, "verbose": 0}
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> with tempfile.TemporaryDirectory() as run:
    ...     checkpoint = Checkpoint(run, keep=1)
    ...     _ = model.fit(x, y, callbacks=[checkpoint], **arguments)
    ...     print(*(path.name for path in saved(run)))
    step-0000000002.npz
    """

    def __init__(
        self,
        directory: PathLike,
        *,
        save_every: int = 1000,
        keep: int = 3,
        best: str | None = None,
        mode: str | None = None,
        asynchronous: bool = True,
        data: Any = None,
    ):
        super().__init__()
        if save_every < 1 or keep < 1:
            raise ValueError(
                "`save_every` and `keep` must be positive. Received: "
                f"save_every={save_every}, keep={keep}."
            )
        if mode is None:
            low = best is not None and ("loss" in best or "error" in best)
            mode = "min" if low else "max"
        checks.one_of("mode", mode, ("min", "max"))
        self.directory = files.as_path("directory", directory, "run/")
        self.save_every, self.keep = save_every, keep
        self.best, self.mode, self.asynchronous = best, mode, asynchronous
        self._writing = None
        self._told = None if data is None else resuming.source(data)
        if data is not None and self._told is None:
            raise ValueError(
                "`data` must be what `jft.data.batches` returns, also after "
                f"`map`, `prefetch` or `with_options`. Received: {data!r}, "
                "whose position cannot be known. Leave `data` out."
            )
        self._source, self._passes_alike = self._told, False

    def reads(
        self,
        x: Any,
        y: Any = None,
        source: Any = None,
        shuffle: bool = True,
    ) -> None:
        """Note the data of the next `fit`; `jft.training.Model` calls this.

        Args:
            x: As `keras.Model.fit` takes it.
            y: As `keras.Model.fit` takes it.
            source: The object that has the position in `x`, with `position`
                (the number of the next batch in an endless stream), `len`
                (batches per pass) and `identity`. None: look for it in `x`.
            shuffle: As `keras.Model.fit` takes it.
        """
        self._source = source or resuming.source(x) or self._told
        arrays = keras.tree.flatten(x if y is None else (x, y))
        # A list of batches is read in its order, whatever `shuffle` says.
        in_order = not shuffle or inputs.are_batches(x)
        self._passes_alike = in_order and all(
            keras.ops.is_tensor(a) or isinstance(a, np.ndarray) for a in arrays
        )

    # === Resuming ===

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the newest checkpoint that can be read."""
        model = self.model
        self._finish_writing()
        replicas.gathered(model, 0)  # A fit before may still be writing.
        if resuming.is_passing_over(model):  # That fit was interrupted.
            model.train_function.remove()
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._architecture = state.architecture(model)
        self._compilation = state.compilation(model)
        if self._source is None and not self._passes_alike:
            warnings.warn(_NO_POSITION, stacklevel=2)
        self._pass_over = None
        self._resumed, self._done, self._step = None, 0, 0
        self._best: float | None = None
        self._history: dict[str, list[float]] = {}
        keras_internals.begin_at(model, None)
        newest = _newest(self.directory)
        if newest is not None:
            try:
                self._resume(model, *newest)
            except ValueError as error:
                raise ValueError(f"`{newest[0]}`: {error}") from error
        steps = replicas.gathered(model, self._step)
        if len({*steps}) > 1:
            raise ValueError(
                f"All workers must resume from one step. In `{self.directory}` "
                f"they found: {steps}. Give all the same directory, which each "
                "can read, and start them again."
            )
        if replicas.is_chief(model):
            _tidy(self.directory, self._step)

    def _resume(self, model, path, arrays, about):
        state.check_same(about["model"], self._architecture, "model")
        state.check_same(about["data"], self._identity(), "data")
        steps = {"batches of a pass": self.params.get("steps")}
        if about["done"] and None not in (about.get("steps"), *steps.values()):
            before = {"batches of a pass": about["steps"]}
            state.check_same(before, steps, "data")
        saved = about.get("compilation")  # Older versions did not write it.
        rates = state.check_compiled(saved, self._compilation)
        state.restore(model, arrays)
        self._compare_rates(model, path, saved, rates)
        # As keras.callbacks.BackupAndRestore tells `fit` where to begin.
        keras_internals.begin_at(model, about["epoch"])
        self._step, self._done = about["step"], about["done"]
        self._best, self._history = about["best"], about["history"]
        self._resumed = arrays
        history = getattr(model, "history", None)
        if history is not None:
            history.history = copy.deepcopy(self._history)
        if self.params.get("verbose"):
            print(
                f"Resumed from {path}: epoch {about['epoch'] + 1}, "
                f"{number_of(self._done, 'step')} done."
            )

    def _compare_rates(self, model, path, saved, rates):
        """Warn if the run was compiled with another learning rate before."""
        for before, now in rates:
            if isinstance(now, dict):
                changed = "; ".join(state.differences(before, now))
                was = f"another schedule of the learning rate: {changed}"
                then = "The schedule of now is followed."
            else:
                # The rate that a callback set, in a fit of this process too.
                goes_on = float(model.optimizer.learning_rate)
                self._compilation = saved
                if np.float32(now) == np.float32(goes_on):
                    continue
                was = f"the learning_rate {before:.6g}, and now with {now:.6g}"
                then = (
                    f"The run goes on with {goes_on:.6g}, which it had there. "
                    "To change it, use a `LearningRateScheduler`."
                )
            warnings.warn(
                f"Resuming from {path}: the run was compiled with {was}. "
                f"{then} Or begin in another directory, with "
                "`jft.training.load_weights`.",
                stacklevel=2,
            )

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Move the data to its position; in a resumed epoch, skip steps."""
        model = self.model
        self._epoch = epoch
        if self._pass_over is not None:
            self._pass_over.remove()
            self._pass_over = None
        keras_internals.begin_at(model, None)
        built = True
        if self._resumed is None:
            self._done = 0
        else:
            built = self._finish_resuming(model, epoch)
        if self._source is not None:
            steps = self.params.get("steps") or len(self._source)
            if len(self._source) % steps:
                raise ValueError(
                    "`steps_per_epoch` must divide the batches of a pass. "
                    f"Received: steps_per_epoch={steps}, {len(self._source)} "
                    "batches. Leave it out to resume where a run was."
                )
            first = epoch * steps + self._done
            if not built:  # Repeat the last step, to build the metrics.
                first -= self.model.steps_per_execution
            self._source.position = first

    def _finish_resuming(self, model, epoch):
        """Restore the state that `fit` resets between `on_train_begin` and now.

        Return whether the metrics are built; if not, the first step builds
        them.
        """
        arrays, self._resumed = self._resumed, None
        if getattr(model, "history", None) is not None:
            model.history.epoch = list(range(epoch))
        if not self._done:
            return True

        def restore():
            state.restore(model, arrays)
            state.restore(model, arrays, metrics=True)

        built = state.has_metrics(model, arrays)
        self._pass_over = resuming.PassOver(
            model,
            self._done,
            read=self._source is None,
            restore=restore,
            is_built=built,
        )
        return built

    # === Saving ===

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Save if `save_every` steps are done."""
        steps = batch + 1 - self._done
        if steps <= 0:  # Done before the run was interrupted.
            return
        before, self._step = self._step, self._step + steps
        self._done += steps
        if self._step // self.save_every > before // self.save_every:
            self._save(self._epoch, self._done)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Save, and keep the best checkpoint."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        value = logs.get(self.best) if self.best else None
        is_best = value is not None and self._is_better(value)
        if is_best:
            self._best = value
        self._save(epoch + 1, 0, also=BEST if is_best else None)

    def _is_better(self, value):
        if self._best is None:
            return math.isfinite(value)
        if self.mode == "min":
            return value <= self._best
        return value >= self._best

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Wait for the last checkpoint."""
        model = self.model
        keras_internals.begin_at(model, None)
        if self._pass_over is not None:
            self._pass_over.remove()
        self._source, self._passes_alike = self._told, False
        self._finish_writing()
        if self.best is not None and self._best is None:
            warnings.warn(
                f"No epoch had {self.best!r} in its logs, so no `{BEST}` was "
                f"saved. There were: {sorted(self._history)}.",
                stacklevel=2,
            )

    def _save(self, epoch, done, also=None):
        model = self.model
        if hasattr(model, "_average_statistics"):  # Ours; all workers do it.
            replicas.synchronize(model)
        # All workers take part: reading a metric sums it over the workers.
        arrays = state.snapshot(model, metrics=done > 0)
        bad = state.not_finite(arrays)
        if bad:
            raise FloatingPointError(
                f"NaN or infinity after step {self._step} in {bad[:5]}. No "
                "checkpoint was written; earlier ones are unchanged. Clip "
                "gradients (`clipnorm=`), or begin in another directory with "
                "a lower learning rate and `load_weights` of the last one."
            )
        if not replicas.is_chief(model):
            return
        self._finish_writing()
        about = {
            "kind": _KIND,
            "epoch": epoch,
            "done": done,
            "step": self._step,
            "best": self._best,
            "history": {k: list(v) for k, v in self._history.items()},
            "model": self._architecture,
            "data": self._identity(),
            "steps": self.params.get("steps"),
            "compilation": self._compilation,
        }
        if self.asynchronous:
            executor = concurrent.futures.ThreadPoolExecutor(1)
            self._writing = executor.submit(self._write, arrays, about, also)
            executor.shutdown(wait=False)
        else:
            self._write(arrays, about, also)

    def _write(self, arrays, about, also):
        step = f"{about['step']:0{_DIGITS}}"
        path = self.directory / _NAME.format(step)
        archive.write(path, arrays, about, also)
        for old in saved(self.directory)[: -self.keep]:
            old.unlink(missing_ok=True)

    def _finish_writing(self):
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _identity(self):
        return getattr(self._source, "identity", None)


def saved(directory):
    """Return the paths of the checkpoints in a directory, oldest first."""
    pattern = _NAME.format("[0-9]" * _DIGITS)
    return sorted(files.as_path("directory", directory, "run/").glob(pattern))


def _newest(directory):
    """Return `(path, arrays, description)` of the newest readable one."""
    errors = []
    for path in reversed(saved(directory)):
        try:
            arrays, about = archive.read(path)
            _check_whole(path, arrays, about)
        # Not an `OSError`: what could not be fetched may be whole. To pass over
        # it would lose steps, and perhaps on one of several workers alone.
        except archive.UnreadableArchive as error:
            errors.append(str(error))
            continue
        if errors:
            warnings.warn(
                f"{' '.join(errors)} Resuming from {path} instead.",
                stacklevel=3,
            )
        return path, arrays, about
    if errors:
        raise ValueError(
            f"No checkpoint in `{directory}` can be read. {' '.join(errors)} "
            "To start over, give another directory, or empty this one."
        )
    return None


def _check_whole(path, arrays, about):
    """Raise unless an archive has everything that a run needs."""
    if about.get("kind") != _KIND:
        raise archive.UnreadableArchive(f"`{path}` holds no run.")
    counts = {name: about.get(name) for name in _COUNTS}
    wrong = [
        name
        for name, count in counts.items()
        if type(count) is not int or count < 0
    ]
    history, best = about.get("history"), about.get("best", "")
    if not isinstance(history, dict) or not all(
        isinstance(values, list) for values in history.values()
    ):
        wrong.append("history")
    if not (best is None or type(best) in (int, float)):
        wrong.append("best")
    for name in ("model", "data", "compilation"):
        value = about.get(name, None if name == "compilation" else "")
        if not isinstance(value, dict | None):
            wrong.append(name)
    wrong += state.not_finite(arrays)
    if wrong:
        raise archive.UnreadableArchive(
            f"`{path}` lacks {wrong[:5]}, or they have other types than those "
            "of a run. `Checkpoint` did not write it."
        )


def _tidy(directory, step):
    """Remove files that a killed run left; set unreadable ones aside."""
    for path in directory.glob(f"{files.PARTIAL}*"):
        path.unlink(missing_ok=True)
    for path in saved(directory):
        if int(path.stem[-_DIGITS:]) > step:
            path.replace(path.with_suffix(".unreadable"))
