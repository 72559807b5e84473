"""The nested JSON of Open Images' label hierarchy, and its descriptions."""

import csv
import json
from pathlib import Path

_LISTS = ("Subcategory", "Part")


def read(source, names=None, parts=False):
    """Keys, names and (parent, child) edges of a nested hierarchy.

    Args:
        source: `{"LabelName": key, "Subcategory": [...], "Part": [...]}`, or
            the path of a JSON file that holds it.
        names: `{key: name}`, or the path of a CSV file of such rows.
        parts: Whether parts are below what they are of.

    Raises:
        ValueError: See `LabelHierarchy.from_open_images`.
    """
    what = "The hierarchy"
    if not isinstance(source, dict):
        what = repr(str(source))
        try:
            source = json.loads(Path(source).read_text(encoding="utf-8"))
        except (ValueError, RecursionError, OSError) as error:
            raise ValueError(
                f"{what} cannot be read as JSON: {error}. Fetch it again."
            ) from error
    keys, edges = _walk(source, what, parts)
    root = keys[0]
    if names is None:
        return keys, keys, edges
    names = _descriptions(names)
    if root not in names:  # "Entity", which says nothing of an image.
        keys = keys[1:]
        edges = [edge for edge in edges if edge[0] != root]
    unknown = [key for key in keys if key not in names]
    if unknown:
        raise ValueError(
            f"Every label of {what} must be in `names`. Unknown are "
            f"{len(unknown)} of {len(keys)}: {unknown[:5]}. Add them, or give "
            "the descriptions of the same release."
        )
    return [*names], [*names.values()], edges


def _walk(source, what, parts):
    """All keys in the order of the file, and all edges, each once."""
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
        repeated = {child for child in children if children.count(child) > 1}
        if repeated:
            raise ValueError(
                f"Every label of {what} must be listed once. Repeated below "
                f"{key!r}: {sorted(repeated)[:5]}. Drop one."
            )
        # A label may stand below one parent in two places of the file.
        edges |= {(key, child): True for child in children}
        path = (*above, key)
        nodes += [(child, path) for child in reversed(below)]
    return [*keys], [*edges]


def _key_of(node, what):
    key = node.get("LabelName") if isinstance(node, dict) else None
    lists = [node.get(name, []) for name in _LISTS] if key else []
    if not isinstance(key, str) or not all(
        isinstance(below, list) for below in lists
    ):
        raise ValueError(
            f'{what} must be {{"LabelName": key, "Subcategory": [...], '
            f'"Part": [...]}} at every place. Received: {str(node)[:80]}.'
        )
    return key


def _descriptions(names):
    """`{key: name}` of a dict or of a CSV file, with or without a header."""
    if isinstance(names, dict):
        return names
    with Path(names).open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and rows[0][0] == "LabelName":
        rows = rows[1:]
    found = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[0] in found:
            raise ValueError(
                f"Every row of {str(names)!r} must be a new LabelName and its "
                f"DisplayName. Received as number {number}: {row}."
            )
        found[row[0]] = row[1]
    return found
