"""The order in which the runs of a study go to an executor.

Of runs that need the same pre-training, one goes first and the others wait for
it. A run that is lost with its worker is done again, once.
"""

import concurrent.futures
import contextlib
import dataclasses
import pickle
import time
from typing import Any

from keras_jft.scaling.study import executors

_PAUSE = 0.05  # Seconds between two looks at what has ended.
# Of a run that cannot be sent, or that a worker cannot receive.
_MISTAKES = (
    *(AttributeError, ImportError, TypeError, ValueError),
    pickle.PickleError,
)


class WorkerLost(RuntimeError):
    """A run was begun twice, and both times its worker was lost."""


def outcomes(configs, call, executor, *, claim, shared_work, begin, repeat):
    """Yield each config with the outcome of its run, as runs end.

    Args:
        configs: Configs, in the order in which to begin them.
        call: A function of a config, and of how many times it was lost, for
            the executor. It returns a pair, of which the second is the error of
            a run that failed, or None.
        executor: An object whose `submit` returns one with `done`, `result` and
            `cancel`.
        claim: A function of a config that returns a context manager. It yields
            whether to run the config, and ends when its outcome was dealt with.
        shared_work: A function of a config. Of those for which it returns the
            same, other than None, one runs first.
        begin: Called with a config before it is submitted.
        repeat: Called with a config and an error if its worker was lost.

    Yields:
        A config with what `call` returned, `(None, WorkerLost)`, or None if it
        was not to be run.

    Raises:
        Exception: A run cannot be sent, or the executor is of no more use.
    """
    schedule = _Schedule(configs, executor, shared_work)
    with contextlib.closing(schedule):
        while schedule.waiting or schedule.running:
            while run := schedule.take():
                if not (run.times_lost or run.hold(claim)):
                    yield run.config, None
                    continue
                begin(run.config)
                schedule.submit(run, call)
            for run in schedule.ended():
                outcome, error = schedule.outcome(run)
                if outcome is None:
                    repeat(run.config, error)
                    continue
                with run.held:
                    yield run.config, outcome


@dataclasses.dataclass(eq=False)
class _Run:
    """A config on its way to an outcome."""

    config: Any
    shared: Any  # What identifies work that runs share, or None.
    times_lost: int = 0
    executor: Any = None
    future: Any = None
    held: contextlib.ExitStack = dataclasses.field(
        default_factory=contextlib.ExitStack
    )

    def hold(self, claim):
        """Claim the config; return whether to run it."""
        mine = self.held.enter_context(claim(self.config))
        if not mine:
            self.held.close()
        return mine


class _Schedule:
    """Runs that wait, and runs that an executor does."""

    def __init__(self, configs, executor, shared_work):
        executors.check(executor)
        self.waiting = [_Run(c, shared_work(c)) for c in configs]
        self.running = []
        self._executor, self._own = executor, contextlib.ExitStack()
        self._there = {None}  # Shared work that is done.

    def take(self):
        """Remove a run that can begin from those that wait; None if none."""
        width = executors.width(self._executor)
        if width is not None and len(self.running) >= width:
            return None
        busy = {run.shared for run in self.running} - self._there
        for run in self.waiting:
            if run.shared not in busy:
                self.waiting.remove(run)
                return run
        return None

    def submit(self, run, call):
        """Hand a run to the executor."""
        # The count tells them apart for Dask, which does equal calls once.
        arguments = call, run.config, run.times_lost
        self.running.append(run)
        try:
            run.future = self._executor.submit(*arguments)
        except concurrent.futures.BrokenExecutor as error:
            self._replace(self._executor, error)
            run.future = self._executor.submit(*arguments)
        run.executor = self._executor

    def ended(self):
        """Return the runs that have ended, after a pause if there are none."""
        ended = [run for run in self.running if run.future.done()]
        if not ended:
            time.sleep(_PAUSE)
        return ended

    def outcome(self, run):
        """Return the outcome of a run that has ended, and an error.

        If the run is to be repeated, the outcome is None.
        """
        # Dask does a run again whose future is there and whose worker is not.
        future, run.future = run.future, None
        self.running.remove(run)
        try:
            outcome = future.result()
        except _MISTAKES as error:
            run.held.close()
            error.add_note(
                "The executor could not send the run to a worker, or the "
                "worker could not read it. `run` must be a function, or of a "
                "class, in a module that workers can import."
            )
            raise
        except Exception as error:
            if isinstance(error, concurrent.futures.BrokenExecutor):
                self._replace(run.executor, error)
            run.times_lost += 1
            if run.times_lost == 1:
                self.waiting.insert(0, run)
                return None, error
            said = f"The worker was lost twice. {type(error).__name__}: {error}"
            return (None, WorkerLost(said)), error
        if outcome[1] is None:
            self._there.add(run.shared)
        return outcome, None

    def _replace(self, broken, error):
        """Put another executor in the place of one that broke."""
        if broken is not self._executor:
            return  # Another run of it has told before.
        self._executor = executors.renewed(broken)
        if self._executor is None:
            raise error
        if self._executor is not broken:
            self._own.callback(self._executor.shutdown, wait=False)

    def close(self):
        """Cancel what runs, and give back what is held."""
        for run in (*self.running, *self.waiting):
            if run.future is not None:
                run.future.cancel()
            run.held.close()
        self._own.close()
