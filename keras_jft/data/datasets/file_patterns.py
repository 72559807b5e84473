"""Paths with `{split}` and `*` in them to the files that they name."""

import re
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
