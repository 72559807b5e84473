"""Examples that cannot be read, counted by cause."""

import re
from collections import Counter

# The exceptions that a data set raises for an example that it cannot read.
UNREADABLE = (ValueError, OSError)
MOST_CAUSES = 50
OTHER = "other causes"


class Failures:
    """Unreadable examples: how many, why, and which.

    Args:
        most_named: How many failures are recorded with id and reason.

    Attributes:
        causes: `Counter` of causes; beyond 50 causes, the rest count as
            `OTHER`.
        named: Pairs of id and full reason of the first failures.
    """

    def __init__(self, most_named=20):
        self.causes, self.named = Counter(), []
        self._most_named = most_named

    def __len__(self):
        return self.causes.total()

    def add(self, name, error):
        """Count one failure.

        Args:
            name: The id of the example.
            error: The exception that was raised.
        """
        cause = cause_of(error)
        if cause not in self.causes and len(self.causes) >= MOST_CAUSES:
            cause = OTHER
        self.causes[cause] += 1
        if len(self.named) < self._most_named:
            self.named.append((name, str(error)))

    def to_dict(self):
        """Return `{"total", "causes", "named"}`."""
        return {
            "total": len(self),
            "causes": dict(self.causes.most_common()),
            "named": [list(pair) for pair in self.named],
        }


def cause_of(error):
    """Return the cause of an error: its `cause`, or its text without names.

    Args:
        error: An exception. Those of `keras_jft.data.images` have a `cause`.

    Example:

    >>> cause_of(ValueError("'7.jpg' cannot be read: 12 bytes left. Mend it."))
    'cannot be read: # bytes left'
    """
    if getattr(error, "cause", None):
        return str(error.cause)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "", str(error))
    text = re.sub(r"\d+", "#", text.split(". ")[0])
    return " ".join(text.split()).strip(" .:") or type(error).__name__
