"""When a study may stop, and what it runs next: until verdicts are settled."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_jft import checks
from keras_jft.scaling.decision import next_runs, settling
from keras_jft.scaling.decision.forecast import (
    NOT_ENOUGH_EVIDENCE,
    Forecast,
    forecast,
)
from keras_jft.scaling.law.fitting import SIZES_TO_DECIDE, fit
from keras_jft.scaling.rows.table import BY, Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decided:
    """Run a study until the runs that are left would not change its verdicts.

    Each curve (of a task, a mode and an arm) starts with one run at each of
    four sizes, the smallest and the largest among them. Then it is fitted after
    every run, and ends when its verdict will stay the same with a probability
    of `level`, whatever the other runs find. The next run is the one that tells
    most about the gain for its cost: new sizes first, then more seeds. It does
    not give up before every size has a run.

    Attributes:
        factor: As for `forecast`.
        worth: As for `forecast`.
        y: The column of scores. None: `score` or the main metric of the task.
        bounds: As for `fit`.
        direction: As for `fit`.
        level: The probability with which the verdict must be the one that all
            runs would give. On published curves, of studies that stop at 0.98,
            97% give it (`benchmarks/sequential.py`); of those that stop at
            0.95, 91%.

    Raises:
        ValueError: If `level` is not a probability above one half.

    Example:
        >>> import dataclasses, pathlib, tempfile
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     num_examples: int
        ...     seed: int
        >>> configs = [
        ...     Config(size, seed)
        ...     for seed in range(3)
        ...     for size in (100, 300, 1_000, 3_000, 10_000)
        ... ]
        >>> def run(config):
        ...     error = config.num_examples**-0.2 + 0.001 * config.seed
        ...     return {"accuracy": 1 - error, "device_seconds": 60}
        >>> study = jft.scaling.Study(
        ...     configs,
        ...     pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl",
        ...     run,
        ...     until=jft.scaling.Decided(y="accuracy"),
        ... )
        >>> len(study.run()) < len(configs)
        True
    """

    factor: float = 10
    worth: float | None = None
    y: str | None = None
    bounds: tuple[float, float] | None = None
    direction: str | None = None
    level: float = 0.98

    def __post_init__(self) -> None:
        checks.number("level", self.level, 0.5, 1)

    def check(self, configs: list[Any]) -> None:
        """Raise a `ValueError` if configs cannot lead to a verdict."""
        for name, curve in _by_curve(configs).items():
            sizes = {getattr(config, "num_examples", None) for config in curve}
            if len(sizes - {0, None}) < SIZES_TO_DECIDE:
                called = " ".join(map(str, name)) or "a curve"
                raise ValueError(
                    f"`until` needs configs of {SIZES_TO_DECIDE} or more "
                    "different `num_examples` above 0 for every curve. "
                    f"Received for {called}: {sorted(map(str, sizes))}."
                )

    def in_order(
        self,
        configs: list[Any],
        rows: Callable[[], list[Any]],
        is_done: Callable[[Any], bool],
    ) -> Iterator[Any]:
        """Yield configs in the order to run them, until verdicts are settled.

        The next one is chosen by the rows that there are when it is asked for.

        Args:
            configs: Configs that are not done, in the order of the study.
            rows: Returns the rows of those that are.
            is_done: Whether another process has done a config in the meantime.
        """
        for name, left in _by_curve(configs).items():
            while left := [c for c in left if not is_done(c)]:
                size = self._next_size(left, _by_curve(rows()).get(name, []))
                if size is None:
                    break
                config = next(c for c in left if c.num_examples == size)
                left.remove(config)
                yield config

    def told(self, rows: list[Any], total: int) -> str:
        """Return the verdicts of a study, and after how many runs.

        Args:
            rows: Its rows.
            total: Number of its configs.
        """
        verdicts = []
        for name, curve in _by_curve(rows).items():
            sheet = self.sheet(curve)
            said = "too few runs succeeded" if sheet is None else sheet.verdict
            verdicts.append(": ".join([*filter(None, [" ".join(name)]), said]))
        return f"After {len(rows)} of {total} runs: {'; '.join(verdicts)}."

    def sheet(self, rows: list[Any]) -> Forecast | None:
        """Return the `Forecast` of the rows of one curve, None if too few."""
        found = Rows(rows).succeeded() if rows else None
        if found is None or not len(found.table):
            return None
        y = found.score(self.y)
        trained = found.where(~found.untrained)
        if trained.table["num_examples"].nunique() < SIZES_TO_DECIDE:
            return None
        law = fit(
            trained,
            "num_examples",
            y,
            bounds=self.bounds,
            direction=self.direction,
        )
        return forecast(law, self.factor, self.worth)

    def _next_size(self, configs, rows):
        """Return the size of a curve's next run, or None if it is settled."""
        left = collections.Counter(c.num_examples for c in configs)
        done = collections.Counter(row["num_examples"] for row in rows)
        first = _first({*left, *done})
        for size in first:
            if size in left and size not in done:
                return size
        left.pop(0, None)
        sheet = self.sheet(rows)
        if sheet is None:  # Runs failed: try other sizes.
            return next(iter(left), None)
        if self._is_settled(sheet, left, done):
            return None
        return next_runs.choose(sheet.law, self.factor, left)

    def _is_settled(self, sheet, left, done):
        """Return whether the runs left would not change a verdict.

        Args:
            sheet: The `Forecast` from the runs so far.
            left: `{size: number of runs left}`.
            done: `{size: number of runs}`, failed ones included.
        """
        # A few sizes do not show how the curve bends: do not give up on them.
        every = {*left} <= {*done}
        if sheet.verdict == NOT_ENOUGH_EVIDENCE and not every:
            return False
        if any(d.withholds and not d.about_verdict for d in sheet.doubts):
            return True
        chances = settling.probabilities(sheet, left)
        return chances[sheet.verdict] >= self.level


def _by_curve(configs):
    """Return `{name: list}` of configs, or of rows, of one curve."""
    found = {}
    for config in configs:
        get = config.get if isinstance(config, dict) else None
        name = tuple(
            value
            for column in BY
            if (value := get(column) if get else getattr(config, column, None))
            is not None
        )
        found.setdefault(name, []).append(config)
    return found


def _first(sizes):
    """Return the sizes to start with: 0, and four evenly on a log scale."""
    trained = np.array(sorted(size for size in sizes if size))
    logs = np.log(trained)
    chosen = []
    for place in np.linspace(logs[0], logs[-1], SIZES_TO_DECIDE):
        order = np.argsort(np.abs(logs - place), kind="stable")
        chosen.append(next(i for i in order if i not in chosen))
    untrained = [size for size in sizes if not size]
    return [*untrained, *trained[sorted(chosen)].tolist()]
