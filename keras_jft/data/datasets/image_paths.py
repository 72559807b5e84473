"""Image files that a table names, found below a folder.

A table was often written on another machine: with `\\` between folders, `./`
in front, another Unicode form of "é", or the name of the folder itself. Paths
are found if they can mean only one file. Any other path is an error, which
names a file with a similar name. Paths that leave the folder are refused: a
table from elsewhere must not decide which files of this machine are read.
"""

import os
import posixpath

from keras_jft import files
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.text import composed
from keras_jft.text_files import short

# No system opens longer paths.
_LONGEST = 4096


def find_images(directory, names, where, *, allow_outside=False):
    """Return the paths of images relative to `directory`, `[str]`.

    Args:
        directory: Folder that the names are relative to, local or in a bucket.
        names: One text per image.
        where: What errors call the table, such as its quoted path.
        allow_outside: Whether `..` and absolute paths may leave the folder;
            such a path is returned unchanged.

    Raises:
        ValueError: A name does not identify one file, is a URL, or leaves the
            folder.
    """
    folder = ImageFinder(directory, allow_outside=allow_outside)
    found, faults = [], []
    for name in names:
        try:
            found.append(folder.find(name))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError(
            f"Every image of {where} must be a file in {str(directory)!r}. "
            f"{len(faults)} of {len(names)} are not: {'; '.join(faults[:5])}. "
            "Set `directory`, or correct or drop their rows."
        )
    return found


class ImageFinder:
    """Finds the files of a folder by name, listing each folder once.

    Args:
        directory: See `find_images`.
        allow_outside: See `find_images`.
    """

    def __init__(self, directory, *, allow_outside=False):
        self._directory, self._allows = str(directory), allow_outside
        self._listings, self._folded = {}, {}
        roots = {self._directory}
        if files.is_local(directory):
            roots = {os.path.abspath(directory), os.path.realpath(directory)}
        self._roots = [f"{_slashes(root).rstrip('/')}/" for root in roots]

    def find(self, name):
        """Return the path of the image called `name`, as `find_images` does.

        Raises:
            ValueError: As `find_images` does; the error starts with the name.
        """
        if not isinstance(name, str) or "\0" in name:
            raise ValueError(f"{short(name)}, which is not a path")
        if not 0 < len(name) <= _LONGEST:
            raise ValueError(f"{short(name)}, a path of {len(name)} letters")
        if "://" in name:
            raise ValueError(
                f"{name!r}, a URL, which is not followed: fetch it first"
            )
        if self._is_file(name):  # True of nearly all, so millions are fast.
            return name
        path = ""
        for path in dict.fromkeys((name, _slashes(name))):
            path = self._relative(posixpath.normpath(path))
            if posixpath.isabs(path) or path.split("/")[0] == "..":
                return self._outside(name, path)
            if found := self._meant(path):
                return _only(name, found)
        near = [f" (there is {p!r})" for p in self._alike(path, _loosely)[:1]]
        raise ValueError(repr(name) + "".join(near))

    def _is_file(self, path):
        """Return whether a file has exactly this relative path."""
        if not {"", ".", ".."}.isdisjoint(path.split("/")):
            return False
        folder, file = posixpath.split(path)
        return file in self._listing(folder)

    def _listing(self, folder):
        if folder not in self._listings:
            path = posixpath.join(self._directory, folder)
            self._listings[folder] = frozenset(files.names_in(path))
        return self._listings[folder]

    def _relative(self, path):
        """Make an absolute path inside the folder relative to it."""
        for root in self._roots:
            if path.startswith(root):
                return path[len(root) :]
        return path

    def _outside(self, name, path):
        if not self._allows:
            # Annotation tools write the paths of their own machine.
            file = posixpath.basename(path)
            inside = f" (there is {file!r} in it)" * self._is_file(file)
            raise ValueError(
                f"{name!r}, which leaves the folder{inside}: "
                "`allow_outside=True` allows that"
            )
        if not os.path.isfile(os.path.join(self._directory, path)):
            raise ValueError(repr(name))
        return path

    def _meant(self, path):
        """Return the files that a relative path can mean."""
        if self._is_file(path):
            return [path]
        parts, found = path.split("/"), self._alike(path, composed)
        for n in range(1, len(parts)):
            prefix = "/".join(["", *parts[:n], ""])
            if not found and any(r.endswith(prefix) for r in self._roots):
                found = self._alike("/".join(parts[n:]), composed)
        return found

    def _alike(self, path, fold):
        """Return the files whose path is the same when every part is folded."""
        found = [""]
        for part in path.split("/"):
            found = [
                posixpath.join(folder, name)
                for folder in found
                for name in self._folded_listing(folder, fold).get(
                    fold(part), ()
                )
            ]
        return found

    def _folded_listing(self, folder, fold):
        if (folder, fold) not in self._folded:
            names = {}
            for name in sorted(self._listing(folder)):
                names.setdefault(fold(name), []).append(name)
            self._folded[folder, fold] = names
        return self._folded[folder, fold]


def _slashes(path):
    return path.replace("\\", "/")


def _only(name, found):
    if len(found) > 1:
        raise ValueError(f"{name!r}, which may be any of {found}")
    return found[0]


def _loosely(part):
    """Return a name without case and without the suffix of an image."""
    stem, suffix = posixpath.splitext(composed(part).casefold())
    return stem if suffix in IMAGE_SUFFIXES else stem + suffix
