"""Claims: let several processes or threads work on one study.

Beside a study's file of rows is `<rows>.claims`, in which every config owns the
byte whose position its key gives. Whoever holds the lock on that byte runs the
config. The operating system releases a lock when its process ends, however it
ends, on this machine and, over NFS, on others: no stale claims need cleaning
up. An object store has no locks. If the rows are in one, the file is in the
folder for temporary files, and claims hold among the processes of one machine:
other machines then take part as workers of an executor, not on their own.

Locks belong to processes, and a process loses all of its locks as soon as it
closes the file once. Its threads therefore share one open file, and record who
holds which byte among themselves.
"""

import contextlib
import os
import threading
import time

from keras_jft import files

_GUARD = threading.Lock()
_HELD: dict = {}  # `{path: (open file, bytes that this process has locked)}`.
if hasattr(os, "register_at_fork"):  # A child inherits none of the locks.
    os.register_at_fork(after_in_child=_HELD.clear)


@contextlib.contextmanager
def claim(path, key):
    """Claim a config; yield whether this thread may run it.

    Args:
        path: The file of rows.
        key: The key of the config, hexadecimal digits.
    """
    folder = files.as_path("path", path, "rows.jsonl").parent
    folder.mkdir(parents=True, exist_ok=True)
    path = files.lock_file(f"{path}.claims")
    # Offsets must be below 2^63. A byte beyond the file's end can be locked.
    place = int(key[:15], 16)
    with _GUARD:
        mine = _take(path, place)
    try:
        yield mine
    finally:
        if mine:
            with _GUARD:
                _give_back(path, place)


@contextlib.contextmanager
def wait(path, key, pause=0.2):
    """Wait until this thread alone may do something, and hold it to the end.

    Args:
        path: As `claim` takes it.
        key: As `claim` takes it.
        pause: Seconds between two attempts.
    """
    while True:
        with claim(path, key) as mine:
            if mine:
                yield
                return
        time.sleep(pause)


def _take(path, place):
    """Lock a byte; return whether it was free and is now this thread's."""
    import fcntl  # Not on Windows, where the rest of the package imports.

    if path not in _HELD:
        _HELD[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o644), set()
    file, places = _HELD[path]
    free = place not in places
    if free:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            places.add(place)
        except OSError:
            free = False
    _close_if_unused(path)
    return free


def _give_back(path, place):
    import fcntl

    file, places = _HELD[path]
    fcntl.lockf(file, fcntl.LOCK_UN, 1, place)
    places.remove(place)
    _close_if_unused(path)


def _close_if_unused(path):
    file, places = _HELD[path]
    if not places:
        del _HELD[path]
        os.close(file)
