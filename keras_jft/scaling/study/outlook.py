"""Estimate the work that is left in a study, from its finished rows."""

import dataclasses
import itertools

import numpy as np

from keras_jft.scaling.rows import table as table_lib
from keras_jft.scaling.study.config_id import config_id
from keras_jft.text import number_of


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
            f"{number_of(self.runs, 'run')} left, "
            f"{number_of(self.images, 'image')} of pre-training, {hours}"
        )


def outlook(configs, rows):
    """Return the `Outlook` of configs, estimated from finished rows.

    Args:
        configs: Configs. Their attributes `task`, `mode`, `arm`,
            `num_examples`, `pretrain` and `images` are used if they exist.
        rows: Rows, a list of dicts.
    """
    rows = table_lib.Rows(rows) if len(rows) else None
    hours = np.array([_expected(c, rows, _total) for c in configs])
    before = np.array([_expected(c, rows, _pretraining) for c in configs])
    known = np.isfinite(hours)
    # Runs with the same pre-training share it, so count it once.
    ids = [config_id(getattr(c, "pretrain", i)) for i, c in enumerate(configs)]
    first = np.array([own not in ids[:i] for i, own in enumerate(ids)])
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


def _total(rows):
    """Return `(n,)` hours of runs; nan where a row does not say."""
    return rows.hours


def _pretraining(rows):
    """Return `(n,)` hours of pre-training; nan where a row does not say."""
    return rows.hours_in("pretrain_seconds")


def _expected(config, rows, hours_of):
    """Estimate the hours of a config from rows like it; nan if none."""
    if rows is None or "num_examples" not in rows:
        return np.nan
    if not hasattr(config, "num_examples"):
        return np.nan
    rows = rows.where(~rows.failed)
    for column in ("task", "mode", "arm"):
        if column in rows and getattr(config, column, None) is not None:
            rows = rows.where(rows.table[column] == getattr(config, column))
    hours = hours_of(rows)
    sizes = rows.table["num_examples"].to_numpy(np.float64)
    alike = sizes == config.num_examples
    if np.isfinite(hours[alike]).any():
        return float(np.nanmean(hours[alike]))
    return table_lib.hours_at(config.num_examples, sizes, hours)
