"""Paths in object stores: s3://, gs:// and whatever else fsspec opens.

fsspec is imported when the first such path is made, and no sooner.
"""

import contextlib
import fnmatch
import functools
import pathlib
import posixpath
import tempfile


@functools.total_ordering
class ObjectPath:
    """A URL with those methods of `pathlib.Path` that a store can keep.

    A store has no folders: one is there when an object is in it. An object
    appears whole, by `upload`; it is neither appended to nor locked. A failure
    of the network is an error, never an object that is not there. Nothing that
    was listed is remembered, as others write to the store, too.

    It is not an `os.PathLike`: what opens local files, such as `open`, would
    take "s3://bucket" for a folder named "s3:".

    Args:
        url: Such as "s3://bucket/run".

    Raises:
        ImportError: fsspec is not installed, or what it needs for this store.
        ValueError: fsspec knows no such store.
    """

    def __init__(self, url):
        store, _, place = str(url).partition("://")
        self._url = f"{store}://{place.rstrip('/')}"
        try:
            from fsspec import get_filesystem_class

            get_filesystem_class(store.rpartition("::")[2])
        except ImportError as error:
            raise ImportError(
                f"{self._url!r} cannot be opened: {error}. `pip install "
                "'keras_jft[cloud]'` brings fsspec and s3fs; for gs:// also "
                "`pip install gcsfs`."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"Expected a path, or a URL that fsspec knows, such as "
                f"'s3://bucket/run'. Received: {self._url!r}. {error}."
            ) from error

    def __str__(self):
        return self._url

    def __repr__(self):
        return f"ObjectPath({self._url!r})"

    def __eq__(self, other):
        return isinstance(other, ObjectPath) and self._url == other._url

    def __lt__(self, other):
        return self._url < other._url

    def __hash__(self):
        return hash(self._url)

    # === Names ===

    def __truediv__(self, name):
        return ObjectPath(f"{self._url}/{name}")

    def __rtruediv__(self, folder):
        return self  # As pathlib has it of absolute paths.

    @property
    def name(self):
        """Return what follows the last slash."""
        return posixpath.basename(self._url)

    @property
    def stem(self):
        """Return the name without its suffix."""
        return pathlib.PurePosixPath(self.name).stem

    @property
    def suffix(self):
        """Return what follows the last dot of the name, with the dot."""
        return pathlib.PurePosixPath(self.name).suffix

    @property
    def parent(self):
        """Return the folder."""
        store, _, place = self._url.partition("://")
        return ObjectPath(f"{store}://{posixpath.dirname(place)}")

    def with_name(self, name):
        """Return the path of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix):
        """Return the path with another suffix."""
        return self.with_name(self.stem + suffix)

    # === Looking ===

    def exists(self):
        """Return whether there is such an object or folder."""
        return self._kind() is not None

    def is_file(self):
        """Return whether there is such an object."""
        return self._kind() == "file"

    def is_dir(self):
        """Return whether an object is in this folder."""
        return self._kind() == "directory"

    def iterdir(self):
        """Return the paths in this folder, sorted; none if it is not there."""
        # Not `glob` or `exists` of fsspec, for which errors are empty folders.
        with _named(self, "listed"), contextlib.suppress(FileNotFoundError):
            store, place = self._opened()
            entries = store.ls(place, detail=True)
            found = sorted(entry["name"].rstrip("/") for entry in entries)
            inside = [name for name in found if name != place.rstrip("/")]
            return [self / posixpath.basename(name) for name in inside]
        return []

    def glob(self, pattern):
        """Return the paths in this folder whose names match, sorted."""
        return [
            path
            for path in self.iterdir()
            if fnmatch.fnmatchcase(path.name, pattern)
        ]

    # === Reading ===

    def read_bytes(self, start=None, stop=None):
        """Return the bytes of an object, or those from `start` to `stop`."""
        with _named(self, "read"):
            store, place = self._opened()
            return store.cat_file(place, start=start, end=stop)

    def read_text(self, encoding):
        """Return the text of an object."""
        return self.read_bytes().decode(encoding)

    def open(self, mode="rb"):
        """Return a copy of an object, opened to be read as bytes.

        Raises:
            ValueError: Another mode is asked for: a store only reads this way.
        """
        if mode != "rb":
            raise ValueError(f"`mode` must be 'rb'. Received: mode={mode!r}.")
        # Its name is gone when it is closed.
        file = tempfile.NamedTemporaryFile("rb")  # noqa: SIM115
        try:
            self.download(file.name)
        except BaseException:
            file.close()
            raise
        return file

    def seekable(self):
        """Return the object opened, of which only what is read is fetched."""
        with _named(self, "read"):
            store, place = self._opened()
            return store.open(place, "rb", block_size=1 << 20)

    def download(self, local):
        """Copy an object to a local file."""
        with _named(self, "read"):
            store, place = self._opened()
            store.get_file(place, str(local))

    # === Writing ===

    def upload(self, local):
        """Put a whole local file in place of the object, in one step."""
        with _named(self, "written"):
            store, place = self._opened()
            store.put_file(str(local), place)

    def replace(self, target):
        """Move an object. If that is interrupted, there are two of it."""
        with _named(self, "moved"):
            store, place = self._opened()
            store.cp_file(place, target._opened()[1])
        self.unlink()

    def unlink(self, missing_ok=False):
        """Remove an object."""
        missing = (FileNotFoundError,) if missing_ok else ()
        with contextlib.suppress(*missing), _named(self, "removed"):
            store, place = self._opened()
            store.rm_file(place)

    def rmtree(self):
        """Remove what is in this folder, if it is there."""
        with contextlib.suppress(FileNotFoundError), _named(self, "removed"):
            store, place = self._opened()
            store.rm(place, recursive=True)

    def mkdir(self, parents=True, exist_ok=True):
        """Do nothing: a folder is there when an object is in it."""

    # === The store ===

    def _opened(self):
        """Return fsspec's file system, and the place of this path in it."""
        from fsspec.core import url_to_fs

        store, place = url_to_fs(self._url)
        store.invalidate_cache()
        return store, place

    def _kind(self):
        """Return "file" or "directory", or None if there is nothing."""
        with _named(self, "read"), contextlib.suppress(FileNotFoundError):
            store, place = self._opened()
            return store.info(place)["type"]
        return None


@contextlib.contextmanager
def _named(path, doing):
    """Turn any error of a store into an `OSError` that names the object."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{str(path)!r} could not be {doing}: no such object or bucket."
        ) from error
    except Exception as error:  # Each store has its own.
        raise OSError(
            f"{str(path)!r} could not be {doing}: {type(error).__name__}: "
            f"{error}. Check the address, your credentials and the network."
        ) from error
