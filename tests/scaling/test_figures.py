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
    """12 points per decade frozen, 6 fine-tuned; two seeds per size."""
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


@pytest.fixture(scope="module")
def drawn():
    """The axes of `rows_of()`, which no test changes."""
    return plot_data_size(rows_of())


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_legend_names_modes_and_forms(drawn):
    assert labels(drawn) == [
        "fine tuned",
        "frozen",
        "95% prediction interval of a run",
        "random initialization",
    ]


def test_runs_from_given_weights_are_not_called_random():
    for pretrain in (
        {"initial": "net.keras"},
        {"backbone_options": {"weights": "imagenet"}},
    ):
        config = {"pretrain": pretrain}
        rows = [{**row, "config": config} for row in rows_of()]
        assert labels(plot_data_size(rows))[-1] == "initial weights alone"
    config = {"pretrain": {"initial": None, "backbone_options": {}}}
    rows = [{**row, "config": config} for row in rows_of()]
    assert labels(plot_data_size(rows))[-1] == "random initialization"


def test_the_axes_are_labeled_in_images_and_percent(drawn):
    assert drawn.get_xscale() == "log"
    assert drawn.get_xlabel() == "Pre-training images (log scale)"
    assert drawn.get_ylabel() == "Top-1 accuracy (%)"
    ticks = [tick.get_text() for tick in drawn.get_xticklabels()]
    assert ticks == ["300", "1k", "3k", "10k"]


def test_scores_of_other_tools_need_no_pre_training():
    rows = [{"num_examples": n, "score": n / 1_000} for n in (100, 300)]
    ax = plot_data_size(rows)
    assert ax.get_xlabel() == "Images (log scale)"


def test_every_run_is_a_point_and_every_size_a_mean(drawn):
    runs = np.concatenate(
        [dots.get_offsets() for dots in drawn.collections[::2]]
    )
    runs = runs[runs[:, 0] > 0]
    assert len(runs) == 2 * 4 * 2
    means = [
        line for line in drawn.lines if line.get_label().startswith("frozen")
    ][0]
    np.testing.assert_array_equal(means.get_xdata(), SIZES[1:])
    expected = 20.5 + 12 * np.log10(SIZES[1:])
    np.testing.assert_allclose(means.get_ydata(), expected)


def test_random_initialization_is_a_dashed_line_a_mode(drawn):
    dashed = [line for line in drawn.lines if line.get_linestyle() == "--"]
    heights = [
        set(line.get_ydata()) for line in dashed if len(line.get_ydata())
    ]
    np.testing.assert_allclose([*map(max, heights)], [20.5, 20.5])
    ax = plot_data_size(rows_of(sizes=SIZES[1:]))
    assert "random initialization" not in labels(ax)


def test_two_sizes_give_a_line_without_a_law():
    ax = plot_data_size(rows_of(sizes=(300, 1_000)))
    assert labels(ax) == ["fine tuned", "frozen"]


def test_modes_are_told_apart_without_color(drawn):
    markers = {line.get_marker() for line in drawn.lines} - {"None", None}
    assert len(markers) == 2


def test_a_study_without_modes_or_tasks_is_one_curve():
    rows = [
        {"num_examples": n, "accuracy": 50 + 5 * np.log10(n)}
        for n in (10, 100, 1_000, 30_000_000)
    ]
    ax = plot_data_size(rows, y="accuracy")
    assert labels(ax)[0] == "runs"
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


def test_a_mode_that_a_task_lacks_is_not_in_its_legend():
    rows = rows_of() + rows_of("segmentation", "miou")[:10]
    _, right = plot_data_sizes(rows).axes
    assert [label.partition(":")[0] for label in labels(right)] == [
        "frozen",
        "95% prediction interval of a run",
        "random initialization",
    ]
    alone = [r for r in rows_of() if r["mode"] == "frozen"]
    ax = plot_data_size(alone, modes=["fine_tuned", "frozen"])
    assert labels(ax) == labels(right)[:1] + labels(right)[1:]
    assert ax.lines[0].get_color() == "#D55E00"


