"""Who runs what, where several processes or threads work on one study.

A study's file of rows has a neighbor, `<rows>.claims`, in which every config
owns one byte, by its key. Whoever holds the lock of that byte runs the config.
The operating system takes a lock back when its process ends, however it ends,
on this machine and, over NFS, on others: there is no stale claim to clean up.

The lock is that of a process, and is lost when the process closes the file
once: so its threads share one open file, and keep among themselves who has
what.
"""

import contextlib
import os
import pathlib
import threading
import time

_GUARD = threading.Lock()
_HELD = {}  # By path: the open file, and which bytes this process has.
if hasattr(os, "register_at_fork"):  # A child has none of the locks.
    os.register_at_fork(after_in_child=_HELD.clear)


@contextlib.contextmanager
def claim(path, key):
    """Yields whether this thread alone may run a config now.

    Args:
        path: The file of rows.
        key: The key of the config, hexadecimal digits.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path = os.path.realpath(f"{path}.claims")
    # Offsets end below 2^63; no byte needs to be there to be locked.
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
    """Return whether a byte was free, and is now this thread's."""
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
