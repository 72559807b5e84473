"""Subsets as files: a line an example, which any program can read."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from keras_jft import text
from keras_jft.data.label_names import is_text
from keras_jft.data.subsets import Subset
from keras_jft.text_files import read_json_lines, short

_CHUNK = 10_000


def write_ids(data, path):
    """Writes which examples a data set has, in its order, as JSON Lines.

    A line has the `id` of an example and, where it has them, the names of its
    `labels`. Where ids are paths of images, `load("manifest", path=path,
    image_column="id")` reads the images too. The first n lines of the file of
    a `subset` are the subset of n. The file appears whole or not at all.

    Args:
        data: A `Dataset`.
        path: Of the file, which ends in `.jsonl`.

    Raises:
        ValueError: The path ends otherwise.
    """
    path = Path(path)
    if path.suffix != ".jsonl":
        raise ValueError(f"`path` must end in .jsonl. Received: {str(path)!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, suffix=".part", **text.ENCODING
    ) as file:
        try:
            file.writelines(_lines(data))
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _lines(data):
    names = data.info.label_names
    for start in range(0, len(data), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(data)))
        for example in data.annotations(positions):
            line = {"id": example["ids"]}
            if isinstance(line["id"], np.generic):
                line["id"] = line["id"].item()
            if "labels" in example and names:
                labels = np.atleast_1d(example["labels"]).tolist()
                line["labels"] = [
                    names[label] for label in labels if label >= 0
                ]
            text = json.dumps(line, ensure_ascii=False)
            try:
                text.encode()
            except UnicodeEncodeError:  # A file's name that is not UTF-8.
                text = json.dumps(line)
            yield text + "\n"


def read_ids(path, num_examples=None):
    """The ids of a file that `write_ids` wrote, `(n,)` int64 or str.

    Args:
        path: The file.
        num_examples: Reads only so many; all, if left out.

    Raises:
        ValueError: The file is missing or too short; or a line is not a JSON
            object with an `id`, or has one of another type or for the second
            time. The error names the line. Blank lines are passed over.
    """
    if not Path(path).is_file():
        raise ValueError(f"There must be a file {str(path)!r}. Received none.")
    ids, lines = {}, read_json_lines(path)
    while num_examples is None or len(ids) < num_examples:
        number, line = next(lines, (None, None))
        if number is None:
            break
        name = line.get("id") if isinstance(line, dict) else None
        kind = type(next(iter(ids), name))
        is_id = is_text(name) or (type(name) is int and abs(name) < 2**63)
        if not is_id or type(name) is not kind or name in ids:
            raise ValueError(
                f"{str(path)!r}, line {number}: expected an object with an "
                "`id`, a whole number or a text, that no other line has. "
                f"Received: {short(name)}."
            )
        ids[name] = number
    if not ids or len(ids) < (num_examples or 0):
        raise ValueError(
            f"{str(path)!r} must have {num_examples or 'some'} lines. "
            f"Received {len(ids)}."
        )
    return np.array(list(ids))


def select(data, ids, num_examples=None):
    """The examples of some ids, in their order.

    Args:
        data: A `Dataset`.
        ids: Ids, or the path of a file that `write_ids` wrote.
        num_examples: Takes the first so many; all, if left out.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: As `read_ids` does; or `data` has not all of the ids.
    """
    if isinstance(ids, (str, Path)):
        ids = read_ids(ids, num_examples)
    ids = np.asarray(ids)[:num_examples]
    known = np.asarray(data.ids(np.arange(len(data))))
    order = np.argsort(known, kind="stable")
    if len(ids) and ids.dtype.kind == known.dtype.kind:
        places = np.searchsorted(known, ids, sorter=order)
        positions = order[np.minimum(places, len(known) - 1)]
        missing = ids[known[positions] != ids]
    else:
        positions, missing = order[:0], ids
    if len(missing) or not len(ids):
        raise ValueError(
            f"`ids` must be ids of examples, such as {known[:3].tolist()}. "
            f"Received {len(missing)} of {len(ids)} that are not: "
            f"{missing[:5].tolist()}."
        )
    if len(np.unique(positions)) < len(positions):
        raise ValueError(
            f"Each of `ids` must be there once. Received {len(ids)}, of which "
            f"{len(np.unique(positions))} differ."
        )
    return Subset(data, positions.__getitem__, len(positions), seed=None)
