"""Label hierarchies: an image of a corgi is also one of a dog and an animal.

`LabelHierarchy` closes label sets upward. The readers at the end take the
nested JSON of Open Images and its CSV file of class descriptions.

Shapes: C labels, B batch size, L labels per image, n labels of a result.
"""

import graphlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from keras_jft.data.label_names import almost, is_text, labels_of
from keras_jft.text import number_of
from keras_jft.text_files import read_csv, read_json, short
from keras_jft.typing import PathLike

_CHUNK = 1024  # Rows that are closed together.
_MOST_ABOVE = 20_000_000  # Enough for 18,000 labels of depth 1,000.
_LISTS = ("Subcategory", "Part")


class LabelHierarchy:
    """A directed acyclic graph over label ids, and label sets closed upward.

    A label may have several parents. The closure of every label (the label and
    everything above it) is computed once, so closing the labels of an image
    costs a few array reads.

    Args:
        names: C names; a label's id is its position. Wherever a label
            is named, a whole number counts as its text.
        edges: Pairs (parent, child), by key or, if unique, by name.
        keys: C unique identifiers, for names that repeat (WordNet has two
            cranes). By default the names themselves.

    Attributes:
        names: Tuple of C names.
        keys: Tuple of C keys.
        leaves: `(n,)` int32, labels without a child.
        levels: `(C,)` int32, number of labels on the longest path down from a
            root; the level of a root is 1.
        depth: Number of labels on the longest path from a root to a leaf.
        fan_out: Largest number of children of one label.

    Raises:
        ValueError: Two labels have the same key; an edge names an unknown or
            ambiguous label or is repeated; or edges form a cycle.

    Example:

    >>> labels = LabelHierarchy(
    ...     ["animal", "dog", "pet", "corgi"],
    ...     [("animal", "dog"), ("dog", "corgi"), ("pet", "corgi")],
    ... )
    >>> labels.close([3])
    array([0, 1, 2, 3], dtype=int32)
    >>> labels.depth, labels.fan_out
    (3, 1)
    """

    def __init__(
        self,
        names: Iterable[str | int],
        edges: Iterable[Sequence[str | int]],
        keys: Iterable[str | int] | None = None,
    ):
        self.names = tuple(map(_text_of, names))
        self.keys = self.names if keys is None else tuple(map(_text_of, keys))
        if len(self.keys) != len(self.names):
            raise ValueError(
                "`keys` must have one key per name. Received: "
                f"{number_of(len(self.keys), 'key')}, "
                f"{number_of(len(self.names), 'name')}."
            )
        self._ids = self._index_labels()
        self._parents: list[list[int]] = [[] for _ in self.names]
        self._children: list[list[int]] = [[] for _ in self.names]
        for parent, child in self._index_edges(edges):
            self._parents[child].append(parent)
            self._children[parent].append(child)
        order = self._parents_first()
        self.levels = np.ones(len(self), "int32")
        closures: list[Sequence[int]] = [()] * len(self)
        size = 0
        for label in order:
            parents = self._parents[label]
            closures[label] = sorted(
                {label}.union(*(closures[parent] for parent in parents))
            )
            self.levels[label] = 1 + max(self.levels[parents], default=0)
            size += len(closures[label])
            if size > _MOST_ABOVE:
                raise ValueError(
                    "All labels together may have at most "
                    f"{_MOST_ABOVE} labels above them. Received more, with "
                    f"{len(self)} labels: is this a chain, not a hierarchy?"
                )
        self._closure = _Rows(closures)

    @classmethod
    def from_json(cls, source: Mapping[str, Any] | PathLike) -> Self:
        """Read a hierarchy `{"names": {key: name}, "edges": [[key, key]]}`.

        Args:
            source: Such a dict, or the path of a JSON file that contains one.
                Label ids follow the order of `names`; edges are (parent,
                child).

        Raises:
            ValueError: It has another form, or as the constructor.
        """
        tree: Any
        where, tree = "A hierarchy", source
        if not isinstance(source, dict):
            where, tree = repr(str(source)), read_json(source)
        if not _is_tree(tree):
            raise ValueError(
                'A hierarchy must be {"names": {key: name}, "edges": '
                f"[[parent, child], ...]}}. Received: {_brief(source)}."
            )
        try:
            return cls(
                tree["names"].values(), tree["edges"], tree["names"].keys()
            )
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    @classmethod
    def from_open_images(
        cls,
        source: Mapping[str, Any] | PathLike,
        names: Mapping[str, str] | PathLike | None = None,
        *,
        parts: bool = False,
    ) -> Self:
        """Read a hierarchy in the nested JSON format of Open Images.

        The form is `{"LabelName": key, "Subcategory": [...], "Part": [...]}`,
        where the items of the lists have the same form. A label may occur in
        several places.

        Args:
            source: Such a dict, or the path of a JSON file that contains one.
            names: `{key: name}`, or the path of the CSV file of class
                descriptions. Label ids follow its order, and the root is left
                out unless it is described. By default the keys are the names,
                in the order of the file.
            parts: Whether a whole is also above its parts: a wheel is then
                also a car, which is wrong for labels of images.

        Raises:
            ValueError: The file has another form, lists a label twice below
                one parent, has a cycle, or a label that is not in `names`.
        """
        keys, described, edges = _read_nested(source, names, parts)
        return cls(described, edges, keys)

    def to_json(self) -> dict[str, Any]:
        """Return the dict that `from_json` takes."""
        return {
            "names": dict(zip(self.keys, self.names, strict=True)),
            "edges": [
                [self.keys[parent], self.keys[child]]
                for parent, below in enumerate(self._children)
                for child in below
            ],
        }

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self):
        return (
            f"<LabelHierarchy: {number_of(len(self), 'label')}, depth "
            f"{self.depth}, {number_of(len(self.leaves), 'leaf', 'leaves')}>"
        )

    @property
    def leaves(self) -> np.ndarray:
        """`(n,)` int32, the labels without a child."""
        return _as_ids(
            label for label, below in enumerate(self._children) if not below
        )

    @property
    def depth(self) -> int:
        """Number of labels on the longest way from a root to a leaf."""
        return int(self.levels.max(initial=0))

    @property
    def fan_out(self) -> int:
        """Most children of one label."""
        return max(map(len, self._children), default=0)

    @property
    def num_below(self) -> np.ndarray:
        """`(C,)` int64, how many labels are below each, at any depth.

        Example:

        >>> tree = LabelHierarchy(["a", "b", "c"], [("a", "b"), ("b", "c")])
        >>> tree.num_below
        array([2, 1, 0])
        """
        closed, _ = self.closures(np.arange(len(self)))
        return np.bincount(closed, minlength=len(self)) - 1

    def index(self, label: str | int) -> int:
        """Return the id of the label with this key or name.

        Raises:
            ValueError: No label, or more than one, has this name.
        """
        ids = self._ids.get(_text_of(label), [])
        if not ids:
            raise ValueError(
                f"There is no label {label!r}"
                f"{almost(_text_of(label), self._ids)}. The hierarchy has "
                f"{number_of(len(self), 'label')}: {_brief(list(self.keys))}."
            )
        if len(ids) > 1:
            raise ValueError(
                f"{len(ids)} labels have the name {label!r}. Use a key, one "
                f"of {[self.keys[i] for i in ids]}."
            )
        return ids[0]

    def parents(self, label: int) -> np.ndarray:
        """Return the ids directly above label id `label`, `(n,)` int32."""
        return _as_ids(self._parents[label])

    def children(self, label: int) -> np.ndarray:
        """Return the ids directly below label id `label`, `(n,)` int32."""
        return _as_ids(self._children[label])

    def ancestors(self, label: int) -> np.ndarray:
        """Return all ids above label id `label`, but not it, `(n,)` int32."""
        closed = self.close([label])
        return closed[closed != label]

    def close(self, labels: ArrayLike) -> np.ndarray:
        """Return the ids in `labels` and all above them, sorted, unique, int32.

        Args:
            labels: `(L,)` label ids; -1 is padding and ignored.

        Raises:
            ValueError: An id is not in -1..C - 1.
        """
        ids = self._check(np.atleast_1d(labels))
        return np.unique(self._closure.gather(ids[ids >= 0])[0])

    def close_batch(self, labels: ArrayLike) -> np.ndarray:
        """Return each row of `labels` closed, padded with -1 at its end, int32.

        Args:
            labels: `(B, L)` label ids; -1 is padding, anywhere in a row.

        Returns:
            `(B, L')`, L' the size of the largest closed row.

        Raises:
            ValueError: An id is not in -1..C - 1.

        Example:

        >>> tree = LabelHierarchy(["a", "b", "c"], [("a", "b"), ("b", "c")])
        >>> tree.close_batch([[2, -1], [0, -1]])
        array([[ 0,  1,  2],
               [ 0, -1, -1]], dtype=int32)
        """
        rows = self._check(np.asarray(labels))
        # A few rows at a time fit into the CPU's cache, and their cells into
        # int32.
        step = max(1, min(_CHUNK, (2**31 - 1) // max(1, len(self))))
        parts = [
            self._close_rows(rows[start : start + step])
            for start in range(0, len(rows), step)
        ]
        if len(parts) == 1:
            return parts[0]
        width = max([0, *(part.shape[1] for part in parts)])
        out = np.full((len(rows), width), -1, "int32")
        for i, part in enumerate(parts):
            out[i * step : i * step + len(part), : part.shape[1]] = part
        return out

    def _close_rows(self, labels):
        """Close a few rows, as `close_batch` does."""
        size = np.int32(max(1, len(self)))
        places = np.flatnonzero(labels >= 0)
        closed, counts = self._closure.gather(labels.ravel()[places])
        # One integer per (row, label): sorting them sorts within rows. Each
        # closure is in order already, and a stable sort merges such runs.
        rows = (places // max(1, labels.shape[1])).astype("int32")
        cells = np.repeat(rows * size, counts) + closed
        cells.sort(kind="stable")
        is_new = np.ones(len(cells), bool)
        np.not_equal(cells[1:], cells[:-1], out=is_new[1:])
        rows, closed = np.divmod(cells[is_new], size)
        counts = np.bincount(rows, minlength=len(labels))
        starts = np.cumsum(counts) - counts
        out = np.full((len(labels), counts.max(initial=0)), -1, "int32")
        out[rows, np.arange(len(rows)) - starts[rows]] = closed
        return out

    def closures(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the closure of each label, end to end, and their lengths.

        Args:
            labels: `(L,)` label ids, without padding.

        Returns:
            Int32 ids, and `(L,)` int32 counts of them.

        Example:

        >>> tree = LabelHierarchy(["a", "b", "c"], [("a", "b"), ("b", "c")])
        >>> tree.closures(np.array([2, 0]))
        (array([0, 1, 2, 0], dtype=int32), array([3, 1], dtype=int32))
        """
        return self._closure.gather(labels)

    def subset(self, labels: ArrayLike) -> "LabelHierarchy":
        """Return the hierarchy of `labels` and all above them, ids renumbered.

        Args:
            labels: Label ids of this hierarchy. The order of labels is kept;
                `keys` relates the old ids to the new.
        """
        kept = self.close(labels)
        return LabelHierarchy(
            [self.names[label] for label in kept],
            [
                (self.keys[parent], self.keys[child])
                for child in kept
                for parent in self._parents[child]
            ],
            [self.keys[label] for label in kept],
        )

    def _index_labels(self):
        """Return `{key or name: ids}`; a key wins over another label's name."""
        repeated = [key for key, n in Counter(self.keys).items() if n > 1]
        if repeated:
            raise ValueError(
                "Every label must have a unique key. Repeated: "
                f"{_brief(repeated)}. Pass `keys=` where names repeat."
            )
        by_key = {key: [label] for label, key in enumerate(self.keys)}
        by_name = {}
        for label, name in enumerate(self.names):
            by_name.setdefault(name, []).append(label)
        return by_name | by_key

    def _index_edges(self, edges):
        edges = [tuple(map(_text_of, edge)) for edge in edges]
        unknown = {end for edge in edges for end in edge} - self._ids.keys()
        if unknown:
            raise ValueError(
                "Every edge must connect two known labels. Unknown: "
                f"{_brief(sorted(map(str, unknown)))}. Add them to `names` or "
                "drop their edges."
            )
        edges = [
            (self.index(parent), self.index(child)) for parent, child in edges
        ]
        repeated = [
            (self.keys[parent], self.keys[child])
            for (parent, child), n in Counter(edges).items()
            if n > 1
        ]
        if repeated:
            raise ValueError(
                f"Every edge must be given once. Repeated: {_brief(repeated)}."
            )
        return edges

    def _parents_first(self):
        graph = dict(enumerate(self._parents))
        try:
            return tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            cycle = " -> ".join(str(self.keys[i]) for i in error.args[1])
            raise ValueError(
                "No label may be above itself. Received edges with the cycle "
                f"{cycle}. Drop one of them."
            ) from None

    def _check(self, labels):
        if not labels.size:
            return labels.astype("int32")
        if labels.dtype.kind not in "ui":
            raise ValueError(
                "Label ids must be integers. Received an array of dtype "
                f"{labels.dtype}."
            )
        if labels.min() < -1 or labels.max() >= len(self):
            raise ValueError(
                f"Label ids must be in 0..{len(self) - 1}, or -1 for padding. "
                f"Received: {labels.min()}..{labels.max()}."
            )
        return labels


class _Rows:
    """Rows of different lengths in one array (CSR), gathered at once."""

    def __init__(self, rows):
        self.counts = np.array([len(row) for row in rows], "int32")
        self.starts = np.cumsum(self.counts, dtype="int32") - self.counts
        self.values = _as_ids(value for row in rows for value in row)

    def gather(self, indices):
        """Return the values of the rows at `indices` end to end, and counts."""
        counts = self.counts[indices]
        total = int(counts.sum(dtype="int64"))
        # Half as many bytes are gathered faster.
        kind = "int32" if total < 2**31 else "int64"
        ends = np.cumsum(counts, dtype=kind)
        places = np.repeat(self.starts[indices] - (ends - counts), counts)
        places += np.arange(total, dtype=kind)
        return self.values[places], counts


def _as_ids(labels):
    return np.fromiter(labels, "int32")


def _text_of(label):
    """Return a name or key as text."""
    if isinstance(label, np.generic):
        label = label.item()
    found = labels_of([label], "A label hierarchy")
    if not found:
        raise ValueError("A label must have a name. Received: an empty string.")
    return str(found[0])


def _is_tree(tree):
    return (
        isinstance(tree, dict)
        and {"names", "edges"} <= tree.keys()
        and isinstance(tree["names"], dict)
        and isinstance(tree["edges"], (list, tuple))
        and all(
            isinstance(edge, (list, tuple)) and len(edge) == 2
            for edge in tree["edges"]
        )
    )


def _brief(items, most=5):
    """Return `items` as text, cut short."""
    if not isinstance(items, list) or len(items) <= most:
        return f"{items!r:.200}"
    return f"{items[:most]!r} and {len(items) - most} more"


def _read_nested(source, names=None, parts=False):
    """Read keys, names and (parent, child) edges of a nested hierarchy.

    Args:
        source: `{"LabelName": key, "Subcategory": [...], "Part": [...]}`, or
            the path of a JSON file that holds it.
        names: `{key: name}`, or the path of a CSV file of such rows.
        parts: Whether parts are below their wholes.

    Raises:
        ValueError: See `LabelHierarchy.from_open_images`.
    """
    what = "The hierarchy"
    if not isinstance(source, dict):
        what, source = repr(str(source)), read_json(source)
    keys, edges = _walk(source, what, parts)
    root = keys[0]
    if names is None:
        return keys, keys, edges
    if not isinstance(names, dict):
        names = read_descriptions(names)
    if root not in names:  # "Entity", which says nothing about an image.
        keys = keys[1:]
        edges = [edge for edge in edges if edge[0] != root]
    unknown = [key for key in keys if key not in names]
    if unknown:
        raise ValueError(
            f"Every label of {what} must be in `names`. Unknown are "
            f"{len(unknown)} of {len(keys)}: {unknown[:5]}. Add them, or pass "
            "the descriptions of the same release."
        )
    return [*names], [*names.values()], edges


def _walk(source, what, parts):
    """Return all keys in the order of the file, and all edges, each once."""
    keys, edges, nodes = {}, {}, [(source, ())]
    while nodes:
        node, above = nodes.pop()
        key = _key_of(node, what)
        if key in above:
            raise ValueError(
                "No label may be above itself. Received in "
                f"{what} the cycle {' -> '.join((*above, key))}. Drop one of "
                "them."
            )
        keys[key] = True
        below = []
        for name in _LISTS if parts else _LISTS[:1]:
            below += node.get(name, [])
        children = [_key_of(child, what) for child in below]
        repeated = {k for k, n in Counter(children).items() if n > 1}
        if repeated:
            raise ValueError(
                f"Every label of {what} must be listed once. Repeated below "
                f"{key!r}: {sorted(repeated)[:5]}. Drop one."
            )
        # The same edge may occur in two places of the file.
        edges |= {(key, child): True for child in children}
        path = (*above, key)
        nodes += [(child, path) for child in reversed(below)]
    return [*keys], [*edges]


def _key_of(node, what):
    key = node.get("LabelName") if isinstance(node, dict) else None
    lists = [node.get(name, []) for name in _LISTS] if key else []
    if (
        not key
        or not is_text(key)
        or not all(isinstance(below, list) for below in lists)
    ):
        raise ValueError(
            f'{what} must be {{"LabelName": key, "Subcategory": [...], '
            f'"Part": [...]}} everywhere. Received: {short(node)}.'
        )
    return key


def read_descriptions(path, file=None):
    """Read `{LabelName: DisplayName}` from a CSV, with or without header.

    Args:
        path: The file.
        file: The same file opened as bytes, where it is not on a local disk.

    Raises:
        ValueError: A line has another form, or a LabelName is repeated.
    """
    names = {}
    for position, (number, row) in enumerate(read_csv(path, file)):
        if position == 0 and row[0] == "LabelName":
            continue
        if len(row) != 2 or not all(row) or row[0] in names:
            raise ValueError(
                f"{str(path)!r}, line {number}: expected a LabelName that no "
                "other line has and its DisplayName. Received: "
                f"{short(row)}."
            )
        names[row[0]] = row[1]
    return names
