"""Executors: where the runs of a study are done.

`concurrent.futures`, Dask and submitit bring theirs, which a study takes as
they are: all it needs is `submit`, whose result has `done`, `result` and
`cancel`. Here are the two that are missing: worker processes of which one may
die without the others, and tasks of Ray.
"""

import concurrent.futures
import contextlib
import functools
import importlib
import multiprocessing
import pickle
import queue
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from keras_jft import checks
from keras_jft.typing import PathLike

NAMES = "processes:N, dask://HOST:PORT, submitit[:KEY=VALUE,...] or ray"


class InThisProcess:
    """Does what is submitted at once."""

    _max_workers = 1  # As `concurrent.futures` calls it.

    def submit(self, function, /, *arguments):
        """Return a future that is done."""
        future = concurrent.futures.Future()
        future.set_result(function(*arguments))
        return future


class Processes(concurrent.futures.Executor):
    """Worker processes on this machine, each of which may die on its own.

    When a worker of a `concurrent.futures.ProcessPoolExecutor` dies, everything
    that was submitted is lost, and so is the pool. Here it is only what the
    dead worker did, and another takes its place.

    Args:
        max_workers: How many processes.
        mp_context: A context of `multiprocessing`. The default is "spawn",
            since TensorFlow and JAX hang in forked processes.
        initializer: Called first in every process.
        initargs: Its arguments.

    Raises:
        ValueError: `max_workers` is not a positive integer.
    """

    def __init__(
        self,
        max_workers: int,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple = (),
    ):
        checks.number("max_workers", max_workers, 1, whole=True)
        self._max_workers = max_workers
        self._context = mp_context or multiprocessing.get_context("spawn")
        self._first = initializer, initargs
        self._idle: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(max_workers):
            self._idle.put(None)  # Started when there is something to do.
        # A thread per process waits for its result.
        self._threads = concurrent.futures.ThreadPoolExecutor(max_workers)
        self._guard = threading.Lock()
        self._workers: dict = {}  # `{connection: process}`
        self._kill = weakref.finalize(self, _kill, self._workers)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future:
        """Return the future of `fn(*args, **kwargs)` in a worker.

        Its exception is that of `fn`, or `BrokenExecutor` if the worker died.
        """
        return self._threads.submit(self._do, (fn, args, kwargs))

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """End the workers.

        Args:
            wait: Whether to wait for what was submitted first.
            cancel_futures: Whether to drop what has not begun.
        """
        self._threads.shutdown(wait, cancel_futures=cancel_futures or not wait)
        with self._guard:
            self._kill()

    def _do(self, task):
        connection = self._idle.get()
        try:
            connection = connection or self._started()
            connection.send(task)
            result, error = connection.recv()
        except (EOFError, ConnectionError) as error:
            code = self._ended(connection)
            connection = None
            raise concurrent.futures.BrokenExecutor(
                f"A worker process ended with exit status {code}."
            ) from error
        finally:
            self._idle.put(connection)
        if error is not None:
            raise error
        return result

    def _started(self):
        """Start a worker; return the connection to it."""
        connection, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, *self._first)
        )
        with self._guard:
            if not self._kill.alive:
                raise concurrent.futures.CancelledError
            process.start()
            self._workers[connection] = process
        theirs.close()  # So that the worker's death closes it.
        return connection

    def _ended(self, connection):
        """Forget a worker that has died, and return its exit status."""
        with self._guard:
            process = self._workers.pop(connection)
        process.join()
        connection.close()
        return process.exitcode


def _kill(workers):
    for process in workers.values():
        process.kill()
        process.join()


def _serve(connection, initializer, initargs):
    """Do what comes over a connection until its other end closes."""
    # Ctrl-C reaches all processes of a terminal; the caller ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer(*initargs)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv_bytes()
            try:
                answer = _call(task), None
            except Exception as error:
                answer = None, error
            connection.send(answer)


