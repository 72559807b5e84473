"""Estimate what runs cost, from the seconds that finished rows report."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
from scipy import optimize

from keras_jft.scaling.rows import units

# Columns that may hold a run's cost, most trusted first.
SECONDS = ("device_seconds", "wall_seconds")


def hours_of(table):
    """Return `(n,)` device-hours of rows; nan where a row does not say.

    Args:
        table: A DataFrame of rows.

    Raises:
        ValueError: If seconds are negative or text.
    """
    for column in SECONDS:
        hours = _hours(table, column)
        hours[hours == 0] = np.nan  # Every run takes some time.
        if np.isfinite(hours).any():
            return hours
    return np.full(len(table), np.nan)


def _hours(table, column):
    """Return `(n,)` hours from a column of seconds; nan where unknown."""
    if column not in table:
        return np.full(len(table), np.nan)
    seconds = []
    for value in table[column]:
        if isinstance(value, str) or (units.is_finite(value) and value < 0):
            raise ValueError(
                f"`{column}` must be a number of seconds, 0 or more, or empty "
                f"if it is not known. Received: {value!r}."
            )
        seconds.append(value if units.is_finite(value) else np.nan)
    return np.array(seconds, np.float64) / 3600


def hours_at(size, sizes, hours):
    """Return the device-hours of a run, as `fixed + each * size`.

    Args:
        size: The size of the run.
        sizes: `(n,)` sizes of finished runs.
        hours: `(n,)` hours that they took, nan where unknown.

    Returns:
        A number; nan if the hours of fewer than two sizes are known.
    """
    known = np.isfinite(hours)
    if len(np.unique(sizes[known])) < 2:
        return np.nan
    parts = np.stack([np.ones(known.sum()), sizes[known]], axis=1)
    # Minimize relative errors, since sizes span decades (equation 22 of
    # docs/forecasts.md).
    weights = 1 / np.maximum(hours[known], 1e-9)
    (fixed, each), _ = optimize.nnls(
        parts * weights[:, None], hours[known] * weights
    )
    return float(fixed + each * size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outlook:
    """The remaining work of a study. Prints as one line.

    Attributes:
        runs: Number of runs left.
        images: Number of images that their pre-training sees, over all epochs;
            a pre-training that several runs share counts once.
        hours: Device-hours, estimated from rows of the same task and mode; nan
            if no row says.
        unknown: Number of runs not included in `hours`, because no row of
            their task and mode says what such runs take.
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
                f" without {self.unknown} of the runs, since none like them is "
                "done yet"
            )
        return (
            f"{self.runs} runs left, {self.images:,} images of pre-training, "
            f"{hours}"
        )


def outlook(configs, rows):
    """Return the `Outlook` of configs, estimated from finished rows.

    Args:
        configs: Configs. Their attributes `task`, `mode`, `arm`,
            `num_examples`, `pretrain` and `images` are used if they exist.
        rows: Rows, a list of dicts.
    """
    table = pd.DataFrame(
        [row for row in rows if not isinstance(row.get("error"), str)]
    )
    hours = np.array([_expected(c, table, hours_of) for c in configs])
    before = np.array([_expected(c, table, _pretraining) for c in configs])
    known = np.isfinite(hours)
    # Runs with the same pre-training share it, so count it once.
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
    """Return `(n,)` hours of pre-training; nan where a row does not say."""
    return _hours(table, "pretrain_seconds")


def _expected(config, table, hours_of):
    """Estimate the hours of a config from rows like it; nan if none."""
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
