"""What has to be set before Keras, and with it TensorFlow, is imported."""

import contextlib
import logging
import os
import pathlib
import platform
import re
import sys
import tempfile

CPUINFO = "/proc/cpuinfo"
# Where TensorFlow turns oneDNN on by itself.
WITH_ONEDNN = {
    "amx_bf16",
    "amx_int8",
    "amx_tile",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
}
# Of level INFO, and what absl writes above the first line.
CHATTER = re.compile(
    rb"(WARNING: All log messages before absl|I\d{4} |To enable the following)"
)


def import_keras():
    """Import Keras, and TensorFlow where it is the backend: quiet and fast.

    Sets, where the user has not set it and TensorFlow is not imported yet:

    - `TF_ENABLE_ONEDNN_OPTS=1`, on x86: on a CPU with AVX2 alone TensorFlow
      leaves oneDNN off, and takes up to twice as long.
    - `TF_CPP_MIN_LOG_LEVEL=2`, which shows errors alone.

    Lines of level INFO that TensorFlow writes before it reads that variable are
    held back, unless the level is 0.
    """
    if "tensorflow" in sys.modules:
        _say_if_too_late()
        import keras  # noqa: F401

        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _without_chatter():
        import keras  # noqa: F401


def cpu_flags():
    """The set of instructions of this CPU, as Linux names them; maybe empty."""
    try:
        text = pathlib.Path(CPUINFO).read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def _say_if_too_late():
    flags = cpu_flags()
    gains = "avx2" in flags and flags.isdisjoint(WITH_ONEDNN)
    if gains and "TF_ENABLE_ONEDNN_OPTS" not in os.environ:
        logging.getLogger("keras_jft").warning(
            "TensorFlow was imported before keras_jft, and left oneDNN off on "
            "this CPU: training may take twice as long. Import keras_jft "
            "first, or set TF_ENABLE_ONEDNN_OPTS=1."
        )


@contextlib.contextmanager
def _without_chatter():
    """Pass what is written to the file of standard error on, without `CHATTER`.

    It is passed on at the end, also after an exception.
    """
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        yield
        return
    try:
        screen = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            held.seek(0)
            lines = [line for line in held if not CHATTER.match(line)]
            os.write(2, b"".join(lines))
