"""Files on any filesystem that TensorFlow can open: local, gs://, s3:// etc.

The paths that users give may contain `{split}` and `*`. Hidden files, and those
that tools leave beside a user's own, are ignored.
"""

import contextlib
import glob
import io
import json
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

PARTIAL = ".partial-"  # What begins with it is not whole.

# What notebooks, photo viewers, disks and archives leave beside images, in
# lower case. All names that begin with a dot are ignored as well.
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
    """Return whether a file or folder of this name is hidden or a tool's.

    Args:
        name: The name alone, without its folders.

    Example:

    >>> is_tool_name(".ipynb_checkpoints"), is_tool_name("@eaDir")
    (True, True)
    >>> is_tool_name("@cat"), is_tool_name("thumbs.jpg")
    (False, False)
    """
    return name.startswith(".") or name.lower() in TOOL_NAMES


def check_path(argument, value, example):
    """Raise `ValueError` unless a value is a path.

    Args:
        argument: Name of the argument, for the message.
        value: What was passed.
        example: A path that would do, for the message.

    Example:

    >>> check_path("path", None, "rows.jsonl")
    Traceback (most recent call last):
    ValueError: `path` must be a path, a text such as 'rows.jsonl'. \
Received: None.
    """
    # A path of bytes is one of the operating system, but not of `pathlib`.
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(
            f"`{argument}` must be a path, a text such as {example!r}. "
            f"Received: {value!r}."
        )


def check_local(argument, value, example):
    """Raise `ValueError` unless a value is a path of this machine.

    What `pathlib` makes of "gs://bucket/run" is a local folder named "gs:".

    Args:
        argument: As for `check_path`.
        value: As for `check_path`.
        example: As for `check_path`.

    Example:

    >>> check_local("directory", "gs://bucket/run", "run/")
    Traceback (most recent call last):
    ValueError: `directory` must be on a local or mounted file system, such as \
'run/'. Received: 'gs://bucket/run'. Mount the bucket (Cloud Storage FUSE, \
Mountpoint for Amazon S3), or copy the files there afterwards.
    """
    check_path(argument, value, example)
    # `pathlib` has made one slash of two.
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(value)):
        raise ValueError(
            f"`{argument}` must be on a local or mounted file system, such as "
            f"{example!r}. Received: {str(value)!r}. Mount the bucket (Cloud "
            "Storage FUSE, Mountpoint for Amazon S3), or copy the files there "
            "afterwards."
        )


def tensorflow(purpose):
    """Import the module `tensorflow` when it is needed.

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
    """Return `tf.io.gfile`."""
    return tensorflow("Reading and writing records").io.gfile


def is_local(path):
    """Return whether a path is the operating system's, not gs:// or such.

    >>> is_local("/data/a"), is_local("gs://bucket/a")
    (True, False)
    """
    return "://" not in str(path)


def check_utf8(path):
    """Raise `ValueError` unless TensorFlow can open this path."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Records can be stored only where the whole path is UTF-8. "
            f"Received: {str(path)!r}. Rename the part that is not."
        ) from error


@contextlib.contextmanager
def named_errors(path, doing):
    """Turn TensorFlow's errors of a file into `OSError`s that name it.

    Args:
        path: The file.
        doing: What was attempted, as a participle, such as "read".
    """
    errors = tensorflow("Reading and writing records").errors
    try:
        yield
    except errors.OpError as error:
        reason = str(error.message).strip() or type(error).__name__
        raise OSError(
            f"{str(path)!r} could not be {doing}: {reason}. Check that it "
            "exists, that you have permission, and that the disk is not full."
        ) from error


