"""Files on local disks and, where a path is a URL, in object stores.

All that is written is written here, whole or not at all (`atomic_write`).

The paths that users give may contain `{split}` and `*`. Hidden files, and those
that tools leave beside a user's own, are ignored.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from keras_jft.object_store import ObjectPath

PARTIAL = ".partial-"  # What begins with it is not whole.
# A URL, or what `pathlib` makes of one.
_OF_A_URL = re.compile(r"[a-z][a-z0-9+.:-]+:/")

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
    if not isinstance(value, (str, os.PathLike, ObjectPath)):
        raise ValueError(
            f"`{argument}` must be a path, a text such as {example!r}. "
            f"Received: {value!r}."
        )


def as_path(argument, value, example):
    """Return a path as a `pathlib.Path`, or a URL as an `ObjectPath`.

    The two have the same methods, as far as this package uses them.

    Args:
        argument: As for `check_path`.
        value: As for `check_path`.
        example: As for `check_path`.

    Raises:
        ImportError: What opens the store of a URL is not installed.
        ValueError: It is not a path, or fsspec knows no such URL.

    Example:

    >>> as_path("directory", "run/", "run/").name
    'run'
    >>> as_path("directory", Path("s3://bucket/run"), "run/")
    Traceback (most recent call last):
    ValueError: `directory` must be text if it is a URL, of which `pathlib` \
makes a local folder. Received: PosixPath('s3:/bucket/run').
    """
    check_path(argument, value, example)
    if not is_local(value):
        return value if isinstance(value, ObjectPath) else ObjectPath(value)
    if _OF_A_URL.match(str(value)):
        raise ValueError(
            f"`{argument}` must be text if it is a URL, of which `pathlib` "
            f"makes a local folder. Received: {value!r}."
        )
    return Path(value)


def check_local(argument, value, example):
    """Return a path of this machine.

    Args:
        argument: As for `check_path`.
        value: As for `check_path`.
        example: As for `check_path`.

    Raises:
        ValueError: It is not a path, or a URL.

    Example:

    >>> check_local("directory", "gs://bucket/run", "run/")
    Traceback (most recent call last):
    ValueError: `directory` must be on a local or mounted file system, such as \
'run/'. Received: 'gs://bucket/run'. Mount the bucket (Cloud Storage FUSE, \
Mountpoint for Amazon S3), or copy the files there afterwards.
    """
    check_path(argument, value, example)
    if _OF_A_URL.match(str(value)):
        raise ValueError(
            f"`{argument}` must be on a local or mounted file system, such as "
            f"{example!r}. Received: {str(value)!r}. Mount the bucket (Cloud "
            "Storage FUSE, Mountpoint for Amazon S3), or copy the files there "
            "afterwards."
        )
    return as_path(argument, value, example)


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


def read_range(path, start, size):
    """Return `size` bytes of a file from byte `start`, or up to its end.

    Any number of threads may read at once.

    Raises:
        OSError: The file cannot be read.
    """
    if is_local(path):
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)
    return ObjectPath(path).read_bytes(start, start + size)


def opened(path):
    """Open a file to be read as bytes at any place.

    Raises:
        OSError: It cannot be read.
    """
    return open(path, "rb") if is_local(path) else ObjectPath(path).seekable()


@contextlib.contextmanager
def local_copy(path):
    """Yield a path of a file's content on this machine: its own, or a copy's.

    Raises:
        OSError: The file cannot be read.
    """
    path = as_path("path", path, "backbone.npz")
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="keras_jft-") as folder:
        copy = Path(folder, path.name)
        path.download(copy)
        yield copy


def is_file(path):
    """Return whether there is such a file."""
    return as_path("path", path, "photos.parquet").is_file()


def is_folder(path):
    """Return whether there is such a folder."""
    return as_path("path", path, "photos").is_dir()


def matching(pattern):
    """Return the sorted paths that a pattern with `*` names.

    As in a shell, `*` does not match names that begin with a dot.
    """
    if is_local(pattern):
        return sorted(glob.glob(pattern))
    pattern = ObjectPath(pattern)
    folders = [pattern.parent]
    if glob.has_magic(str(pattern.parent)):
        folders = map(ObjectPath, matching(str(pattern.parent)))
    return [
        str(path)
        for folder in folders
        for path in folder.glob(pattern.name)
        if path.name[0] != "." or pattern.name[0] == "."
    ]


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
    return as_path("path", path, "photo.jpg").read_bytes()


def write_bytes(path, content):
    """Write a file whole or not at all.

    Args:
        path: The file; its folder is made if need be.
        content: Bytes.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path) as partial:
        Path(partial).write_bytes(content)


