"""Tables and figures of single classes, on rows worked by hand."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest

from keras_jft.scaling import class_table, plot_classes

NAMES = ("sky", "road", "car")


@pytest.fixture
def rows():
    """Two seeds a size; car is absent at first, sky loses, road gains."""
    return [
        {
            "task": "segmentation",
            "mode": mode,
            "num_examples": size,
            "seed": seed,
            "miou": 0.3 + 0.1 * step,
            "per_class": [
                0.8 - 0.1 * step + 0.02 * seed,
                0.2 + 0.15 * step,
                None if step == 0 else 0.1,
            ],
        }
        for mode in ("frozen", "fine_tuned")
        for step, size in enumerate((0, 300, 1_000, 3_000))
        for seed in (0, 1)
    ]


def test_a_line_a_class_says_mean_spread_and_gain(rows):
    lines = class_table(rows, NAMES).splitlines()
    assert lines[0].split() == [
        "fine",
        "tuned",
        "0",
        "300",
        "1,000",
        "3,000",
        "gain",
    ]
    # The standard deviation of 80 and 82 is the root of 2.
    assert lines[1].split()[:3] == ["sky", "81.0", "±1.4"]
    assert lines[1].split()[-1] == "-30.0"
    assert lines[2].split()[-1] == "+45.0"
    assert lines[3].split()[0] == "car"
    assert "frozen" in lines[5]


def test_the_figure_orders_classes_by_gain(rows):
    figure = plot_classes(rows, NAMES)
    left, right = figure.axes
    assert left.get_xlabel().startswith("Pre-training images")
    names = [tick.get_text() for tick in right.get_yticklabels()]
    assert names[:2] == ["sky", "road"]
    widths = [bar.get_width() for bar in right.patches]
    assert widths[:2] == pytest.approx([-30, 45])
    assert "random initialization to 3k" in right.get_xlabel()
    plt.close("all")


def test_rows_of_other_classes_are_refused(rows):
    with pytest.raises(ValueError, match=r"2 classes .* rows of \[3\]"):
        class_table(rows, NAMES[:2])
    for row in rows:
        del row["per_class"]
    with pytest.raises(ValueError, match="no column .*per_class"):
        class_table(rows, NAMES)
