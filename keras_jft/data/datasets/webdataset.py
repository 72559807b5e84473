"""Tar shards of WebDataset: `17.jpg` and `17.cls` in a tar are one example.

The members of an example share a key, their path up to the first dot in the
file's name: the key of `3.v2.jpg` is `3`. A sample whose name has more dots is
left out, with a warning. Tars are not unpacked: their headers are read once,
which also detects a tar that is cut short, and images are then read from inside
the tar. Tars have no checksums of contents; damage inside an image is detected
by its decoder.
"""

import concurrent.futures
import contextlib
import itertools
import os
import re
import tarfile
import warnings
from collections.abc import Sequence

import numpy as np

from keras_jft import checks, files
from keras_jft.data.dataset import Dataset, Info, warn_of_absent_classes
from keras_jft.data.images import IMAGE_SUFFIXES, decode_image
from keras_jft.data.label_names import (
    almost,
    checked_list,
    checked_names,
    is_whole,
    label_ids_by_text,
    labels_of,
    names_in,
)
from keras_jft.files import check_split, files_of, is_tool_name, of_split
from keras_jft.text import number_of
from keras_jft.text_files import decode, parse_json, short
from keras_jft.typing import PathLike

_LABEL_SUFFIXES = (".cls", ".json", ".txt")
_MEMBER = re.compile(r"((?:.*/)?[^./]+)(\.[^/]*)", re.DOTALL)
_BLOCK = 512
# Types of members that hold the name, and more, of the next one. `tarfile`
# reads them whole.
_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE,
    tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_LONGEST, _LARGEST = 1 << 14, 1 << 50  # Bytes of such a member, and of others.
# The exceptions that `tarfile` raises for damaged headers.
_FAULTS = (tarfile.TarError, ValueError, OverflowError, RecursionError)


def load(
    urls: PathLike | Sequence[PathLike],
    split: str | None = "train",
    *,
    label_names: Sequence[str] | None = None,
    label_suffix: str = ".cls",
    label_key: str = "labels",
    separator: str = ";",
    many: bool = True,
) -> Dataset:
    """Load the images of tar shards, in their order; ids are `tar/key`.

    Args:
        urls: Path of a tar, a pattern with braces or `*`, or a list of these:
            "gs://bucket/{split}-{000..010}.tar", "a/{x,y}-*.tar". `{split}`
            stands for the split.
        split: See `urls`.
        label_names: All labels, in the order of their ids; by default those in
            the tars, sorted. Required if labels are numbers.
        label_suffix: Suffix of the members with labels: ".cls", one number;
            ".json", a label, a list, or an object with `label_key`; ".txt",
            text split at `separator`. A label is one of `label_names`, or its
            number.
        label_key: Key of the labels in `.json` members.
        separator: What separates labels in `.txt` members.
        many: Whether an example has a list of labels, which may be empty. If
            not, each must have exactly one.

    Returns:
        A `Dataset`.

    Raises:
        OSError: A tar cannot be read.
        ValueError: A tar is cut short, damaged or compressed; a member that
            would be read is a link, sparse or a device; a key has two members
            of the same kind, no image or no labels; or a label is unknown.
            While reading: an image is damaged.
    """
    checks.one_of("label_suffix", label_suffix, _LABEL_SUFFIXES)
    check_split(split, urls, "Write `{split}` into `urls`, or pass split=None.")
    paths = _paths(of_split(urls, split))
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        shards = list(
            threads.map(lambda path: _examples(path, label_suffix), paths)
        )
    found = [
        (path, *example)
        for path, (examples, _) in zip(paths, shards, strict=True)
        for example in examples
    ]
    _warn_of_left_out([name for _, names in shards for name in names])
    if not found:
        raise ValueError(
            f"`urls` must name tars with images. Received: {str(urls)!r}, "
            "without any."
        )
    wheres = [f"{key + label_suffix!r} of {path!r}" for path, key, *_ in found]
    key = label_key if label_suffix == ".json" else None
    rows = [
        _parse(content, where, key, separator)
        for (*_, content), where in zip(found, wheres, strict=True)
    ]
    is_declared = label_names is not None
    classes = checked_names(
        label_names if is_declared else _names_of(rows, wheres)
    )
    labels = _to_ids(rows, classes, wheres, many)
    counts = np.bincount(np.concatenate(labels), minlength=len(classes))
    if is_declared or not classes:
        warn_of_absent_classes(
            classes,
            counts,
            f"example of {str(urls)!r}",
            "Check `label_names`, which numbers count from 0, and that all "
            "tars are named.",
        )
    names = _short_names(paths)
    return WebDataset(
        [f"{names[path]}/{key}" for path, key, _, _ in found],
        [(path, *place) for path, _, place, _ in found],
        [ids if many else ids[0] for ids in labels],
        Info(
            num_examples=len(found),
            label_names=classes,
            max_labels=max(1, *map(len, labels)) if many else None,
            class_counts=counts,
        ),
    )


