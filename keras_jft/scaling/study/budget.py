"""Fit a study into a number of hours, after a short pilot on this machine."""

import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import statistics
import time
from typing import Any

import keras

from keras_jft import checks, files, pretrain
from keras_jft.scaling.rows.table import is_failure
from keras_jft.scaling.study import claims, defaults, scheduling
from keras_jft.scaling.study.config_id import config_id
from keras_jft.scaling.study.executors import InThisProcess
from keras_jft.scaling.study.plan import Plan
from keras_jft.scaling.study.runs import Runner
from keras_jft.scaling.study.search import num_search_runs
from keras_jft.scaling.study.study import Study
from keras_jft.text import number_of

_STEPS = 24  # Of pre-training that are timed.
_MOST_SEEDS = 5
_SEARCHED = 0.25  # The most of the hours that a search may take.


@dataclasses.dataclass(frozen=True)
class Pilot:
    """What parts of a study take on this machine, in seconds.

    Attributes:
        start: A pre-training up to its first step.
        step: Each of its steps.
        transfers: All transfers from one backbone, with their evaluations.
    """

    start: float
    step: float
    transfers: float

    def hours(self, plan: Plan, sizes: tuple[int, ...], seeds: int) -> float:
        """Return the hours of a plan with other sizes and seeds, all told."""
        once = sum(self._pretraining(plan, n) + self.transfers for n in sizes)
        return (seeds * once + self._search(plan, sizes)) / 3600

    def _pretraining(self, plan, size):
        config = plan.pretrain
        steps = config.steps or config.epochs * (size // config.batch_size)
        return self.start + steps * self.step if size else 0.0

    def _search(self, plan, sizes):
        """Return the seconds of the search for learning rates."""
        runs = num_search_runs(plan)
        modes = sum(len(task.modes) for task in plan.tasks.values())
        ends = [n for n in sizes if n][:: max(1, len(sizes) - 2)]
        before = sum(self._pretraining(plan, n) for n in ends)
        each = self.transfers / modes
        return runs["pretrain"] * before + runs["transfer"] * each


def fit_hours(plan: Plan, hours: float, executor: Any = None) -> Plan:
    """Return a plan with sizes and seeds that fit into a number of hours.

    A pilot measures some steps of pre-training, and runs the transfers of one
    random backbone, which are part of the study. Both are kept in the output,
    so a second call measures nothing. What the user has chosen, sizes or seeds,
    stays. Learning rates are searched if that takes a quarter of the hours at
    most.

    Args:
        plan: A `Plan`.
        hours: Hours on this machine, or of one worker of the executor.
        executor: As for `Study.run`.

    Returns:
        A `Plan` whose notes say what was measured and chosen.

    Raises:
        ValueError: `hours` is not positive, or too little for any curve.
        RuntimeError: A run of the pilot failed.
    """
    checks.number("hours", hours, 0, above=True)
    found = pilot(plan, executor)
    unsearched = found.hours(plan, plan.sizes, 0) > hours * _SEARCHED
    plan = dataclasses.replace(plan, searches=not unsearched)
    for sizes, seeds in _choices(plan):
        needed = found.hours(plan, sizes, len(seeds))
        if needed <= hours:
            break
    else:
        raise ValueError(
            f"`hours` must be {needed:.2g} or more: so long take {len(sizes)} "
            f"sizes up to {max(sizes):,}, once each. Received: hours={hours}. "
            "Take fewer tasks or modes, smaller images or fewer epochs."
        )
    note = (
        f"a step of pre-training takes {1000 * found.step:.0f} ms here, and "
        f"the transfers of a backbone {found.transfers:.0f} s: "
        f"{number_of(len(sizes), 'size')}, {number_of(len(seeds), 'time')} "
        "each, take about "
        f"{needed:.2g} of {hours:g} hours"
        + ", too few to search learning rates in"
        * unsearched
    )
    return dataclasses.replace(
        plan, sizes=sizes, seeds=seeds, notes=(*plan.notes, note)
    )


def _choices(plan):
    """Yield sizes and seeds, from the most to the least that they cost."""
    most = plan.sizes[-1]
    while True:
        if "seeds" in plan.chosen:
            yield plan.sizes, plan.seeds
        else:
            for count in range(_MOST_SEEDS, 0, -1):
                yield plan.sizes, tuple(range(count))
        most = int(most / 1.5)
        if "sizes" in plan.chosen or most < defaults.FEWEST:
            return
        sizes = defaults.sizes_for(most)
        if sizes[1] < plan.pretrain.batch_size:
            return
        plan = dataclasses.replace(plan, sizes=sizes)


def pilot(plan: Plan, executor: Any = None) -> Pilot:
    """Measure what parts of a plan take, or read what was measured before.

    Args:
        plan: A `Plan`.
        executor: As for `Study.run`.
    """
    runner = Runner(plan.output / "backbones")
    first = dataclasses.replace(plan, sizes=(0,), seeds=plan.seeds[:1])
    # As rows of the study, which will not do these runs again.
    study = Study(first.runs(), plan.output / "rows.jsonl", runner)
    rows = study.run(executor, wait=True)
    failed = [row["error"] for row in rows if is_failure(row.get("error"))]
    if failed:
        raise RuntimeError(f"The pilot failed: {failed[0]}")
    transfers = sum(row["device_seconds"] for row in rows)
    key = config_id(plan.pretrain)
    path = pathlib.Path(plan.output) / "pilot.json"
    # Of several callers one measures, and all plan by the same numbers.
    with claims.wait(path, key):
        known = (
            json.loads(path.read_text(encoding="utf-8"))
            if path.exists()
            else {}
        )
        if key not in known:
            known[key] = _measured(plan.pretrain, runner, executor)
            files.write_json(path, known)
    return Pilot(**known[key], transfers=transfers)


def _measured(config, runner, executor):
    """Return what `_timed` does, on a worker, or on another if it is lost."""
    [(_, (seconds, error))] = scheduling.outcomes(
        [config],
        functools.partial(_outcome, runner),
        executor or InThisProcess(),
        claim=lambda config: contextlib.nullcontext(True),
        shared_work=lambda config: None,
        begin=lambda config: None,
        repeat=lambda config, error: None,
    )
    if error is not None:
        raise error
    return seconds


def _outcome(runner, config, times_lost):
    """Return a pair, as a worker of `scheduling` does."""
    return _timed(config, runner), None


def _timed(config, runner):
    """Return the seconds of the first step, and of each of the others."""
    clock = _Clock()
    examples = runner.examples(config)
    short = dataclasses.replace(
        config,
        num_examples=min(len(examples), (_STEPS + 2) * config.batch_size),
        steps=_STEPS,
        epochs=None,
    )
    start = time.perf_counter()
    pretrain.run(short, examples, callbacks=[clock], verbose=0)
    times = clock.times
    steps = [two - one for one, two in itertools.pairwise(times[1:])]
    return {
        "start": round(times[0] - start, 3),
        "step": round(statistics.median(steps), 5),
    }


class _Clock(keras.callbacks.Callback):
    """Notes when each step ended."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())
