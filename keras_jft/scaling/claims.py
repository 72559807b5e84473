"""Who runs what, where several processes work on one study.

A study's file of rows has a neighbor, `<rows>.claims`, in which every config
owns one byte, by its key. Whoever holds the lock of that byte runs the config.
The operating system takes a lock back when its process ends, however it ends,
on this machine and, over NFS, on others: there is no stale claim to clean up.
"""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def claim(path, key):
    """Yields whether this process alone may run a config now.

    Args:
        path: The file of rows.
        key: The key of the config, hexadecimal digits.
    """
    import fcntl  # Not on Windows, where the rest of the package imports.

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(f"{path}.claims", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            # Offsets end below 2^63; no byte needs to be there to be locked.
            place = int(key[:15], 16)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(file)