class RayTasks(concurrent.futures.Executor):
    """Tasks of Ray, on the cluster of `RAY_ADDRESS` or on this machine.

    Args:
        **options: What a task needs, as for `ray.remote`: `num_cpus`,
            `num_gpus`, `resources` and so on.
    """

    def __init__(self, **options: Any):
        ray = _package("ray")
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        # A study itself does again what was lost.
        self._call = ray.remote(max_retries=0, **options)(_call)
        self._pickled = ray.cloudpickle.dumps
        self._cancel = functools.partial(ray.cancel, force=True)
        self._futures: weakref.WeakSet = weakref.WeakSet()

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future:
        """Return the future of `fn(*args, **kwargs)` in a task."""
        # As bytes, so that it is the task that fails if they cannot be read.
        task = self._call.remote(self._pickled((fn, args, kwargs)))
        future = task.future()
        future.add_done_callback(
            lambda future: future.cancelled() and self._cancel(task)
        )
        self._futures.add(future)
        return future

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """Wait for what was submitted, or end it.

        Args:
            wait: Whether to wait.
            cancel_futures: Whether to end tasks that have not ended.
        """
        for future in list(self._futures):
            if cancel_futures:
                future.cancel()
            if wait:
                concurrent.futures.wait([future])


def _call(task):
    function, arguments, named = pickle.loads(task)
    return function(*arguments, **named)


def check(executor):
    """Raise `ValueError` unless a study can be run by an executor."""
    if not callable(getattr(executor, "submit", None)):
        raise ValueError(
            "`executor` must have a method `submit`, as those of "
            f"`concurrent.futures` have. Received: executor={executor!r}."
        )
    context = getattr(executor, "_mp_context", None)
    forks = context is not None and context.get_start_method() == "fork"
    if forks and {"tensorflow", "jax"} & sys.modules.keys():
        raise ValueError(
            "`executor` must not fork, since TensorFlow and JAX hang in forked "
            f"processes. Received: {executor!r}. Give it "
            '`mp_context=multiprocessing.get_context("spawn")`.'
        )


def width(executor):
    """Return how many runs an executor does at once; None if unknown.

    Of the pools of `concurrent.futures`, all that was submitted is lost if a
    worker dies: only as much as the workers do is.
    """
    return getattr(executor, "_max_workers", None)


def renewed(executor):
    """Return an executor to continue with after one broke; None if unknown."""
    if isinstance(executor, Processes):
        return executor
    if not isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return None
    return Processes(
        executor._max_workers,
        executor._mp_context,
        executor._initializer,
        executor._initargs,
    )


@contextlib.contextmanager
def open_executor(name: Any, folder: PathLike) -> Iterator[Any]:
    """Yield the executor that a name stands for, and end it.

    Args:
        name: `"processes:N"`, `"dask://HOST:PORT"`, `"ray"` or
            `"submitit[:KEY=VALUE,...]"`, such as `"submitit:timeout_min=600"`.
            An executor, or None, is yielded as it is, and not ended.
        folder: Where submitit keeps its files; all nodes must see it.

    Raises:
        ValueError: The name is another.
        ImportError: The package of the executor is not installed.
    """
    if not isinstance(name, str):
        yield name
        return
    kind, _, rest = name.partition(":")
    if kind == "processes" and rest.isdecimal():
        with _ended(Processes(int(rest))) as executor:
            yield executor
    elif kind == "dask" and rest.startswith("//"):
        distributed = _package("distributed")
        with distributed.Client(f"tcp:{rest}", set_as_default=False) as client:
            yield client.get_executor()
    elif kind == "submitit":
        yield _submitit(folder, rest)
    elif name == "ray":
        with _ended(RayTasks()) as executor:
            yield executor
    else:
        raise ValueError(
            f"`executor` must be {NAMES}. Received: executor={name!r}."
        )


@contextlib.contextmanager
def _ended(executor):
    """Yield an executor; end its work at once if there is an error."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _submitit(folder, text):
    """Return submitit's executor with settings, such as "timeout_min=600"."""
    executor = _package("submitit").AutoExecutor(folder)
    settings = {"timeout_min": 24 * 60}  # Its own is 5.
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        settings[name] = int(value) if value.isdecimal() else value
    try:
        executor.update_parameters(**settings)
    except NameError as error:
        raise ValueError(
            f"`executor` must be submitit:KEY=VALUE,... Received: {text!r}. "
            f"{error}"
        ) from error
    return executor


def _package(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This executor needs the package {name}, which is not installed. "
            'Install the extra: pip install "keras_jft[cluster]".'
        ) from error
