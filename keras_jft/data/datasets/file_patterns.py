"""Paths with `{split}` and `*` in them to the files that they name."""

from pathlib import Path

from keras_jft.data.datasets import filesystem


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
        if suffix and filesystem.is_folder(text):
            paths = filesystem.matching(f"{text.rstrip('/')}/*{suffix}")
        else:
            paths = filesystem.matching(text) or [text]
        if not paths or not all(map(filesystem.is_file, paths)):
            raise ValueError(
                f"There must be a file {text!r}. Received none. `*` may stand "
                "in its name, and `{split}` for the split."
            )
        found += paths
    return found
