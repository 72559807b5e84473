import itertools

import numpy as np
import pytest

from keras_jft.scaling import fit_joint
from keras_jft.scaling.law.joint_posterior import seen

SIZES, WIDTHS, EPOCHS = (300, 1_000, 3_000, 10_000), (8, 16, 32), (1, 3, 9)


def score(images, width, epochs):
    worth = images * (1 + 6 * (1 - np.exp(-(epochs - 1) / 6)))
    return 0.9 - 2.5 * worth**-0.35 - 1.0 * width**-0.8


def grid(rng, noise=0.004, seeds=2, scores=score):
    return [
        {
            "num_examples": n,
            "width": w,
            "epochs": e,
            "seed": s,
            "top1": scores(n, w, e) + noise * rng.standard_normal(),
            "device_seconds": 5 + 1e-4 * n * e * w**2,
        }
        for n, w, e, s in itertools.product(SIZES, WIDTHS, EPOCHS, range(seeds))
    ]


@pytest.fixture(scope="module")
def law():
    return fit_joint(grid(np.random.default_rng(0)), "top1")


def test_a_first_epoch_counts_whole_and_many_count_for_few():
    # Muennighoff et al. 2023, equation 5, with R* = 15.
    assert seen(100.0, 1, 15) == 100
    assert seen(100.0, 2, 15) == pytest.approx(196.7, abs=0.1)
    assert seen(100.0, 1e9, 15) == pytest.approx(1_600)


def test_forecasts_beyond_all_axes_are_right_and_their_intervals_hold(law):
    places = np.array([(30_000, 16, 3), (30_000, 64, 9), (10_000, 64, 3)])
    found = law.predict(*places.T)
    low, high = law.prediction_interval(*places.T)
    truth = score(*places.T)
    assert found == pytest.approx(truth, abs=0.03)
    assert ((low < truth) & (truth < high)).all()
    assert (high - low).max() < 0.2


def test_repeated_images_are_found_to_count_less(law):
    assert law.repeats.low < 6 < law.repeats.high
    assert law.repeats.high < 60


def test_what_the_law_misses_widens_its_intervals():
    rng = np.random.default_rng(1)

    def wavy(n, w, e):
        return score(n, w, e) + 0.04 * np.sin(3 * np.log10(n) + w / 8)

    right, wrong = (
        fit_joint(grid(rng, scores=s), "top1") for s in (score, wavy)
    )
    width = [
        np.ptp(law.prediction_interval(30_000, 16, 3)) for law in (right, wrong)
    ]
    assert width[1] > 1.5 * width[0]


def test_parts_that_add_up_on_a_scale_between_the_bounds_are_found():
    """A law of the logit: wider nets gain more where there is more data."""
    rng = np.random.default_rng(2)

    def odds(n, w, e):
        worth = 4.0 - 30 * (n * e) ** -0.3 - 8.0 * w**-0.8
        return 1 / (1 + np.exp(-worth))

    linked, free = (
        fit_joint(grid(rng, 0.002, scores=odds), "top1", bounds=bounds)
        for bounds in ((0, 1), (-np.inf, np.inf))
    )
    places = np.array([(30_000, 16, 3), (10_000, 64, 9), (30_000, 64, 9)])
    truth = odds(*places.T)
    off, worse = (
        np.abs(law.predict(*places.T) - truth).mean() for law in (linked, free)
    )
    low, high = linked.prediction_interval(*places.T)
    assert ((low < truth) & (truth < high)).all()
    assert off < 0.02 and off < 0.5 * worse


def test_scores_at_a_bound_have_a_law_all_the_same():
    rows = grid(np.random.default_rng(0), seeds=1)
    rows[0]["top1"] = 0.0
    assert 0 < fit_joint(rows, "top1", bounds=(0, 1)).predict(1e4, 32, 9) < 1


def test_hours_are_those_of_the_rows(law):
    assert law.hours(20_000, 24, 5) == pytest.approx(
        (5 + 1e-4 * 20_000 * 5 * 24**2) / 3600, rel=1e-6
    )


