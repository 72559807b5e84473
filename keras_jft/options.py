"""Messages of the library in the options of the command line."""

import ast
import re
import shlex

# Options that are not called as the arguments they set.
OPTIONS = {
    "y": "--score",
    "bounds": "--metric-range",
    "filepath": "--output",
    "tasks": "--task",
    "dataset": "--layout",
    "path": "--output",
}
DIRECTIONS = {"min": "lower", "max": "higher"}


def in_options(message, names):
    """Return a message with options in place of the arguments they set.

    Args:
        message: A message of the library.
        names: Names of the arguments that options set.

    Example:

    >>> in_options("`y` must be a column. Received: y=None, by=['a b'].",
    ...            ["y", "by"])
    "`--score` must be a column. Received: no --score, --by 'a b'."
    >>> in_options("Begin again with `Study(..., retry_failed=True)`.",
    ...            ["retry_failed"])
    'Begin again with `--retry-failed`.'
    """
    for value, word in DIRECTIONS.items():
        message = message.replace(f'direction="{value}"', f"--{word}-is-better")
    for name in names:
        option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
        message = message.replace(f"`{name}`", f"`{option}`")
        message = re.sub(rf"\b{name}=None\b", f"no {option}", message)
        message = re.sub(
            rf"`\w+\(\.\.\., {name}=True\)`", f"`{option}`", message
        )
        message = re.sub(
            rf"\b{name}=(\[.*?\]|\(.*?\))?",
            lambda found, option=option: f"{option} {_words(found[1])}",
            message,
        )
    return message


def _words(values):
    """Return a list or a tuple in a message as words of a command line."""
    try:
        return shlex.join(map(str, ast.literal_eval(values or "()")))
    except ValueError:  # Names that stand for values: (low, high).
        return re.sub(r"[^\w ]", "", values).upper()