def test_laws_go_on_to_the_factor_that_is_asked_for():
    ax = plot_data_size(rows_of(), factor=10)
    lines = {
        style: [line for line in ax.lines if line.get_linestyle() == style]
        for style in "-:"
    }
    for line in lines["-"]:
        assert line.get_xdata()[0] == 300 and line.get_xdata()[-1] <= 10_000
    assert len(lines[":"]) == 2
    for line in lines[":"]:
        assert line.get_xdata()[0] > 10_000
        assert line.get_xdata()[-1] == pytest.approx(100_000)
    assert ax.get_xticklabels()[-1].get_text() == "100k"


def test_laws_are_drawn_within_the_bounds_of_the_metric():
    scores = {10: -3, 100: -2, 1_000: -1, 10_000: -0.2}
    rows = [{"num_examples": n, "score": scores[n]} for n in scores]
    ax = plot_data_size(rows, factor=100, bounds=(-5, 0))
    ends = [line.get_ydata()[-1] for line in ax.lines[:2]]
    assert max(ends) <= 0
    with pytest.raises(ValueError, match="within the bounds"):
        plot_data_size(rows)


@pytest.mark.parametrize(("tasks", "grid"), [(3, (1, 3)), (4, (2, 2))])
def test_four_tasks_are_two_by_two(tasks, grid):
    names = ["classification", "detection", "pose", "segmentation"][:tasks]
    scores = {"classification": "top1", "segmentation": "miou"}
    rows = [r for n in names for r in rows_of(n, scores.get(n, "ap"))]
    figure = plot_data_sizes(rows)
    assert len(figure.axes) == tasks
    shape = figure.axes[0].get_gridspec().get_geometry()
    assert shape == grid


def test_failed_runs_are_not_drawn_and_rows_without_a_task_refused(drawn):
    failed = {"task": "classification", "error": "ValueError: no"}
    assert labels(plot_data_size([*rows_of(), failed])) == labels(drawn)
    with pytest.raises(ValueError, match="need a column `task`"):
        plot_data_sizes([{"num_examples": 1}])


def test_the_papers_points_are_drawn_where_it_prints_them():
    rows = rows_of("detection", "ap", sizes=(1_000, 3_000, 10_000, 30_000))
    ax = plot_data_size(rows, paper=True)
    (stars,) = [line for line in ax.lines if line.get_marker() == "*"]
    # Tables 6 and 4: "18K JFT" (30M images) and 36M steps (300M images).
    np.testing.assert_array_equal(stars.get_xdata(), [30e6, 300e6])
    np.testing.assert_allclose(stars.get_ydata(), [31.9, 36.8])
    assert labels(ax)[-1] == "Sun et al. 2017 (COCO minival*, fine-tuned)"
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks[-2:] == ["30M", "300M"]
    assert labels(plot_data_size(rows)) == labels(ax)[:-1]


def test_what_the_paper_does_not_print_is_not_drawn():
    rows = rows_of("detection", "ap75") + rows_of()
    detection = [row for row in rows if row["task"] == "detection"]
    ax = plot_data_size(detection, y="ap75", paper=True)
    assert not any(line.get_marker() == "*" for line in ax.lines)
    figure = plot_data_sizes(rows_of() + rows_of("pose", "ap"), paper=True)
    heights = [
        line.get_ydata()[0]
        for ax in figure.axes
        for line in ax.lines
        if line.get_marker() == "*"
    ]
    np.testing.assert_allclose(heights, [79.2, 64.8])


def test_dollars_in_names_start_no_formula():
    rows = [{**row, "mode": "$a_{$", "task": "5$"} for row in rows_of()[:10]]
    ax = plot_data_size(rows, y="top1")
    ax.figure.canvas.draw()
    assert labels(ax)[0].startswith(r"\$a {\$")
    assert ax.get_title() == r"5\$"


def test_a_row_without_its_mode_is_refused():
    rows = rows_of()
    rows[0]["mode"] = None
    with pytest.raises(ValueError, match="all rows must have a `mode`"):
        plot_data_size(rows)