def test_the_best_choice_is_the_best_of_the_true_law_for_its_hours(law):
    hours = 300 / 3600
    choice = law.best(hours)
    assert choice.hours <= hours
    best = max(
        score((300 - 5) / (1e-4 * e * w**2), w, e)
        for w, e in itertools.product(WIDTHS, EPOCHS)
    )
    true = score(choice.images, choice.width, choice.epochs)
    assert true > best - 0.01
    assert choice.score.low < true < choice.score.high


def test_with_few_images_more_epochs_are_best(law):
    few = law.best(300 / 3600, most=300)
    assert few.images <= 300
    assert few.epochs == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": None}, "`epochs` must be a number, 0 or more"),
        ({"width": "8"}, "`width` must be a number, 0 or more"),
    ],
)
def test_every_row_must_say_where_it_is(change, message):
    rows = grid(np.random.default_rng(0), seeds=1)
    rows[3] |= change
    with pytest.raises(ValueError, match=message):
        fit_joint(rows, "top1")


def with_config(rows, **columns):
    """Rows as studies write them: width and epochs are settings."""
    return [
        {
            "num_examples": row["num_examples"],
            "seed": row["seed"],
            "top1": row["top1"],
            "arm": "a",
            "config": {
                "pretrain": {"width": row["width"], "epochs": row["epochs"]}
            },
        }
        | columns
        for row in rows
    ]


PATHS = {"width": "pretrain.width", "epochs": "pretrain.epochs"}


def test_settings_are_found_by_a_path_that_the_error_names():
    rows = with_config(grid(np.random.default_rng(0), seeds=1))
    with pytest.raises(ValueError, match='Perhaps it is "pretrain.width"'):
        fit_joint(rows, "top1")
    assert fit_joint(rows, "top1", **PATHS).cells.shape == (36, 3)


def test_epochs_of_runs_that_were_given_steps_follow_from_these():
    rows = with_config(grid(np.random.default_rng(0), seeds=1))
    (first,) = (
        row
        for row in rows
        if (row["num_examples"], *row["config"]["pretrain"].values())
        == (300, 8, 9)
    )
    # 135 steps of 20 images see 300 of them nine times.
    first["config"]["pretrain"] |= {
        "epochs": None,
        "steps": 135,
        "batch_size": 20,
    }
    cells = fit_joint(rows, "top1", **PATHS).cells
    assert [300, 8, 9] in cells.tolist() and len(cells) == 36


def test_a_run_that_two_arms_share_counts_once_and_other_repeats_are_refused():
    rows = with_config(grid(np.random.default_rng(0), seeds=1))
    shared = [*rows, {**rows[0], "arm": "b"}]
    one, two = (fit_joint(r, "top1", **PATHS) for r in (rows, shared))
    assert one.predict(3_000, 16, 3) == two.predict(3_000, 16, 3)
    config = {"pretrain": rows[0]["config"]["pretrain"] | {"depth": 2}}
    rows[0]["config"]["pretrain"]["depth"] = 1
    other = {**rows[0], "arm": "b", "top1": 0.123, "config": config}
    with pytest.raises(
        ValueError,
        match="num_examples=300, pretrain.width=8, pretrain.epochs=1, seed=0, "
        "which differ in `pretrain.depth`. Keep one",
    ):
        fit_joint([*rows, other], "top1", **PATHS)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([(n, 8, 1) for n in range(300, 900, 100)], "`num_examples` varies"),
        (
            [(n, 8, 3_000 // n) for n in (100, 200, 300, 500, 600, 1_000)],
            "only together",
        ),
    ],
)
def test_cells_that_are_no_grid_are_refused(cells, message):
    rows = [
        {"num_examples": n, "width": w, "epochs": e, "top1": score(n, w, e)}
        for n, w, e in cells
    ]
    with pytest.raises(ValueError, match=message):
        fit_joint(rows, "top1")


def test_five_cells_are_too_few():
    rows = grid(np.random.default_rng(0), seeds=1)[:5]
    with pytest.raises(ValueError, match="six or more different cells"):
        fit_joint(rows, "top1")


def test_without_hours_there_is_no_budget():
    rows = grid(np.random.default_rng(0), seeds=1)
    for row in rows:
        del row["device_seconds"]
    with pytest.raises(ValueError, match="Device-hours are unknown"):
        fit_joint(rows, "top1").best(1)
