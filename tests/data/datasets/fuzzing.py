"""Mutations of files: what a reader may meet, drawn from a fixed seed."""

import copy
import json
import re

# JSON values that no field expects everywhere.
ODD = (
    None, True, -1, 0, 3, 2.5, 1e400, -1e308, float("nan"), 10**30, "", "x",
    "\ud800", "\0", [], [[]], {}, {"id": 1}, [None], "../x", [1] * 4,
)  # fmt: skip
# Bytes that break texts: marks of other encodings, zeros, brackets.
BYTES = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"<", b"&", b"]]>",
    b"<!DOCTYPE a>", b"[" * 5000, b"9" * 5000, b"\r\n", b"\xc3\xa9", b"&#0;",
)  # fmt: skip
# What stands where XML should have a number or a name.
TEXTS = (
    "", " ", "x", "1", " 2 ", "3.5", "-1", "0", "1e400", "1e300", "nan", "1_0",
    "\u00b2", "\u0663", "9" * 5000, "&amp;", "<b/>", "</b>", "a" * 5000,
)  # fmt: skip


def mutated_json(document, rng):
    """Return the text of a JSON document with one to three faults in it."""
    document = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        holder, place = _slot(document, rng)
        choice = rng.integers(4)
        if choice == 0:
            del holder[place]
        elif choice == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[place]))
        else:
            holder[place] = copy.deepcopy(ODD[rng.integers(len(ODD))])
        if not document:
            break
    return json.dumps(document)


def mutated_bytes(content, rng):
    """Return bytes of which one to three parts are cut, doubled or replaced."""
    for _ in range(rng.integers(1, 4)):
        start, end = sorted(rng.integers(len(content) + 1, size=2).tolist())
        end = min(end, start + 40)
        choice = rng.integers(4)
        if choice == 0:
            content = content[:start]
        elif choice == 1:
            content = content[:end] + content[start:]
        else:
            put = BYTES[rng.integers(len(BYTES))]
            content = content[:start] + put + content[end:]
    return content


def mutated_xml(text, rng):
    """Return XML of which one or two texts are others, or their tag is gone."""
    for _ in range(rng.integers(1, 3)):
        leaves = list(re.finditer(r"<(\w+)>([^<]*)</\1>", text))
        leaf = leaves[rng.integers(len(leaves))]
        group = int(rng.integers(10) > 1) * 2
        put = TEXTS[rng.integers(len(TEXTS))] if group else ""
        text = text[: leaf.start(group)] + put + text[leaf.end(group) :]
    return text


def _slot(document, rng):
    """A list or object in a document, and a key in it."""
    slots, stack = [], [document]
    while stack:
        holder = stack.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            slots.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                stack.append(holder[key])
    return slots[rng.integers(len(slots))]
