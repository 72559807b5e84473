"""A small, recorded search for the learning rates of a study.

A rate that suits one data set does not suit others, and a poor one looks like
data that do not help. So a few rates are tried at the ends of the study, its
smallest and its largest size, on images that are held out from training and are
not those that the study measures on.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_jft.scaling.rows.table import Rows
from keras_jft.scaling.study.plan import Plan
from keras_jft.scaling.study.runs import Run, Runner
from keras_jft.scaling.study.study import Study

FACTORS = (1 / 3, 1.0, 3.0)


def search_rates(plan: Plan, executor: Any = None) -> Plan:
    """Return a plan with the learning rates that did best in a search.

    First the rate of pre-training, by the first task; then, on the backbones of
    that rate, those of every transfer. All runs have rows in `search.jsonl` and
    are not done again.

    Args:
        plan: A `Plan`. Rates that the user has chosen stay, and so do those of
            tasks without images to validate on, and all if it says so.
        executor: As for `Study.run`.

    Returns:
        A `Plan` whose notes say what was tried.

    Raises:
        RuntimeError: All runs of one rate or more failed.
    """
    runner = Runner(plan.output / "backbones")
    if not plan.searches:
        return plan
    tuned = [n for n, task in plan.tasks.items() if task.validation]
    if tuned and "pretrain.learning_rate" not in plan.chosen:
        task = plan.tasks[tuned[0]]
        rate, note = _best(
            plan,
            runner,
            [
                _run(plan, task, task.modes[0], size, pretrain=rate)
                for rate in _rates(plan.pretrain)
                for size in _ends(plan, least=1)
            ],
            lambda run: run.pretrain.learning_rate,
            executor,
        )
        plan = dataclasses.replace(
            plan,
            pretrain=dataclasses.replace(plan.pretrain, learning_rate=rate),
            notes=(*plan.notes, f"learning rate of pre-training: {note}"),
        )
    for name in tuned:
        if f"tasks.{name}.learning_rate" in plan.chosen:
            continue
        task = plan.tasks[name]
        rates, notes = {}, []
        for mode in task.modes:
            rates[mode], note = _best(
                plan,
                runner,
                [
                    _run(plan, task, mode, size, transfer=rate)
                    for rate in _rates(task.transfer)
                    for size in _ends(plan, least=0)
                ],
                lambda run: run.transfer.learning_rate,
                executor,
            )
            notes.append(f"learning rate of {name}, {mode}: {note}")
        plan = dataclasses.replace(
            plan,
            tasks={**plan.tasks, name: dataclasses.replace(task, rates=rates)},
            notes=(*plan.notes, *notes),
        )
    return plan


def num_search_runs(plan: Plan) -> Mapping[str, int]:
    """Return how many runs `search_rates` does at most.

    Args:
        plan: A `Plan`, as for `search_rates`.

    Returns:
        `{"pretrain": ..., "transfer": ...}`: pre-trainings of each of the two
        sizes, and transfers of both together.
    """
    tuned = {n: t for n, t in plan.tasks.items() if t.validation}
    if not plan.searches:
        tuned = {}
    first = bool(tuned) and "pretrain.learning_rate" not in plan.chosen
    modes = sum(
        len(task.modes)
        for name, task in tuned.items()
        if f"tasks.{name}.learning_rate" not in plan.chosen
    )
    return {
        "pretrain": len(FACTORS) * first,
        "transfer": 2 * len(FACTORS) * (modes + first),
    }


def _rates(config):
    """Return the rates to try, of two digits."""
    return [float(f"{config.learning_rate * f:.2g}") for f in FACTORS]


def _ends(plan, least):
    sizes = [size for size in plan.sizes if size >= least]
    return sizes[0], sizes[-1]


def _run(plan, task, mode, size, *, pretrain=None, transfer=None):
    seed = plan.seeds[0]
    rates = {"learning_rate": transfer} if transfer else {}
    before = {"learning_rate": pretrain} if pretrain else {}
    return Run(
        pretrain=dataclasses.replace(
            plan.pretrain, num_examples=size, seed=seed, **before
        ),
        transfer=dataclasses.replace(
            task.transfer, mode=mode, seed=seed, **rates
        ),
        evaluation=task.validation,
    )


def _best(plan, runner, runs, rate_of, executor):
    """Return the rate with the best scores over both sizes, and a sentence."""
    study = Study(runs, plan.output / "search.jsonl", runner)
    rows = study.run(executor, wait=True)  # All of them are compared.
    column = Rows(rows).score()
    scores = {}
    for run, row in zip(runs, rows, strict=True):
        found = scores.setdefault(rate_of(run), {})
        # A rate at which a run fails is no choice.
        found[run.num_examples] = row.get(column, -np.inf)
    best = {
        size: max(found[size] for found in scores.values())
        for size in {run.num_examples for run in runs}
    }
    if not np.isfinite(list(best.values())).all():
        raise RuntimeError(
            f"At no learning rate of {list(scores)} did runs succeed. "
            f"{study.path} has their errors."
        )
    # Relative to the best, so that both sizes count the same.
    lost = {
        rate: sum(
            (best[size] - score) / max(best[size], 1e-9)
            for size, score in found.items()
        )
        for rate, found in scores.items()
    }
    rate = min(lost, key=lost.get)
    tried = "; ".join(
        f"{tried:g}: "
        + ", ".join(f"{100 * found[n]:.1f} at {n:,}" for n in sorted(found))
        for tried, found in scores.items()
    )
    note = f"{rate:g} ({column} on held-out images, {tried})"
    at_edge = rate in (min(scores), max(scores)) and len(set(lost.values())) > 1
    if at_edge:
        note += "; a rate beyond may be better"
    return rate, note
