"""Left and right in names: which names change places in a mirror.

A side is read from a name, in any case, where it stands

- apart, as "left", "right", "l", "r", "lt", "rt", "lft" or "rgt" between
  underscores, hyphens, dots, spaces or a change of case: "left_eye",
  "Eye Left", "leftEye", "LEye";
- at the beginning or the end of a longer word, where the name of the other
  side is there too: "lefteye" and "righteye", "leye" and "reye", "tl" and "tr".

A name with a side apart, or one that begins with "left" or "right", must have a
partner; otherwise it is refused, since only an explicit list of pairs can say
what is meant. A name that is just such a letter, like the "R" of an
electrocardiogram, has a side only if other names have one in another way. If no
name has a side (they may be in another language), a warning says so.
"""

import dataclasses
import functools
import re
import warnings

_WORDS = {"left": "right", "right": "left"}
_LETTERS = {
    "l": "r", "r": "l", "lt": "rt", "rt": "lt", "lft": "rgt", "rgt": "lft"
}  # fmt: skip
_SIDES = {"left": "left", "l": "left", "lt": "left", "lft": "left"}
# "LEye" is "L" and "Eye". A number stays with its word: the vertebra "L1" does
# not have a side.
_TOKEN = re.compile(
    r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+"
    r"|[^\W\d_A-Za-z]+"
)
_WHOLE = re.compile(r"[^\W_]+")
_BEGINS = re.compile(r"(?<![^\W_])(left|right)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Side:
    """The side and joint in the name of one keypoint.

    Attributes:
        side: "left", "right" or "".
        joint: The rest, in lower case with underscores, such as "big_toe".
        partner: Position of the name of the other side, or None.
    """

    side: str
    joint: str
    partner: int | None


def read(names):
    """Return the `Side` of each name, with a partner or without one.

    Args:
        names: One name per keypoint.

    Example:

    >>> right, nose = read(("LBigToe", "RBigToe", "Nose"))[1:]
    >>> right
    Side(side='right', joint='big_toe', partner=0)
    >>> nose
    Side(side='', joint='nose', partner=None)
    """
    return [side for side, _ in _read(tuple(names))]


def mirrored(names, pairs=None, count=None):
    """Return the position of each keypoint's mirror image.

    Warns, once per list of names, if no name has a side.

    Args:
        names: One name per keypoint; may be () where `pairs` are positions.
        pairs: Pairs of names, or of positions, that change places; an empty
            list if none do. None: take them from the names.
        count: Number of keypoints, needed only without names.

    Raises:
        ValueError: A left keypoint has no right one, or vice versa; or `pairs`
            has an unknown keypoint, or one keypoint twice.

    Example:

    >>> mirrored(("nose", "left_eye", "right_eye"))
    [0, 2, 1]
    >>> mirrored(("beak", "wing1", "wing2"), pairs=[("wing1", "wing2")])
    [0, 2, 1]
    """
    names = tuple(names)
    if pairs is not None:
        return _by_pairs(names, pairs, len(names) or count or 0)
    sides = _read(names)
    lone = [
        name
        for name, (side, is_lateral) in zip(names, sides, strict=True)
        if is_lateral and side.partner is None
    ]
    if lone:
        raise ValueError(
            "`keypoint_names` must name both sides, each once and in one "
            "spelling, so that left and right can change places in a mirror. "
            f"Received: {list(names)}, of which {lone} look like one side "
            "without the other. Pass `flip_pairs`, a list of pairs of names, "
            "or [] if nothing changes places."
        )
    if len(names) > 1 and not any(side.side for side, _ in sides):
        _warn_of_no_sides(names)
    return [
        place if side.partner is None else side.partner
        for place, (side, _) in enumerate(sides)
    ]


def pairs_of_classes(names):
    """Return the pairs of classes whose names differ only in left and right.

    Only sides that stand apart count here, and not a letter by itself: a lamp
    and a ramp, or the characters "L" and "R", are not a pair.

    Args:
        names: One name per class.

    Example:

    >>> pairs_of_classes(("turn_left", "turn_right", "right whale", "lamp"))
    [('turn_left', 'turn_right')]
    """
    places = {name.casefold(): name for name in names}
    pairs = []
    for name in names:
        for mirror, side, joint in _apart(name):
            lone_letter = not joint and name.casefold() in _LETTERS
            if side == "left" and mirror in places and not lone_letter:
                pairs.append((name, places[mirror]))
                break
    return pairs


@functools.lru_cache(maxsize=64)
def _warn_of_no_sides(names):
    warnings.warn(
        "Nothing changes places in a mirror: no name of `keypoint_names` tells "
        f"left from right. Received: {list(names)}. Pass `flip_pairs`, a list "
        "of pairs of names, or [] if that is right.",
        stacklevel=3,
    )


# === What the names say ===


@functools.lru_cache(maxsize=16)
def _read(names):
    """Return `(Side, whether it must have a partner)` of each name."""
    sides, bare = _all_sides(names), [n.casefold() in _LETTERS for n in names]
    # A bare letter is a side only where other names show that sides are meant.
    if any(
        side.side and not is_bare
        for (side, _), is_bare in zip(sides, bare, strict=True)
    ):
        return sides
    return tuple(
        (Side("", name.casefold(), None), False) if is_bare else side
        for name, side, is_bare in zip(names, sides, bare, strict=True)
    )


def _all_sides(names):
    """Return the same, but where a letter alone is a side, too."""
    readings = [(_apart(name), _glued(name)) for name in names]
    places = {}
    for place, name in enumerate(names):
        kind = bool(readings[place][0])
        places.setdefault((kind, name.casefold()), []).append(place)
    sides = []
    for name, (apart, glued) in zip(names, readings, strict=True):
        options = apart or glued
        found = [o for o in options if (bool(apart), o[0]) in places]
        # Prefer to exchange all sides that stand apart, if that gives a name.
        # A side within a longer word counts only if it is unambiguous.
        chosen = found[:1] if apart else found
        partners = {
            place
            for mirror, *_ in chosen
            for place in places[bool(apart), mirror]
        }
        partner = partners.pop() if len(partners) == 1 else None
        must = bool(apart or found or _BEGINS.search(name))
        side, joint = "", _joined(_TOKEN.findall(name))
        if apart or partner is not None:
            side, joint = (chosen or options)[0][1:]
        sides.append((Side(side, joint, partner), must))
    return tuple(sides)


def _apart(name):
    """Return `(mirrored name, side, joint)` by sides that stand apart."""
    tokens = _TOKEN.findall(name)
    options = []
    for swaps in (_WORDS | _LETTERS, _WORDS):
        marks = [t.casefold() for t in tokens if t.casefold() in swaps]
        if marks:
            mirror = _TOKEN.sub(
                lambda found, swaps=swaps: swaps.get(
                    found[0].casefold(), found[0]
                ),
                name,
            )
            rest = [t for t in tokens if t.casefold() not in swaps]
            side = _SIDES.get(marks[0], "right")
            options.append((mirror.casefold(), side, _joined(rest)))
    return options


def _glued(name):
    """Return the same by sides at the ends of words; any may be wrong."""
    folded, options = name.casefold(), {}
    if len(folded) != len(name):  # A letter folds to several: no positions.
        return []
    words = {
        found.span()
        for pattern in (_TOKEN, _WHOLE)
        for found in pattern.finditer(name)
    }
    for start, end in sorted(words):
        word = folded[start:end]
        for mark, other in {**_WORDS, "l": "r", "r": "l"}.items():
            for at, rest in (
                (start, word.removeprefix(mark)),
                (end - len(mark), word.removesuffix(mark)),
            ):
                if rest in ("", word):
                    continue
                before, after = folded[:at], folded[at + len(mark) :]
                mirror = before + other + after
                joint = _joined(_TOKEN.findall(before + after))
                side = _SIDES.get(mark, "right")
                options[mirror] = mirror, side, joint
    return list(options.values())


def _joined(tokens):
    return "_".join(tokens).casefold()


# === What the caller says ===


def _by_pairs(names, pairs, count):
    """Return the mirror image of each keypoint by explicit pairs."""
    order = list(range(count))
    for pair in pairs:
        places = [_place(end, names, count) for end in _two(pair)]
        for place, other in zip(places, places[::-1], strict=True):
            if order[place] != place or place == other:
                raise ValueError(
                    "`flip_pairs` must name each keypoint at most once. "
                    f"Received: {list(pairs)}."
                )
        order[places[0]], order[places[1]] = places[1], places[0]
    return order


def _two(pair):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(
            "`flip_pairs` must be a list of pairs, of names or of positions. "
            f"Received: {pair!r} in it."
        )
    return pair


def _place(end, names, count):
    """Return the position of one end of a pair."""
    if isinstance(end, str) and names.count(end) == 1:
        return names.index(end)
    is_number = not isinstance(end, (str, bool)) and hasattr(end, "__index__")
    if is_number and 0 <= int(end) < count:
        return int(end)
    raise ValueError(
        f"`flip_pairs` must be pairs of the names {list(names)}, or of "
        f"positions below {count}. Received: {end!r}."
    )
