"""Files of any filesystem that TensorFlow opens: local, gs://, s3:// and more.

What names them may hold `{split}` and `*`; what tools leave beside a user's own
files is passed over.
"""

import contextlib
import glob
import io
import os
import re
from pathlib import Path

# What notebooks, photo viewers, disks and archives leave beside images, in
# small letters; besides all names that begin with a dot.
TOOL_NAMES = frozenset(
    (
        "__macosx",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)


def is_tool_name(name):
    """Whether a file or folder of this name is hidden, or a tool's own.

    Args:
        name: Without the folders it lies in.

    Example:

    >>> is_tool_name(".ipynb_checkpoints"), is_tool_name("@eaDir")
    (True, True)
    >>> is_tool_name("@cat"), is_tool_name("thumbs.jpg")
    (False, False)
    """
    return name.startswith(".") or name.lower() in TOOL_NAMES


def tensorflow(purpose):
    """The module `tensorflow`, imported when it is needed.

    Args:
        purpose: What needs it, for the error.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs TensorFlow, which is not installed. Install it, "
            "or use a data set of files, such as `image_folder`."
        ) from error
    return tf


def gfile():
    """`tf.io.gfile`."""
    return tensorflow("Reading and writing records").io.gfile


def is_local(path):
    """Whether a path is one of the operating system, not gs:// or the like.

    >>> is_local("/data/a"), is_local("gs://bucket/a")
    (True, False)
    """
    return "://" not in str(path)


def check_utf8(path):
    """Raise `ValueError` unless TensorFlow can open what has this path."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Records must lie where the whole path is UTF-8. Received: "
            f"{str(path)!r}. Rename what is not."
        ) from error


@contextlib.contextmanager
def named_errors(path, doing):
    """Turns TensorFlow's errors of a file into `OSError`s that name it.

    Args:
        path: The file.
        doing: What was tried, such as "read".
    """
    errors = tensorflow("Reading and writing records").errors
    try:
        yield
    except errors.OpError as error:
        reason = str(error.message).strip() or type(error).__name__
        raise OSError(
            f"{str(path)!r} could not be {doing}: {reason}. Check that it is "
            "there, that you may use it, and that the disk is not full."
        ) from error


def read_range(path, start, size):
    """`size` bytes of a file from byte `start`, fewer if it ends there.

    Any number of threads may read at once.

    Raises:
        OSError: The file cannot be read.
    """
    if is_local(path):
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)
    with named_errors(path, "read"), gfile().GFile(path, "rb") as file:
        file.seek(start)
        return file.read(size)


class _Remote(io.RawIOBase):
    """A file that is not local, as Python's own are; libraries read those."""

    def __init__(self, path):
        self._path = str(path)
        with named_errors(path, "read"):
            self._file = gfile().GFile(self._path, "rb")
            self._size = self._file.size()

    def readable(self):
        """True."""
        return True

    def seekable(self):
        """True."""
        return True

    def tell(self):
        """The byte that is read next."""
        with named_errors(self._path, "read"):
            return self._file.tell()

    def seek(self, offset, whence=os.SEEK_SET):
        """Goes to a byte, counted from the start, from here or the end."""
        start = {os.SEEK_SET: 0, os.SEEK_END: self._size}
        offset += self.tell() if whence == os.SEEK_CUR else start[whence]
        with named_errors(self._path, "read"):
            self._file.seek(offset)
        return offset

    def readinto(self, buffer):
        """Fills a buffer; the number of bytes that there were."""
        with named_errors(self._path, "read"):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self):
        """Closes the file."""
        if not self.closed:
            self._file.close()
        super().close()


def opened(path):
    """A file, opened to be read as bytes at any place.

    Raises:
        OSError: It cannot be read.
    """
    return open(path, "rb") if is_local(path) else _Remote(path)


def is_file(path):
    """Whether there is such a file."""
    if is_local(path):
        return os.path.isfile(path)
    return gfile().exists(str(path)) and not gfile().isdir(str(path))


def is_folder(path):
    """Whether there is such a folder."""
    if is_local(path):
        return os.path.isdir(path)
    return gfile().isdir(str(path))


def matching(pattern):
    """Return the sorted paths that a pattern with `*` names.

    As in a shell, `*` stands for no name that begins with a dot.
    """
    if is_local(pattern):
        return sorted(glob.glob(pattern))
    with named_errors(pattern, "found"):
        found = sorted(gfile().glob(pattern))
    if os.path.basename(pattern).startswith("."):
        return found
    # TensorFlow's `*` also stands for "._a.csv", which macOS writes.
    return [p for p in found if not os.path.basename(p).startswith(".")]


