"""One law of three things: images, the width of a net, and epochs.

The score approaches its best as the data and the net grow (Hoffmann et al.
2022, equation 2), and an image seen again counts for less than a new one
(Muennighoff et al. 2023, equation 5). What this misses is a smooth deviation,
as in `posterior.py`, of which this is the case with several columns. Equation
numbers are those of `docs/forecasts.md`.

Shapes: m cells (runs that differ only in their seed), k shapes, p columns,
n draws, q places.

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
from scipy import linalg, optimize, special
from scipy.stats import qmc

from keras_jft import checks
from keras_jft.scaling.law.law import Estimate
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

DRAWS = 2_000
SHAPES = 1_024  # A power of 2.
# Median, and standard deviation of the logarithm, of each shape: exponents of
# data and width as in `prior.json`; repeats by Muennighoff et al., section 6.
EXPONENT = (0.25, 1.2)
REPEATS = (15.0, 1.5)
# Variance of the deviation by that of a run, and decades over which it changes.
RATIOS = (0.0, 1.0, 10.0, 100.0)
LENGTHS = (4.0, 2.0, 2.0)
NOISE, DF = 0.03, 2.0  # Of a run, by the rise over the cells.
LAWS = ("sum", "product")
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


def seen(images, epochs, repeats):
    """Return how many new images are worth as much (equation 33).

    Args:
        images: Number of different images.
        epochs: Times that each is seen.
        repeats: Times after which another adds little: at first each counts
            as a new image, and all together for at most `repeats` of them.
    """
    return images * (1 + repeats * -np.expm1(-(epochs - 1) / repeats))


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
            appears twice, or the cells are no grid: there are fewer than six,
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
    fitted = _Fit(cells, which, scores)
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


# === The posterior ===


class _Fit:
    """Draws of laws, as in `posterior.py`, over three axes."""

    def __init__(self, cells, which, scores):
        self.cells = cells
        self.counts = np.bincount(which)
        means = np.bincount(which, scores) / self.counts
        within = ((scores - means[which]) ** 2).sum()
        self.center, self.unit = means.mean(), np.ptp(means) or 1.0
        self.means = (means - self.center) / self.unit
        self.within = within / self.unit**2
        self.shapes = _shapes()
        self.rng = np.random.default_rng(0)
        self.parts = {
            (law, ratio): self._regress(law, ratio)
            for law in LAWS
            for ratio in RATIOS
        }
        self._draw()

    def _columns(self, law, cells, shapes):
        """Return `(k, m, p)` columns of a law, 0 to 1 over the cells."""
        data, net = _powers(cells, shapes)
        parts = [data, net] if law == "sum" else [-data * net]
        own = _powers(self.cells, shapes)
        mine = list(own) if law == "sum" else [-own[0] * own[1]]
        scaled = [
            (part - low) / np.maximum(high - low, 1e-9)
            for part, low, high in (
                (p, m.min(1, keepdims=True), m.max(1, keepdims=True))
                for p, m in zip(parts, mine, strict=True)
            )
        ]
        ones = np.ones_like(data)
        return np.stack([ones, *scaled], axis=2)

    def _regress(self, law, ratio):
        """Return the regression of every shape (equations 11 to 13)."""
        covariance = np.diag(1 / self.counts)
        covariance += ratio * _kernel(self.cells, self.cells)
        root = linalg.cholesky(covariance, lower=True)
        white = linalg.solve_triangular(root, np.eye(len(root)), lower=True)
        columns = white @ self._columns(law, self.cells, self.shapes)
        gram = columns.swapaxes(1, 2) @ columns
        # One axis may not vary: a faint prior keeps its coefficient finite.
        gram += 1e-6 * np.eye(gram.shape[1])
        means = white @ self.means
        cross = columns.swapaxes(1, 2) @ means
        theta = np.linalg.solve(gram, cross[..., None])[..., 0]
        squares = ((means - (columns @ theta[..., None])[..., 0]) ** 2).sum(1)
        squares += self.within
        total = self.counts.sum() - gram.shape[1] + DF
        log_weight = (
            -np.log(np.diag(root)).sum()
            - np.linalg.slogdet(gram)[1] / 2
            - total / 2 * np.log(squares + DF * NOISE**2)
            + special.gammaln(total / 2)
            # Every coefficient is uniform, with density 1.
            + gram.shape[1] / 2 * np.log(np.pi)
        )
        return white, gram, theta, squares, total, log_weight

    def _draw(self):
        """Draw laws, shapes and coefficients by their probability."""
        keys = list(self.parts)
        logs = np.stack([self.parts[key][-1] for key in keys])
        chance = np.exp(logs - logs.max())
        chance /= chance.sum()
        picks = self.rng.choice(logs.size, size=DRAWS, p=chance.ravel())
        self.groups = []
        for place, key in enumerate(keys):
            shape = picks[picks // logs.shape[1] == place] % logs.shape[1]
            if len(shape):
                self.groups.append(
                    (key, shape, *self._coefficients(key, shape))
                )
        kinds = dict.fromkeys(LAWS, 0.0)
        for (law, _), part in zip(keys, chance, strict=True):
            kinds[law] += float(part.sum())
        self.probabilities = kinds
        repeats = np.concatenate([self.shapes[g[1], 2] for g in self.groups])
        self.repeats = Estimate(
            *np.quantile(repeats, (0.5, 0.025, 0.975)).tolist()
        )

    def _coefficients(self, key, shape):
        """Return variances `(n',)` and coefficients `(n', p)` (17 and 18)."""
        _, gram, theta, squares, total, _ = self.parts[key]
        variance = squares[shape] + DF * NOISE**2
        variance /= self.rng.chisquare(total, len(shape))
        root = np.linalg.cholesky(np.linalg.inv(gram[shape]))
        off = root @ self.rng.standard_normal((*theta[shape].shape, 1))
        return variance, theta[shape] + np.sqrt(variance)[:, None] * off[..., 0]

    def at(self, places):
        """Return `(q, n)` scores of curves at places, and of runs on them."""
        rng = np.random.default_rng(1)
        curves, runs = [], []
        for (law, ratio), shape, variance, theta in self.groups:
            distinct, which = np.unique(shape, return_inverse=True)
            shapes = self.shapes[distinct]
            there = self._columns(law, places, shapes)[which]
            here = self._columns(law, self.cells, shapes)[which]
            scores = np.einsum("nqp,np->qn", there, theta)
            if ratio:
                rest = self.means[:, None] - np.einsum(
                    "nmp,np->mn", here, theta
                )
                scores += self._deviation(
                    (law, ratio), places, rest, variance, rng
                )
            own = np.sqrt(variance) * rng.standard_normal(scores.shape)
            curves.append(scores)
            runs.append(scores + own)
        return (
            np.concatenate(values, axis=1) * self.unit + self.center
            for values in (curves, runs)
        )

    def _deviation(self, key, places, rest, variance, rng):
        """Return `(q, n)` draws of the deviation at places (equation 19)."""
        ratio, white = key[1], self.parts[key][0]
        across = ratio * _kernel(places, self.cells) @ white.T
        spread = ratio * _kernel(places, places) - across @ across.T
        values, vectors = linalg.eigh(spread)
        root = vectors * np.sqrt(np.maximum(values, 0))
        noise = rng.standard_normal((len(places), rest.shape[1]))
        return across @ (white @ rest) + root @ noise * np.sqrt(variance)


def _shapes():
    """Return `(k, 3)` exponents of data and net, and repeats (the prior)."""
    even = qmc.Sobol(3, rng=0).random(SHAPES)
    middle, spread = np.transpose([EXPONENT, EXPONENT, REPEATS])
    normal = special.ndtri(np.clip(even, 1e-9, 1 - 1e-9))
    return np.exp(np.log(middle) + spread * normal)


def _powers(cells, shapes):
    """Return `(k, m)` falling powers of data and of net (equation 34).

    They are turned round, so that they rise with the score.
    """
    images, width, epochs = cells.T
    data, net, repeats = shapes.T[..., None]
    return (
        -(seen(images, epochs, repeats) ** -data),
        -(width**-net),
    )


def _kernel(cells, others):
    """Return the covariance of a deviation of variance 1 (equation 7)."""
    scale = np.log10(cells)[:, None] - np.log10(others)
    away = np.sqrt(5 * ((scale / LENGTHS) ** 2).sum(axis=2))
    return (1 + away + away**2 / 3) * np.exp(-away)


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