@contextlib.contextmanager
def edited(path):
    """Yield the local path of a file to change: its own, or that of a copy.

    A copy is of an object in a store, takes its place at the end, and is empty
    if there is none. Meanwhile no other thread or process of this machine edits
    the object; those of other machines must not, as a store has no locks.

    Args:
        path: The file. A folder is made if need be.

    Raises:
        OSError: An object cannot be read or written.
    """
    path = as_path("path", path, "rows.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(path, Path):
        yield path
        return
    import fcntl  # Not on Windows, where the rest of the package imports.

    with (
        open(lock_file(path), "ab") as lock,
        tempfile.TemporaryDirectory(prefix="keras_jft-") as folder,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy = Path(folder, path.name)
        with contextlib.suppress(FileNotFoundError):
            path.download(copy)
        yield copy
        path.upload(copy)


def lock_file(path):
    """Return the local file whose lock stands for a path, str.

    It is that path or, of an object in a store, a file of this machine, as a
    store has no locks.
    """
    if is_local(path):
        return os.path.realpath(path)
    name = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    return os.path.join(
        tempfile.gettempdir(), f"keras_jft-{os.getuid()}-{name}.lock"
    )


def write_json(path, value):
    """Write what JSON can hold, whole or not at all, as UTF-8.

    Raises:
        OSError: The file cannot be written.
    """
    write_bytes(path, json.dumps(value).encode())


@contextlib.contextmanager
def atomic_write(path):
    """Yield a local name to write a file under; it gets its own at the end.

    A local file is written beside its place and renamed, a remote one in the
    folder for temporary files (`TMPDIR`) and uploaded, which a store does whole
    or not at all. If the block raises, what was written is removed; if the
    process dies, it keeps the temporary name, which starts with `PARTIAL` and
    ends like `path`. Several processes may write one file: that of the last one
    stays.

    Args:
        path: The file's final name. A folder is made if need be.

    Raises:
        OSError: The file cannot be written.
    """
    path = as_path("path", path, "rows.jsonl")
    name = f"{PARTIAL}{secrets.token_hex(4)}-{path.name}"
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="keras_jft-") as folder:
            yield os.path.join(folder, name)
            path.upload(os.path.join(folder, name))
        return
    partial = os.path.join(os.path.dirname(path), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())  # Before its name says: whole.
        os.replace(partial, path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def _sync_folder(folder):
    """Sync a folder, so that a rename in it survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(path):
    """Remove what processes that were killed have left of a local file."""
    path = as_path("path", path, "rows.jsonl")
    for left in path.parent.glob(f"{PARTIAL}*-{glob.escape(path.name)}"):
        left.unlink(missing_ok=True)


def remove_tree(folder):
    """Remove a folder with all that is in it, as far as that is possible."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        as_path("folder", folder, "run").rmtree()


def list_folder(folder):
    """Return the names of what is in a folder, sorted.

    Raises:
        ValueError: There is no such folder, or its path is not UTF-8.
    """
    check_utf8(folder)
    if not is_folder(folder):
        raise ValueError(f"A folder is required. Received: {str(folder)!r}.")
    return sorted(names_in(folder))


def names_in(folder):
    """Yield the names of what is in a folder; none if it does not exist.

    Those of a local folder are not sorted, and not held in memory.
    """
    if not is_local(folder):
        yield from (path.name for path in ObjectPath(folder).iterdir())
    elif os.path.isdir(folder):
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