def read_range(path, start, size):
    """Return `size` bytes of a file from byte `start`, or up to its end.

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
    """A remote file with the interface of Python's own, for libraries."""

    def __init__(self, path):
        self._path = str(path)
        with named_errors(path, "read"):
            self._file = gfile().GFile(self._path, "rb")
            self._size = self._file.size()

    def readable(self):
        """Return True."""
        return True

    def seekable(self):
        """Return True."""
        return True

    def tell(self):
        """Return the position of the byte that is read next."""
        with named_errors(self._path, "read"):
            return self._file.tell()

    def seek(self, offset, whence=os.SEEK_SET):
        """Go to a byte, counted from the start, from here or from the end."""
        start = {os.SEEK_SET: 0, os.SEEK_END: self._size}
        offset += self.tell() if whence == os.SEEK_CUR else start[whence]
        with named_errors(self._path, "read"):
            self._file.seek(offset)
        return offset

    def readinto(self, buffer):
        """Fill a buffer; return the number of bytes read."""
        with named_errors(self._path, "read"):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self):
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


def opened(path):
    """Open a file to be read as bytes at any place.

    Raises:
        OSError: It cannot be read.
    """
    return open(path, "rb") if is_local(path) else _Remote(path)


def is_file(path):
    """Return whether there is such a file."""
    if is_local(path):
        return os.path.isfile(path)
    return gfile().exists(str(path)) and not gfile().isdir(str(path))


def is_folder(path):
    """Return whether there is such a folder."""
    if is_local(path):
        return os.path.isdir(path)
    return gfile().isdir(str(path))


def matching(pattern):
    """Return the sorted paths that a pattern with `*` names.

    As in a shell, `*` does not match names that begin with a dot.
    """
    if is_local(pattern):
        return sorted(glob.glob(pattern))
    with named_errors(pattern, "found"):
        found = sorted(gfile().glob(pattern))
    if os.path.basename(pattern).startswith("."):
        return found
    # TensorFlow's `*` also matches "._a.csv", which macOS writes.
    return [p for p in found if not os.path.basename(p).startswith(".")]


def image_source(path):
    """Return what `decode_image` takes: a local path, or a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    return str(path) if is_local(path) else read_bytes(path)


def read_bytes(path):
    """Return all bytes of a file.

    Raises:
        OSError: The file cannot be read.
    """
    with named_errors(path, "read"), gfile().GFile(str(path), "rb") as file:
        return file.read()


def write_bytes(path, content):
    """Write a file whole or not at all.

    Args:
        path: The file; its folder is made if need be.
        content: Bytes.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path) as partial:
        if is_local(path):
            Path(partial).write_bytes(content)
        else:
            with (
                named_errors(path, "written"),
                gfile().GFile(partial, "wb") as file,
            ):
                file.write(content)


def write_json(path, value):
    """Write what JSON can hold, whole or not at all, as UTF-8.

    Raises:
        OSError: The file cannot be written.
    """
    write_bytes(path, json.dumps(value).encode())


@contextlib.contextmanager
def atomic_write(path):
    """Yield a name to write a file under; the file gets its own at the end.

    If the block raises, what was written is removed; if the process dies, it
    keeps the temporary name, which starts with `PARTIAL` and ends like `path`.
    Several processes may write one file: that of the last one stays.

    Args:
        path: The file's final name. A local folder is made if need be.

    Raises:
        OSError: The file cannot be written.
    """
    folder, name = os.path.split(str(path))
    name = f"{PARTIAL}{secrets.token_hex(4)}-{name}"
    partial = os.path.join(folder, name)
    if is_local(path):
        os.makedirs(folder or ".", exist_ok=True)
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())  # Before its name says: whole.
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise
        return
    try:
        yield partial
        with named_errors(path, "written"):
            gfile().rename(partial, str(path), overwrite=True)
    except BaseException:
        errors = tensorflow("Writing to a bucket").errors
        with contextlib.suppress(errors.OpError, OSError):
            gfile().remove(partial)
        raise


