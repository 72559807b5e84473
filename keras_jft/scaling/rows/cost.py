"""What runs cost, by what rows say that they took."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
from scipy import optimize

from keras_jft.scaling.rows import units

# What a row may say of its cost, in the order in which it is believed.
SECONDS = ("device_seconds", "wall_seconds")


def hours_of(table):
    """`(n,)` device-hours of rows; nan where one does not tell.

    Args:
        table: A DataFrame of rows.

    Raises:
        ValueError: If seconds are negative or text.
    """
    for column in SECONDS:
        hours = _hours(table, column)
        hours[hours == 0] = np.nan  # No run takes no time.
        if np.isfinite(hours).any():
            return hours
    return np.full(len(table), np.nan)


def _hours(table, column):
    """`(n,)` hours of a column of seconds; nan where it does not tell."""
    if column not in table:
        return np.full(len(table), np.nan)
    seconds = []
    for value in table[column]:
        if isinstance(value, str) or (units.is_finite(value) and value < 0):
            raise ValueError(
                f"`{column}` must be seconds, 0 or more, or empty where it is "
                f"not known. Received: {value!r}."
            )
        seconds.append(value if units.is_finite(value) else np.nan)
    return np.array(seconds, np.float64) / 3600


def hours_at(size, sizes, hours):
    """Device-hours of a run of a size, as `fixed + each * size`.

    Args:
        size: The size asked for.
        sizes: `(n,)` sizes of runs.
        hours: `(n,)` what they took.

    Returns:
        A number; nan where fewer than two sizes tell what they took.
    """
    known = np.isfinite(hours)
    if len(np.unique(sizes[known])) < 2:
        return np.nan
    parts = np.stack([np.ones(known.sum()), sizes[known]], axis=1)
    # By the share of each run that is missed: sizes span decades.
    weights = 1 / np.maximum(hours[known], 1e-9)
    (fixed, each), _ = optimize.nnls(
        parts * weights[:, None], hours[known] * weights
    )
    return float(fixed + each * size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is left of a study. Prints as a line.

    Attributes:
        runs: How many runs are left.
        images: How many images their pre-training sees, epochs counted; what
            several runs share counts once.
        hours: Device-hours, by rows of the same task and mode; nan where no
            row tells.
        unknown: How many of the runs `hours` does not count: no row of their
            task and mode tells what they take.
    """

    runs: int
    images: int
    hours: float
    unknown: int = 0

    def __str__(self):
        hours = f"about {self.hours:.2f} device-hours"
        if self.runs and self.unknown == self.runs:
            hours = "device-hours unknown: no run like them is done yet"
        elif self.unknown:
            hours += (
                f" without {self.unknown} of the runs: none like them is done "
                "yet"
            )
        return (
            f"{self.runs} runs left, {self.images:,} images of pre-training, "
            f"{hours}"
        )


def outlook(configs, rows):
    """The `Outlook` of configs, by the rows that there are.

    Args:
        configs: Configs; what they have of `task`, `mode`, `arm`,
            `num_examples`, `pretrain` and `images` counts.
        rows: Rows, a list of dicts.
    """
    table = pd.DataFrame(
        [row for row in rows if not isinstance(row.get("error"), str)]
    )
    hours = np.array([_expected(c, table, hours_of) for c in configs])
    before = np.array([_expected(c, table, _pretraining) for c in configs])
    known = np.isfinite(hours)
    # Runs of one pre-training share it.
    names = [repr(getattr(c, "pretrain", i)) for i, c in enumerate(configs)]
    first = np.array([name not in names[:i] for i, name in enumerate(names)])
    images = [getattr(c, "images", 0) for c in configs]
    total = hours - np.where(first, 0, np.nan_to_num(before))
    return Outlook(
        runs=len(configs),
        images=sum(itertools.compress(images, first)),
        hours=float(total[known].sum())
        if any(known) or not configs
        else np.nan,
        unknown=int(np.sum(~known)),
    )


def _pretraining(table):
    """`(n,)` hours of rows that are pre-training; nan where one is silent."""
    return _hours(table, "pretrain_seconds")


def _expected(config, table, hours_of):
    """Hours of a config, by rows of its task, mode and arm; nan if none."""
    for column in ("task", "mode", "arm"):
        if column in table and hasattr(config, column):
            table = table[table[column] == getattr(config, column)]
    if not hasattr(config, "num_examples") or "num_examples" not in table:
        return np.nan
    hours = hours_of(table)
    alike = (table["num_examples"] == config.num_examples).to_numpy()
    if np.isfinite(hours[alike]).any():
        return float(np.nanmean(hours[alike]))
    sizes = table["num_examples"].to_numpy(np.float64)
    return hours_at(config.num_examples, sizes, hours)
