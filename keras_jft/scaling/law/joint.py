"""One law of three things: images, the width of a net, and epochs.

The score approaches its best as the data and the net grow (Hoffmann et al.
2022, equation 2), and an image seen again counts for less than a new one
(Muennighoff et al. 2023, equation 5). `joint_posterior.py` fits it. Equation
numbers are those of `docs/forecasts.md`.

Shapes: m cells (runs that differ only in their seed), n draws.

References:
    Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models",
    https://arxiv.org/abs/2203.15556
    Muennighoff et al. 2023, "Scaling Data-Constrained Language Models",
    https://arxiv.org/abs/2305.16264
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize

from keras_jft import checks
from keras_jft.scaling.law.joint_posterior import JointPosterior
from keras_jft.scaling.law.law import Estimate
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

REACH = 10.0  # `best` looks up to this many times the most images measured.


class Choice(NamedTuple):
    """How to spend device-hours.

    Attributes:
        images: Number of images.
        width: Width of the net.
        epochs: Times that each image is seen.
        score: `Estimate` of the score of one run.
        hours: Device-hours that a run takes.
        chance: Probability that no other choice is better.
    """

    images: int
    width: float
    epochs: float
    score: Estimate
    hours: float
    chance: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class JointLaw:
    """Fitted scores over images, widths and epochs, with their uncertainty.

    Attributes:
        cells: `(m, 3)` images, width and epochs of the cells.
        names: The columns of these and of the scores.
        bounds: Lowest and highest possible score.
        direction: `"max"` or `"min"`.
        probabilities: `{law: probability}` of `"sum"` and `"product"`.
        repeats: `Estimate` of the repeats that count at most.
    """

    cells: np.ndarray
    names: tuple[str, ...]
    bounds: tuple[float, float]
    direction: str
    probabilities: dict[str, float]
    repeats: Estimate
    _fit: Any
    _cost: np.ndarray | None

    def predict(
        self, images: ArrayLike, width: ArrayLike, epochs: ArrayLike
    ) -> Any:
        """Return the median score at places, whose arguments broadcast."""
        curves, _ = self._draws(images, width, epochs)
        return np.median(curves, axis=0)[()]

    def prediction_interval(
        self, images: ArrayLike, width: ArrayLike, epochs: ArrayLike
    ) -> tuple[Any, Any]:
        """Return both ends of the 95% interval of one new run at places."""
        _, runs = self._draws(images, width, epochs)
        low, high = np.quantile(runs, (0.025, 0.975), axis=0)
        return low[()], high[()]

    def hours(self, images: float, width: float, epochs: float) -> float:
        """Return the device-hours of a run (equation 35)."""
        if self._cost is None:
            raise ValueError(
                "Device-hours are unknown: the rows have neither "
                "`device_seconds` nor `wall_seconds`."
            )
        return float(_work(images, width, epochs) @ self._cost)

    def best(
        self,
        hours: float,
        *,
        most: float | None = None,
        widths: Sequence[float] | None = None,
        epochs: Sequence[float] | None = None,
    ) -> Choice:
        """Return the images, width and epochs with the best score for a cost.

        Args:
            hours: Device-hours of one run.
            most: The most images that there are; None: ten times as many as
                were measured.
            widths: Widths to choose from; None: those measured.
            epochs: Epochs to choose from; None: those measured.

        Returns:
            A `Choice`.

        Raises:
            ValueError: If the hours are too few for any run, or not known.
        """
        checks.number("hours", hours, 0, above=True)
        largest = float(self.cells[:, 0].max())
        most = REACH * largest if most is None else most
        checks.number("most", most, 1)
        places = []
        for width in np.unique(self.cells[:, 1] if widths is None else widths):
            for times in np.unique(
                self.cells[:, 2] if epochs is None else epochs
            ):
                fixed = self.hours(0, width, times)
                each = self.hours(1, width, times) - fixed
                images = min(most, np.floor((hours - fixed) / each))
                if images >= 1:
                    places.append((images, width, times))
        if not places:
            least = self.hours(1, self.cells[:, 1].min(), 1)
            raise ValueError(
                "`hours` must be enough for a run of one image, about "
                f"{least:.2g}. Received: hours={hours}."
            )
        curves, runs = self._draws(*np.transpose(places))
        sign = 1 if self.direction == "max" else -1
        middle = np.median(curves, axis=0)
        place = int((sign * middle).argmax())
        low, high = np.quantile(runs[:, place], (0.025, 0.975))
        wins = (sign * curves).argmax(axis=1) == place
        images, width, times = places[place]
        return Choice(
            images=int(images),
            width=float(width),
            epochs=float(times),
            score=Estimate(float(middle[place]), float(low), float(high)),
            hours=self.hours(images, width, times),
            chance=float(wins.mean()),
        )

    def _draws(self, images, width, epochs):
        """Return scores of curves, and of a run on each, `(n, *places)`."""
        given = {"images": images, "width": width, "epochs": epochs}
        for name, values in given.items():
            checks.numbers_of(name, np.ravel(values), 0, above=True)
        places = np.broadcast_arrays(*given.values())
        flat = np.stack([np.ravel(p).astype(float) for p in places], axis=1)
        curves, runs = self._fit.at(flat)
        shape = -1, *places[0].shape
        return (
            np.clip(values.T, *self.bounds).reshape(shape)
            for values in (curves, runs)
        )


def fit_joint(
    rows: RowsLike,
    y: str | None = None,
    *,
    images: str = "num_examples",
    width: str = "width",
    epochs: str = "epochs",
    bounds: tuple[float, float] | None = None,
    direction: str | None = None,
) -> JointLaw:
    """Fit one law to the scores of runs that vary images, width and epochs.

    Args:
        rows: Rows of one task and mode, of any arms, a list of dicts, a
            DataFrame or `Rows`.
        y: The column of scores. None: `score` or the main metric of the task.
        images: The column of the number of images, or a dotted path into
            `config`, such as `"pretrain.num_examples"`.
        width: Likewise of the width of the net, or its number of weights.
        epochs: Likewise of the number of epochs.
        bounds: As for `fit`.
        direction: As for `fit`.

    Returns:
        A `JointLaw`.

    Raises:
        ValueError: If a column is missing or not a positive number, a run
            appears twice, or the cells form no grid: there are fewer than six,
            only one thing varies, or one varies only together with another.

    Example:
        >>> def score(images, width, epochs):
        ...     return 0.9 - 2 * (images * epochs) ** -0.3 - width**-1.0
        >>> rows = [
        ...     {
        ...         "num_examples": n, "width": w, "epochs": e,
        ...         "top1": score(n, w, e), "device_seconds": n * e * w,
        ...     }
        ...     for n in (300, 1_000, 3_000) for w in (8, 16, 32)
        ...     for e in (1, 2, 4)
        ... ]
        >>> law = fit_joint(rows, "top1")
        >>> bool(abs(law.predict(10_000, 16, 4) - score(10_000, 16, 4)) < 0.02)
        True
        >>> law.best(hours=20).width
        16.0
    """
    done = Rows(rows).succeeded()
    done.check_one_curve(besides=["arm"])
    y = done.score(y)
    done.check_numbers(y)
    names = images, width, epochs, y
    places = _places(done, names[:3])
    kept = (places > 0).all(axis=1)  # 0 images are random initialization.
    kept[kept] = _once(done, names, places, kept)
    places, scores = places[kept], done.table[y].to_numpy(np.float64)[kept]
    cells, which = np.unique(places, axis=0, return_inverse=True)
    which = which.ravel()
    _check_grid(cells, names)
    direction = units.direction_of(y, (), direction, done.metrics)
    ends = units.bounds_of(scores, bounds, y, direction)
    fitted = JointPosterior(cells, which, scores, ends)
    return JointLaw(
        cells=cells,
        names=names,
        bounds=ends,
        direction=direction,
        probabilities=fitted.probabilities,
        repeats=fitted.repeats,
        _fit=fitted,
        _cost=_cost(places, done.hours[kept]),
    )


# === Rows to cells ===


def _places(done, names):
    """Return `(rows, 3)` images, width and epochs of runs.

    Args:
        done: The `Rows`.
        names: The columns of these.
    """
    settings = [done.settings(name) for name in names]
    settings[2] = _epochs(done, names[2], *settings[::2])
    for name, values in zip(names, settings, strict=True):
        wrong = [v for v in values if not (units.is_finite(v) and v >= 0)]
        if wrong:
            paths = _paths(done, name)
            raise ValueError(
                f"`{name}` must be a number, 0 or more, in every row. "
                f"Received: {wrong[0]!r} in {len(wrong)} of {len(values)} rows."
                + (f" Perhaps it is {' or '.join(paths)}." if paths else "")
            )
    return np.array(settings, np.float64).T


def _epochs(done, name, images, epochs):
    """Return epochs; those of runs that were given steps, from the steps."""
    path = name.removesuffix("epochs")
    steps, sizes = (done.settings(path + n) for n in ("steps", "batch_size"))
    return [
        step * size / count if own is None and step and size and count else own
        for own, step, size, count in zip(
            epochs, steps, sizes, images, strict=True
        )
    ]


def _paths(done, name):
    """Return the paths into `config` that end with a name, in quotes."""
    if "config" not in done:
        return []
    first = done.table["config"].iloc[0]
    return [
        f'"{path}"'
        for path in _flat(first)
        if path.rpartition(".")[2] == name and path != name
    ]


def _flat(config):
    """Return `{dotted path: value}` of nested settings."""
    if not isinstance(config, dict):
        return {}
    found = {}
    for key, value in config.items():
        nested = _flat(value)
        found |= {f"{key}.{k}": v for k, v in nested.items()} or {key: value}
    return found


def _once(done, names, places, kept):
    """Return which of the kept rows to use; raise if two are of one run.

    A run that is a member of two arms has the same score in both, and counts
    once.
    """
    table = done.table[kept]
    seeds = table["seed"] if "seed" in table else np.arange(len(table))
    runs = pd.DataFrame(places[kept]).assign(seed=np.asarray(seeds))
    scores = table[names[3]].to_numpy()
    again = runs.assign(score=scores).duplicated().to_numpy()
    twice = np.flatnonzero(runs[~again].duplicated())
    if len(twice):
        left = np.flatnonzero(~again)
        second = left[twice[0]]
        first = left[(runs.iloc[left] == runs.iloc[second]).all(axis=1)][0]
        where = dict(zip(names, places[kept][second].tolist(), strict=False))
        raise ValueError(
            "There must be one run of each cell and seed. Received several of "
            + ", ".join(f"{name}={value:g}" for name, value in where.items())
            + f", seed={runs['seed'][second]}"
            + _difference(table.iloc[first], table.iloc[second])
            + " Keep one of them."
        )
    return ~again


def _difference(first, second):
    """Return the names of the settings that tell two rows apart, as text."""
    one, other = (_flat(row.get("config")) for row in (first, second))
    names = [n for n in one if n != "arm" and one[n] != other.get(n)]
    if not names:
        return "."
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f", which differ in {shown}{', ...' * (len(names) > 3)}."


def _check_grid(cells, names):
    """Raise a `ValueError` if the cells cannot tell three things apart."""
    logs = np.log(cells)
    varied = [n for n, v in zip(names, logs.T, strict=False) if np.ptp(v)]
    shown = (
        f"Received {len(cells)} cells, in which "
        f"{' and '.join(f'`{name}`' for name in varied) or 'nothing'} varies: "
        f"{cells[:6].tolist()}{', ...' * (len(cells) > 6)}."
    )
    if len(varied) < 2:
        raise ValueError(
            "A law of three things needs runs in which two or more of them "
            f"vary; `fit` is for one. {shown}"
        )
    if len(cells) < 6:
        raise ValueError(
            "A law of three things needs six or more different cells. " + shown
        )
    if np.linalg.matrix_rank(logs - logs.mean(0), tol=1e-6) < len(varied):
        raise ValueError(
            "A law of three things needs a grid: here one varies only together "
            f"with another, so their parts cannot be told apart. {shown}"
        )


# === Cost ===


def _work(images, width, epochs):
    """Return what the hours of a run are a sum of (equation 35)."""
    work = images * epochs
    return np.stack(
        np.broadcast_arrays(1.0, work, work * width, work * width**2), axis=-1
    )


def _cost(places, hours):
    """Return hours per unit of `_work`, none negative; None if unknown."""
    known = np.isfinite(hours) & (hours > 0)
    if not known.any():
        return None
    # By relative error: the smallest runs count as much as the largest.
    work = _work(*places[known].T) / hours[known, None]
    scale = work.max(axis=0)
    found, _ = optimize.nnls(work / scale, np.ones(len(work)))
    return found / scale
