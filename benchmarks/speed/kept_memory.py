"""Restart a script with settings that keep freed memory, for stable timings.

If large arrays are returned to the system at every step, page faults dominate
on virtual machines. glibc only reads these settings when a process starts.
"""

import os
import sys

ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}


def restart(**environment):
    """Run the script again, unless its environment is already `ENVIRONMENT`.

    TensorFlow gets oneDNN unless the user has decided, as it does where
    `keras_jft` is imported first.

    Args:
        **environment: Other variables to set.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    wanted = {**ENVIRONMENT, **environment}
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.argv])
