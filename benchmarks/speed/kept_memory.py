"""Starts a script anew so that memory is kept, which timings need.

Big arrays given back to the system at every step make page faults dominate on
virtual machines. glibc reads what to do when a process starts.
"""

import os
import sys

ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}


def restart(**environment):
    """Runs the script again, unless its environment is `ENVIRONMENT` already.

    Args:
        **environment: Other variables that must be so.
    """
    wanted = {**ENVIRONMENT, **environment}
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.argv])