def image_source(path):
    """What `decode_image` takes: a local path, or the bytes of a file.

    Raises:
        OSError: The file cannot be read.
    """
    return str(path) if is_local(path) else read_bytes(path)


def read_bytes(path):
    """All of a file.

    Raises:
        OSError: The file cannot be read.
    """
    with named_errors(path, "read"), gfile().GFile(str(path), "rb") as file:
        return file.read()


def write_bytes(path, content):
    """Writes a file whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with (
        whole(path) as partial,
        named_errors(path, "written"),
        gfile().GFile(partial, "wb") as file,
    ):
        file.write(content)


@contextlib.contextmanager
def whole(path):
    """Gives another name to write a file under; it gets its own at the end.

    When the block raises, the file is removed; when the process dies, it keeps
    the other name, `PATH.partial`.

    Args:
        path: The file's own name.
    """
    partial = f"{path}.partial"
    try:
        yield partial
        with named_errors(path, "written"):
            gfile().rename(partial, path, overwrite=True)
    except BaseException:
        errors = tensorflow("Writing records").errors
        with contextlib.suppress(errors.OpError, OSError):
            gfile().remove(partial)
        raise


def make_folder(folder):
    """Makes a folder, and those that it lies in, if they are not there.

    Raises:
        OSError: It cannot be made.
    """
    with named_errors(folder, "made"):
        gfile().makedirs(str(folder))


def list_folder(folder):
    """Names of the files in a folder, sorted.

    Raises:
        ValueError: There is no such folder, or its path is not UTF-8.
    """
    check_utf8(folder)
    try:
        with named_errors(folder, "listed"):
            return sorted(gfile().listdir(str(folder)))
    except OSError as error:
        raise ValueError(f"A folder is needed. Received: {error}") from error


def names_in(folder):
    """Names of what lies in a folder; none if there is no such folder."""
    if not is_folder(folder):
        return []
    if is_local(folder):
        return os.listdir(folder)
    return [name.rstrip("/") for name in list_folder(folder)]


def of_split(source, split):
    """`source` with the split for `{split}` where it is a path, or a list.

    >>> of_split(["{split}/a.csv", {"b": 1}], "val")
    ['val/a.csv', {'b': 1}]
    """
    if isinstance(source, (list, tuple)):
        return [of_split(part, split) for part in source]
    if isinstance(source, (str, Path)):
        return str(source).replace("{split}", str(split))
    return source


def check_split(split, sources, remedy):
    """Raise `ValueError` where a split is asked for and nothing chooses it.

    Training and validation would be of the same examples. A source chooses
    where `{split}` or the split is in its name, or in that of its folder.
    "train", which `jft.data.load` passes on where none is given, may be all.

    Args:
        split: What the user asks for.
        sources: Paths, or lists of them, as they were given.
        remedy: A sentence that says what to do.

    Example:

    >>> check_split("val", "boxes/val2017.json", "")
    >>> check_split("val", "boxes/all.json", "Pass split=None.")
    Traceback (most recent call last):
    ValueError: `split` must choose among examples. Received: 'val', which \
nothing in 'boxes/all.json' says. Pass split=None.
    """
    if split in (None, "train"):
        return
    names = sources if isinstance(sources, (list, tuple)) else [sources]
    said = "{split}", rf"(?<![a-z]){re.escape(str(split))}(?![a-z])"
    for name in map(str, names):
        ends = "/".join(Path(name).parts[-2:])
        if said[0] in name or re.search(said[1], ends, re.IGNORECASE):
            continue
        raise ValueError(
            f"`split` must choose among examples. Received: {split!r}, which "
            f"nothing in {name!r} says. {remedy}"
        )


def files_of(pattern, suffix=None):
    """The paths of files, str, those of one pattern sorted.

    Args:
        pattern: A path, a pattern with `*`, or a list of these; local or in
            a bucket.
        suffix: With it a folder stands for its files that end so.

    Raises:
        ValueError: One names no file.
    """
    patterns = [pattern] if isinstance(pattern, (str, Path)) else pattern
    found = []
    for text in map(str, patterns):
        if suffix and is_folder(text):
            paths = matching(f"{text.rstrip('/')}/*{suffix}")
        else:
            paths = matching(text) or [text]
        if not paths or not all(map(is_file, paths)):
            raise ValueError(
                f"There must be a file {text!r}. Received none. `*` may stand "
                "in its name, and `{split}` for the split."
            )
        found += paths
    return found