class WebDataset(Dataset):
    """Images inside tars, and their labels.

    Args:
        ids: One text per image.
        places: Path of the tar, start and size in it, of each image.
        labels: An int32 scalar or `(L,)` int32 per image.
        info: The data set's `Info`.
    """

    def __init__(self, ids, places, labels, info):
        self._ids, self._places = np.asarray(ids), places
        self._labels, self.info = labels, info

    def ids(self, positions):
        """Return the name of the tar and the key, str."""
        return self._ids[np.asarray(positions, "int64")]

    def image_bytes(self, position):
        """Return the image file in the tar."""
        path, start, size = self._places[position]
        content = files.read_range(path, start, size)
        if len(content) < size:
            raise ValueError(
                f"Image {self._ids[position]!r} ends at byte {start + size} "
                f"of {path!r}, which has become shorter. Fetch it again."
            )
        return content

    def annotations(self, positions):
        """Return labels and ids without opening a tar."""
        return [
            {"labels": self._labels[i], "ids": self._ids[i].item()}
            for i in positions
        ]

    def __getitem__(self, position):
        position = self._position(position)
        (example,) = self.annotations([position])
        image = decode_image(self.image_bytes(position), example["ids"])
        return {"images": image, **example}


def _expand(pattern):
    """Return the paths of a pattern with braces, as a shell expands them.

    Example:

    >>> _expand("a-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    >>> _expand("{x,y}/{0..1}.tar")
    ['x/0.tar', 'x/1.tar', 'y/0.tar', 'y/1.tar']
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    for i in range(len(parts)):
        parts[i] = _choices(parts[i], pattern) if i % 2 else [parts[i]]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _paths(urls):
    """Return the paths of the tars that `urls` name, each once."""
    patterns = [urls] if isinstance(urls, str) else checked_list(urls, "urls")
    for text in patterns:
        files.check_path("urls", text, "train-{000..127}.tar")
    paths = [path for text in patterns for path in _expand(str(text))]
    # Exact names are opened without a look-up, which is slow in buckets.
    found = [files_of(path) if "*" in path else [path] for path in paths]
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _choices(text, pattern):
    """Return the strings that one pair of braces stands for."""
    if "," in text:
        return text.split(",")
    found = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ValueError(
            "Braces must hold a range, such as {000..010}, or choices, such "
            f"as {{a,b}}. Received: {{{text}}} in {pattern!r}."
        )
    first, last = found.groups()
    return [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]


def _short_names(paths):
    """Return `{path: name}` for ids: the file's name where all differ."""
    names = {path: os.path.basename(path).split(".")[0] for path in paths}
    unique = len(set(names.values())) == len(paths)
    return names if unique else {path: path for path in paths}


# === Tars ===


def _examples(path, label_suffix):
    """Return the examples of a tar, and the names of samples left out.

    Returns:
        `[(key, (start, size) of its image, text of its labels)]`, and names of
        files that are left out, one per sample.
    """
    examples, others = {}, {}
    with files.opened(path) as file:
        for member in _members(path, file):
            key, kind, is_other = _role_of(member.name, label_suffix)
            if kind is None or member.isdir():
                continue
            if is_other:
                stem = os.path.splitext(member.name)[0]
                others.setdefault((key, stem), {})[kind] = member.name
                continue
            _check_plain(member, path)
            example = examples.setdefault(key, {})
            if kind in example:
                raise ValueError(
                    f"A key must have one member of each kind. Received two of "
                    f"{key!r} in {path!r}, the second {member.name!r}. Remove "
                    "one, or give it another key."
                )
            example[kind] = (member.offset_data, member.size)
        for key, example in examples.items():
            missing = {"image", label_suffix} - example.keys()
            if missing:
                raise ValueError(
                    f"Every key must have an image and a {label_suffix} "
                    f"member. {key!r} of {path!r} has no {missing.pop()}. Set "
                    "`label_suffix`, or remove its members."
                )
            start, size = example[label_suffix]
            file.seek(start)
            example["text"] = file.read(size)
    # `3.seg.png` beside `3.png` is not a sample of its own, but together with
    # `3.seg.cls` it is.
    left_out = [
        f"{path}/{next(iter(names.values()))}"
        for (key, _), names in others.items()
        if key not in examples or len(names) > 1
    ]
    return [
        (key, e["image"], e["text"]) for key, e in examples.items()
    ], left_out