def remove_partial(path):
    """Remove what processes that were killed have left of a file."""
    folder, name = os.path.split(str(path))
    if is_local(path):
        pattern = f"{PARTIAL}*-{glob.escape(name)}"
        for left in glob.glob(os.path.join(glob.escape(folder), pattern)):
            with contextlib.suppress(OSError):
                os.remove(left)
        return
    for left in matching(os.path.join(folder, f"{PARTIAL}*-{name}")):
        with contextlib.suppress(OSError), named_errors(left, "removed"):
            gfile().remove(left)


def make_folder(folder):
    """Make a folder, and those that it lies in, if they do not exist.

    Raises:
        OSError: It cannot be made.
    """
    with named_errors(folder, "made"):
        gfile().makedirs(str(folder))


def list_folder(folder):
    """Return the names of the files in a folder, sorted.

    Raises:
        ValueError: There is no such folder, or its path is not UTF-8.
    """
    check_utf8(folder)
    try:
        with named_errors(folder, "listed"):
            return sorted(gfile().listdir(str(folder)))
    except OSError as error:
        raise ValueError(f"A folder is required. Received: {error}") from error


def names_in(folder):
    """Yield the names of what is in a folder; none if it does not exist.

    Those of a local folder are not sorted, and not held in memory.
    """
    if not is_folder(folder):
        return
    if not is_local(folder):
        yield from (name.rstrip("/") for name in list_folder(folder))
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def folders_in(folder):
    """Return the folders in a local folder, sorted; none if it does not exist.

    Those that are hidden or left by tools (`is_tool_name`) are left out.
    """
    folder = Path(folder)
    return sorted(
        entry
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.is_dir() and not is_tool_name(entry.name)
    )


def walk(folder, above=()):
    """Yield the paths of all files below a local folder, in no order.

    Files and folders that are hidden or left by tools (`is_tool_name`) are
    left out; links to folders are followed.

    Args:
        folder: A folder.
        above: The real paths of the folders above it. A link back to one of
            them, or to one of its parents, is a cycle and is not followed.

    Raises:
        OSError: A folder cannot be listed.
    """
    real = Path(folder).resolve()
    if any(parent.is_relative_to(real) for parent in above):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_tool_name(entry.name):
                continue
            if entry.is_dir():
                yield from walk(entry.path, (*above, real))
            else:
                yield Path(entry.path)


def of_split(source, split):
    """Return `source` with the split in place of `{split}` in its paths.

    >>> of_split(["{split}/a.csv", {"b": 1}], "val")
    ['val/a.csv', {'b': 1}]
    """
    if isinstance(source, (list, tuple)):
        return [of_split(part, split) for part in source]
    if isinstance(source, (str, Path)):
        return str(source).replace("{split}", str(split))
    return source


def check_split(split, sources, remedy):
    """Raise `ValueError` if a split is requested that no path selects.

    Training and validation would then use the same examples. A path selects
    its split where its name, or that of its folder, contains `{split}` or the
    name of the split. "train", the default of `jft.data.load`, is always
    accepted.

    Args:
        split: The split that the user asks for.
        sources: Paths, or lists of paths, as the user gave them.
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
    """Return the paths of files, str; those of each pattern are sorted.

    Args:
        pattern: A path, a pattern with `*`, or a list of these; local or in
            a bucket.
        suffix: If given, a folder stands for its files with this suffix.

    Raises:
        ValueError: A path or pattern does not match any file.
    """
    is_one = isinstance(pattern, (str, bytes, Path))
    if is_one or not isinstance(pattern, Iterable):
        pattern = [pattern]
    found = []
    for path in pattern:
        check_path("path", path, "photos-*.parquet")
        text = str(path)
        if suffix and is_folder(text):
            paths = matching(f"{text.rstrip('/')}/*{suffix}")
        else:
            paths = matching(text) or [text]
        if not paths or not all(map(is_file, paths)):
            raise ValueError(
                f"There must be a file {text!r}. Received none. Its name may "
                "contain `*`, and `{split}` for the split."
            )
        found += paths
    return found
