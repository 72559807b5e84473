"""The nested JSON of Open Images' label hierarchy, and its descriptions."""

from collections import Counter

from keras_jft.data.label_names import is_text
from keras_jft.text_files import read_csv, read_json, short

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
        what, source = repr(str(source)), read_json(source)
    keys, edges = _walk(source, what, parts)
    root = keys[0]
    if names is None:
        return keys, keys, edges
    if not isinstance(names, dict):
        names = read_descriptions(names)
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
        repeated = {k for k, n in Counter(children).items() if n > 1}
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
    if (
        not key
        or not is_text(key)
        or not all(isinstance(below, list) for below in lists)
    ):
        raise ValueError(
            f'{what} must be {{"LabelName": key, "Subcategory": [...], '
            f'"Part": [...]}} at every place. Received: {short(node)}.'
        )
    return key


def read_descriptions(path, file=None):
    """`{LabelName: DisplayName}` of a CSV file with or without a header.

    Args:
        path: The file.
        file: It, opened as bytes, where it is not on a local disk.

    Raises:
        ValueError: A line has another form, or a LabelName is there twice.
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
