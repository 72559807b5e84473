import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_jft.scaling import plot_data_size, plot_data_sizes

SIZES = (0, 300, 1_000, 3_000, 10_000)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def rows_of(task="classification", score="top1", sizes=SIZES):
    """12 points a decade frozen, 6 fine-tuned; two seeds a size."""
    return [
        {
            "task": task,
            "mode": mode,
            "num_examples": size,
            "seed": seed,
            score: 0.2 + slope * np.log10(max(size, 1)) + 0.01 * seed,
        }
        for mode, slope in (("frozen", 0.12), ("fine_tuned", 0.06))
        for size in sizes
        for seed in (0, 1)
    ]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_legend_names_modes_slopes_and_forms():
    ax = plot_data_size(rows_of())
    assert labels(ax) == [
        "fine tuned: +6.0 points per decade",
        "frozen: +12.0 points per decade",
        "95% prediction interval of a run",
        "random initialization",
    ]


def test_the_axes_are_labeled_in_images_and_percent():
    ax = plot_data_size(rows_of())
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "Pre-training images (log scale)"
    assert ax.get_ylabel() == "Top-1 accuracy (%)"
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["300", "1k", "3k", "10k"]


def test_every_run_is_a_point_and_every_size_a_mean():
    ax = plot_data_size(rows_of())
    runs = np.concatenate([dots.get_offsets() for dots in ax.collections[::2]])
    runs = runs[runs[:, 0] > 0]
    assert len(runs) == 2 * 4 * 2
    means = [
        line for line in ax.lines if line.get_label().startswith("frozen")
    ][0]
    np.testing.assert_array_equal(means.get_xdata(), SIZES[1:])
    expected = 20.5 + 12 * np.log10(SIZES[1:])
    np.testing.assert_allclose(means.get_ydata(), expected)


def test_random_initialization_is_a_dashed_line_a_mode():
    ax = plot_data_size(rows_of())
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    heights = [
        set(line.get_ydata()) for line in dashed if len(line.get_ydata())
    ]
    np.testing.assert_allclose([*map(max, heights)], [20.5, 20.5])
    ax = plot_data_size(rows_of(sizes=SIZES[1:]))
    assert "random initialization" not in labels(ax)


def test_two_sizes_give_a_line_without_a_law():
    ax = plot_data_size(rows_of(sizes=(300, 1_000)))
    assert labels(ax) == ["fine tuned", "frozen"]


def test_modes_are_told_apart_without_color():
    ax = plot_data_size(rows_of())
    markers = {line.get_marker() for line in ax.lines} - {"None", None}
    assert len(markers) == 2


def test_a_study_without_modes_or_tasks_is_one_curve():
    rows = [
        {"num_examples": n, "accuracy": 50 + 5 * np.log10(n)}
        for n in (10, 100, 1_000, 30_000_000)
    ]
    ax = plot_data_size(rows, y="accuracy")
    assert labels(ax)[0] == "runs: +5.0 points per decade"
    assert ax.get_ylabel() == "accuracy"
    assert ax.get_xticklabels()[-1].get_text() == "30M"
    with pytest.raises(ValueError, match="`y` must name"):
        plot_data_size(rows)


def test_it_draws_on_the_axes_it_is_given():
    _, ax = plt.subplots()
    assert plot_data_size(rows_of(), ax=ax) is ax


def test_several_tasks_have_a_panel_each():
    rows = rows_of() + rows_of("segmentation", "miou")
    figure = plot_data_sizes(rows)
    left, right = figure.axes
    assert left.get_ylabel() == "Top-1 accuracy (%)"
    assert right.get_ylabel() == "Mean IoU (%)"
    assert right.get_title() == "Segmentation"
    with pytest.raises(ValueError, match="plot_data_sizes"):
        plot_data_size(rows)


def test_a_mode_looks_alike_in_all_panels():
    # Segmentation has no fine-tuned rows, so frozen comes first there.
    rows = rows_of() + rows_of("segmentation", "miou")[:10]
    looks = [
        (line.get_color(), line.get_marker())
        for ax in plot_data_sizes(rows).axes
        for line in ax.lines
        if line.get_label().startswith("frozen")
    ]
    assert len(looks) == 2
    assert looks[0] == looks[1]


def test_failed_runs_are_not_drawn_and_rows_without_a_task_refused():
    failed = {"task": "classification", "error": "ValueError: no"}
    assert labels(plot_data_size([*rows_of(), failed])) == labels(
        plot_data_size(rows_of())
    )
    with pytest.raises(ValueError, match="need a column `task`"):
        plot_data_sizes([{"num_examples": 1}])
