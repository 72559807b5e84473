import dataclasses

import numpy as np
import pytest

from keras_jft.scaling import Decided, Study
from keras_jft.scaling.decision import settling
from keras_jft.scaling.rows import rows as rows_lib

SIZES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_examples: int
    seed: int
    mode: str | None = None


class Replay:
    """Looks scores up that lie about a curve; counts device-hours."""

    def __init__(self, curve, noise, seed=0):
        rng = np.random.default_rng(seed)
        self.scores = {
            (size, s): curve(size) + noise * rng.standard_normal()
            for size in SIZES
            for s in range(3)
        }
        self.seen = []

    def __call__(self, config):
        self.seen.append((config.num_examples, config.seed))
        return {
            "accuracy": self.scores[config.num_examples, config.seed],
            "device_seconds": 60 + config.num_examples,
        }

    def hours(self):
        return sum(60 + size for size, _ in self.seen)


def configs(**columns):
    return [
        Config(num_examples=size, seed=seed, **columns)
        for seed in range(3)
        for size in SIZES
    ]


def still_rising(size):
    return 0.95 - 2.0 * size**-0.25


def flat(size):
    return 0.8 - 0.5 * (size / 100) ** -1.5


@pytest.mark.parametrize(
    ("curve", "worth", "verdict"),
    [(still_rising, 0.0, "collect"), (flat, 0.05, "do not collect")],
)
def test_a_study_stops_at_the_verdict_of_the_whole_grid(
    curve, worth, verdict, tmp_path
):
    question = Decided(y="accuracy", worth=worth, level=0.95)
    part, whole = Replay(curve, 0.003, 1), Replay(curve, 0.003, 1)
    rows = Study(configs(), tmp_path / "a", part, until=question).run()
    every = Study(configs(), tmp_path / "b", whole).run()
    assert question.sheet(every).verdict == verdict
    assert question.sheet(rows).verdict == verdict
    assert part.hours() < 0.6 * whole.hours()


def test_it_starts_with_one_run_at_each_of_four_sizes_from_end_to_end(tmp_path):
    replay = Replay(still_rising, 0.003)
    Study(configs(), tmp_path / "a", replay, until="decided")  # May be text.
    question = Decided(y="accuracy", worth=0.02)
    Study(configs(), tmp_path / "a", replay, until=question).run()
    first = replay.seen[:4]
    assert first == [(100, 0), (500, 0), (2_000, 0), (10_000, 0)]
    # New sizes come before more seeds.
    sizes = [size for size, _ in replay.seen]
    again = [i for i, size in enumerate(sizes) if size in sizes[:i]]
    assert not again or again[0] >= len(set(sizes))


def test_a_question_that_no_run_settles_ends_early(tmp_path):
    # From 10,000 to 100,000 the curve gains 8.7 points.
    replay = Replay(still_rising, 0.01)
    question = Decided(y="accuracy", worth=0.087)
    rows = Study(configs(), tmp_path / "a", replay, until=question).run()
    assert question.sheet(rows).verdict == "not enough evidence"
    assert len(SIZES) <= len(rows) < 2 * len(SIZES)


def test_every_curve_gets_its_verdict_and_a_study_can_be_taken_up(
    tmp_path, capsys
):
    grid = [*configs(mode="frozen"), *configs(mode="tuned")]
    replay = Replay(still_rising, 0.003)
    question = Decided(y="accuracy", worth=0.02)
    rows = Study(grid, tmp_path / "a", replay, until=question).run()
    modes = [row["mode"] for row in rows]
    assert modes.count("frozen") == modes.count("tuned") < len(SIZES) * 3
    said = capsys.readouterr().err
    assert f"After {len(rows)} of {len(grid)} runs: frozen: collect" in said
    assert "tuned: collect" in said
    # Nothing is left to do for the same question, the rest without it.
    done = len(replay.seen)
    Study(grid, tmp_path / "a", replay, until=question).run()
    assert len(replay.seen) == done
    assert len(Study(grid, tmp_path / "a", replay).dry_run()) == 42 - done


def test_a_size_that_fails_is_replaced_by_another(tmp_path):
    replay = Replay(still_rising, 0.003)

    def run(config):
        if config.num_examples == 500:
            raise MemoryError
        return replay(config)

    question = Decided(y="accuracy", worth=0.02)
    rows = Study(configs(), tmp_path / "a", run, until=question).run()
    done = {row["num_examples"] for row in rows if "error" not in row}
    assert 500 not in done
    assert len(done) >= 4
    assert question.sheet(rows).verdict == "collect"


def test_random_initialization_is_run_once(tmp_path):
    grid = [Config(num_examples=0, seed=s) for s in range(3)] + configs()
    replay = Replay(still_rising, 0.003)
    replay.scores |= {(0, s): 0.1 for s in range(3)}
    question = Decided(y="accuracy", worth=0.02)
    Study(grid, tmp_path / "a", replay, until=question).run()
    assert [size for size, _ in replay.seen].count(0) == 1


def test_the_probability_of_a_verdict_is_that_of_a_simulation():
    # The runs that are left, drawn by the same law, many times.
    question = Decided(y="accuracy", worth=0.087)
    rng = np.random.default_rng(0)
    rows = [
        {
            "num_examples": size,
            "seed": 0,
            "accuracy": still_rising(size) + 0.005 * rng.standard_normal(),
        }
        for size in SIZES
    ]
    sheet = question.sheet(rows)
    left = dict.fromkeys(SIZES, 2)
    found = settling.probabilities(sheet, left)
    assert sum(found.values()) == pytest.approx(1)
    assert found["not enough evidence"] > 0.6
    sure = question.sheet(rows)
    for worth, verdict in ((0.0, "collect"), (0.3, "do not collect")):
        asked = dataclasses.replace(sure, worth=worth, verdict=verdict)
        assert settling.probabilities(asked, left)[verdict] > 0.95
    assert settling.probabilities(sheet, {}) == {sheet.verdict: 1.0}


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("done", "`until` must be"),
        (True, "`until` must be"),
        ("decided", "four or more|4 or more"),
    ],
)
def test_a_study_that_cannot_be_decided_is_refused(until, message, tmp_path):
    few = [c for c in configs() if c.num_examples < 1_000]
    with pytest.raises(ValueError, match=message):
        Study(few, tmp_path / "a", run=len, until=until)


def test_rows_that_others_add_count(tmp_path):
    replay = Replay(still_rising, 0.003)
    question = Decided(y="accuracy", worth=0.02)
    study = Study(configs(), tmp_path / "a", replay, until=question)
    other = Study(configs(), tmp_path / "b", Replay(still_rising, 0.003))
    for row in other.run()[:7]:  # One run at every size.
        rows_lib.append(tmp_path / "a", row)
    study.run()
    assert not {(size, 0) for size in SIZES} & set(replay.seen)
