"""What a study costs: hours, a pilot, and the search for learning rates."""

import concurrent.futures
import json
import time

import numpy as np
import pytest
from folder_studies import SHORT

from keras_jft.scaling import search_rates
from keras_jft.scaling.study import budget, executors
from keras_jft.scaling.study import search as search_module

pytestmark = pytest.mark.usefixtures("uncompiled")


def test_sizes_and_seeds_are_chosen_to_fit_the_hours(plan, monkeypatch):
    found = plan(SHORT)
    took = budget.Pilot(start=10, step=0.1, transfers=60)
    monkeypatch.setattr(budget, "pilot", lambda *_: took)
    epochs, batch = found.pretrain.epochs, found.pretrain.batch_size
    once = sum(
        60 + (10 + 0.1 * epochs * (size // batch) if size else 0)
        for size in found.sizes
    )
    assert found.pretrain.batch_size == 16
    # Three rates of pre-training at the ends, with one transfer in each; and
    # three of both modes' transfer at the ends. A backbone has two transfers.
    search = took.hours(found, found.sizes, 0) * 3600
    ends = sum(10 + 0.1 * epochs * (n // batch) for n in (found.sizes[1], 100))
    np.testing.assert_allclose(search, 3 * ends + (6 + 12) * 30)
    np.testing.assert_allclose(
        took.hours(found, found.sizes, 2), (2 * once + search) / 3600
    )
    # The search takes a quarter, and the rest is good for four seeds.
    assert 4 * once < 3 * search < 5 * once
    fitted = budget.fit_hours(found, 4.0001 * search / 3600)
    assert fitted.sizes == found.sizes and fitted.seeds == (0, 1, 2, 3)
    assert fitted.searches
    # There is no time for a search.
    fitted = budget.fit_hours(found, 2.5 * once / 3600)
    assert search_rates(fitted) is fitted
    assert fitted.sizes == found.sizes and fitted.seeds == (0, 1)
    # Its runs are those of the pilot: the best epoch is kept in both.
    assert {*map(repr, fitted.runs())} <= {*map(repr, found.runs())}
    assert fitted.notes[-1].endswith("too few to search learning rates in")
    with pytest.raises(ValueError, match="`hours` must be .* or more: so long"):
        budget.fit_hours(found, 0.1 * once / 3600)
    # Fewer sizes cannot be: there are 100 images.


def test_hours_change_nothing_that_the_user_has_chosen(plan, monkeypatch):
    found = plan(f"sizes = [0, 64, 100]\nseeds = [7, 8]\n{SHORT}")
    took = budget.Pilot(start=0, step=0, transfers=60)
    monkeypatch.setattr(budget, "pilot", lambda *_: took)
    fitted = budget.fit_hours(found, 2)
    assert (fitted.sizes, fitted.seeds) == ((0, 64, 100), (7, 8))
    with pytest.raises(ValueError, match="Take fewer tasks"):
        budget.fit_hours(found, 0.05)


def test_the_rate_that_loses_least_at_both_ends_is_taken(plan, monkeypatch):
    class Runs:
        """Scores by rate and size, in place of training."""

        def __init__(self, directory):
            pass

        def __call__(self, run):
            if run.pretrain.learning_rate != 0.03:
                small, large = 0.3, 0.6  # 0.09 or 0.01: best when small.
            else:
                small, large = 0.28, 0.8
            best = 0.06  # Of the transfer.
            lost = abs(run.transfer.learning_rate - best)
            top1 = (large if run.num_examples == 100 else small) - lost
            return {"top1": top1}

    monkeypatch.setattr(search_module, "Runner", Runs)
    found = search_rates(plan(SHORT))
    assert found.pretrain.learning_rate == 0.03
    task = found.tasks["trees"]
    assert task.rates == {"frozen": 0.06, "fine_tuned": 0.06}
    rates = {run.transfer.learning_rate for run in found.runs()}
    assert rates == {0.06}
    said = found.notes[-1]
    assert said.startswith("learning rate of trees, fine_tuned: 0.06 (top1 on")
    assert "0.0067: " in said and said.endswith("a rate beyond may be better")
    rows = (found.output / "search.jsonl").read_text().splitlines()
    # Of the pre-training, and of the transfer in two modes.
    assert len(rows) == 3 * 2 + 2 * 3 * 2 - 1
    splits = {json.loads(row)["config"]["evaluation"]["split"] for row in rows}
    assert splits == {"val"}


def test_several_callers_share_a_search_and_find_the_same_rates(
    plan, monkeypatch
):
    seen = []

    class Runs:
        def __init__(self, directory):
            pass

        def __call__(self, run):
            seen.append(run)
            time.sleep(0.01)  # In which the others begin as well.
            return {"top1": run.transfer.learning_rate}

    monkeypatch.setattr(search_module, "Runner", Runs)
    one = plan(SHORT)
    with concurrent.futures.ThreadPoolExecutor(3) as callers:
        found = list(callers.map(search_rates, [one] * 3))
    assert found[0] == found[1] == found[2] != one
    assert len(seen) == len({*map(repr, seen)}) == 3 * 2 + 2 * 3 * 2 - 1


def test_several_callers_plan_by_the_same_pilot(plan, monkeypatch):
    timed = []

    def time_it(config, runner):
        time.sleep(0.05)
        timed.append(config)
        return {"start": len(timed), "step": 1}

    rows = [{"device_seconds": 2.0}]
    monkeypatch.setattr(budget.Study, "run", lambda *_, **__: rows)
    monkeypatch.setattr(budget, "_timed", time_it)
    one = plan(SHORT)
    with concurrent.futures.ThreadPoolExecutor(3) as callers:
        found = {*callers.map(budget.pilot, [one] * 3)}
    assert len(timed) == len(found) == 1


def test_a_pilot_that_is_lost_with_its_worker_is_done_by_another(monkeypatch):
    class LosesTheFirst(executors.InThisProcess):
        times = 0

        def submit(self, function, /, *arguments):
            self.times += 1
            if self.times > 1:
                return super().submit(function, *arguments)
            lost = concurrent.futures.Future()
            lost.set_exception(concurrent.futures.CancelledError())
            return lost

    monkeypatch.setattr(budget, "_timed", lambda *_: {"start": 3, "step": 1})
    executor = LosesTheFirst()
    found = budget._measured("config", None, executor)
    assert (found["start"], executor.times) == (3, 2)


def test_rates_that_the_user_has_chosen_are_not_searched(plan):
    found = plan(
        SHORT.replace('"photos"', '"photos"\nlearning_rate = 0.1').replace(
            '"task"', '"task"\nlearning_rate = 0.2'
        )
    )
    assert search_rates(found) == found


def test_an_error_rate_among_the_scores_is_no_failure_of_a_pilot(
    plan, monkeypatch
):
    rows = [{"error": 0.25, "device_seconds": 2.0}]
    monkeypatch.setattr(budget.Study, "run", lambda *_, **__: rows)
    monkeypatch.setattr(budget, "_timed", lambda *_: {"start": 1, "step": 1})
    assert budget.pilot(plan(SHORT)).transfers == 2
    rows.append({"error": "MemoryError: no room", "device_seconds": 1.0})
    with pytest.raises(RuntimeError, match="MemoryError: no room"):
        budget.pilot(plan(SHORT))


@pytest.mark.slow
def test_a_pilot_is_part_of_the_study_and_measures_once(plan, monkeypatch):
    found = plan(
        SHORT.replace('"task"', '"task"\nepochs = 1\nmodes = ["frozen"]')
    )
    monkeypatch.setattr(budget, "_STEPS", 4)
    took = budget.pilot(found)
    assert took.start > 0 and took.step > 0 and took.transfers > 0
    monkeypatch.setattr(budget, "_timed", None)  # Would fail.
    assert budget.pilot(found) == took
    left = found.study().dry_run()
    assert len(left) == len(found.runs()) - 1
