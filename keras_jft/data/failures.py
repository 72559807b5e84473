"""Examples that cannot be read, counted by cause."""

import re
from collections import Counter

# What a data set raises for an example that it cannot read.
UNREADABLE = (ValueError, OSError)
MOST_CAUSES = 50
OTHER = "other causes"


class Failures:
    """Unreadable examples: how many, why, and which.

    Args:
        most_named: How many are named.

    Attributes:
        causes: `Counter` of causes; beyond 50 of them the rest is one.
        named: Pairs of an id and the whole reason, the first ones.
    """

    def __init__(self, most_named=20):
        self.causes, self.named = Counter(), []
        self._most_named = most_named

    def __len__(self):
        return self.causes.total()

    def add(self, name, error):
        """Counts one.

        Args:
            name: Id of the example.
            error: What was raised.
        """
        cause = cause_of(error)
        if cause not in self.causes and len(self.causes) >= MOST_CAUSES:
            cause = OTHER
        self.causes[cause] += 1
        if len(self.named) < self._most_named:
            self.named.append((name, str(error)))

    def to_dict(self):
        """`{"total", "causes", "named"}`."""
        return {
            "total": len(self),
            "causes": dict(self.causes.most_common()),
            "named": [list(pair) for pair in self.named],
        }


def cause_of(error):
    """The cause of an error: its `cause`, or its text without names.

    Args:
        error: An exception. Data sets of files give it a `cause`.

    Example:

    >>> cause_of(ValueError("'7.jpg' cannot be read: 12 bytes left. Mend it."))
    'cannot be read: # bytes left'
    """
    if getattr(error, "cause", None):
        return str(error.cause)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "", str(error))
    text = re.sub(r"\d+", "#", text.split(". ")[0])
    return " ".join(text.split()).strip(" .:") or type(error).__name__