def _role_of(name, label_suffix):
    """Return key and kind of a member, and whether it is of no example.

    The kind is "image", the suffix of labels, or None. A name with more than
    one dot, such as `3.v2.jpg`, is of no example.
    """
    found = _MEMBER.fullmatch(name)
    is_hidden = any(
        is_tool_name(part) for part in name.split("/") if part.strip(".")
    )
    if is_hidden or not found:  # A folder, or a file of no example.
        return None, None, False
    key, suffixes = found[1], found[2].lower()
    last = os.path.splitext(name)[1].lower()
    kind = "image" if last in IMAGE_SUFFIXES else last
    return (
        key,
        kind if kind in ("image", label_suffix) else None,
        suffixes != last,
    )


def _warn_of_left_out(names):
    """Warn of samples that the rule of keys leaves out, if any are."""
    if names:
        warnings.warn(
            f"Left out {number_of(len(names), 'sample')} whose names have more "
            f"than one dot: {names[:5]}. A key ends at the first dot: rename "
            "them, for example to `3_v2.jpg`.",
            stacklevel=3,
        )


def _check_plain(member, path):
    """Raise unless the bytes of a member lie in the tar as they are."""
    if not member.isreg() or member.sparse is not None:
        kind = "sparse" if member.isreg() else f"of type {member.type!r}"
        raise ValueError(
            f"Images and labels must be plain files. Received in {path!r}: "
            f"{member.name!r}, which is {kind}. Write the tar without sparse "
            "files (no `tar -S`) and with files for links (`tar -h`)."
        )


class _Header(tarfile.TarInfo):
    """A header whose size is limited to what long names need."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Read a header; `tarfile` calls this."""
        header = super().frombuf(buf, encoding, errors)
        longest = _LONGEST if header.type in _NAMES else _LARGEST
        if not 0 <= header.size <= longest:
            raise tarfile.InvalidHeaderError(f"a size of {header.size} bytes")
        return header


def _members(path, file):
    """Return the members of a tar, read up to its end marker."""
    fault, members = "is not a tar, or cut short", []
    with contextlib.suppress(*_FAULTS):
        tar = tarfile.TarFile(fileobj=file, tarinfo=_Header)
        fault = "is cut short or damaged"
        while (member := tar.next()) is not None:
            # A second header may state another size than the first.
            room = tar.offset - member.offset_data
            plain = member.isreg() and member.sparse is None
            if room < 0 or (plain and not 0 <= member.size <= room):
                raise tarfile.ReadError
            members.append(member)
        # `tarfile` takes anything that it cannot read for the end.
        file.seek(tar.offset)
        if file.read(_BLOCK) == bytes(_BLOCK):
            return members
        fault += f" at byte {tar.offset}"
    raise ValueError(
        f"{path!r} {fault}. Uncompress it if it is compressed; otherwise fetch "
        "it again."
    )


# === Labels ===


def _parse(content, where, key, separator):
    """Return the labels of one member, numbers or strings.

    Args:
        content: Its bytes.
        where: What errors call the member.
        key: Key of the labels in a JSON object; None: it is plain text.
        separator: What separates labels in plain text.
    """
    if key is None:
        return labels_of(decode(content, where).strip(), where, separator)
    found = parse_json(content, where)
    if isinstance(found, dict):
        if key not in found:
            raise ValueError(
                f"{where} must have the key {key!r}. Received the keys "
                f"{short(list(found))}. Set `label_key`."
            )
        return labels_of(found[key], where)
    return labels_of([None] if found is None else found, where)


def _names_of(rows, wheres):
    names = {label for row in rows for label in row}
    numbers = [name for name in names if is_whole(str(name))]
    if numbers:
        raise ValueError(
            "`label_names` must be given where labels are numbers. Received "
            f"labels such as {numbers[0]!r}."
        )
    return names_in(rows, wheres.__getitem__)


def _to_ids(rows, label_names, wheres, many):
    """Return `(L,)` int32 label ids per example, sorted and unique."""
    ids = label_ids_by_text(label_names)
    labels = []
    for row, where in zip(rows, wheres, strict=True):
        unknown = [label for label in row if str(label) not in ids]
        if unknown:
            raise ValueError(
                f"The labels of {where} must be among `label_names`, or "
                f"numbers in 0..{len(label_names) - 1}. Received: "
                f"{short(unknown)}{almost(str(unknown[0]), label_names)}."
            )
        found = sorted({ids[str(label)] for label in row})
        if not many and len(found) != 1:
            raise ValueError(
                f"With many=False every example must have one label. Received "
                f"{len(found)} for {where}."
            )
        labels.append(np.array(found, "int32"))
    return labels
