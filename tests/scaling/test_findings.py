"""The paper's findings, tables and figures from rows of its own arms."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from keras_jft.scaling import (
    findings,
    paper_figures,
    paper_page,
    paper_tables,
    plot_progress,
    plot_timeline,
)

JFT = {"JFT 10M": 100, "JFT 30M": 300, "JFT 100M": 1_000, "JFT": 3_000}
NAMES = ["background", "boat", "kite"]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def row(benchmark, pretraining, score, value, seed=0, **columns):
    task = {"COCO": "detection", "VOC 2012": "segmentation"}[benchmark]
    return {
        "task": task,
        "mode": "fine_tuned",
        # Sizes are points of one curve.
        "arm": f"{benchmark}, {'JFT' if pretraining in JFT else pretraining}",
        "benchmark": benchmark,
        "pretraining": pretraining,
        "num_examples": JFT.get(pretraining, 128),
        "layers": 101,
        "seed": seed,
        score: value,
        **columns,
    }


def coco(seeds=(0, 1, 2)):
    """Rows in which JFT gains 2 points, and 4 points per tenfold."""
    rows = []
    for seed in seeds:
        shift = 0.01 * seed
        rows.append(
            row(
                "COCO",
                "ImageNet",
                "ap",
                0.30 + shift,
                seed,
                shown_in=["table 2", "figure 5"],
            )
        )
        for name, size in JFT.items():
            gain = 0.02 + 0.04 * np.log10(size / 3_000)
            places = ["table 2", "figure 5"] if name == "JFT" else []
            rows.append(
                row(
                    "COCO",
                    name,
                    "ap",
                    0.30 + gain + shift + 0.001 * seed,
                    seed,
                    shown_in=[*places, "figure 4"],
                )
            )
    return rows


def of(found, says):
    (one,) = [finding for finding in found if finding.says.startswith(says)]
    return one


def test_a_finding_is_the_difference_of_two_arms_over_seeds():
    found = of(findings(coco()), "JFT-300M is better than ImageNet on COCO")
    assert (found.where, found.paper, found.seeds) == ("Table 2", 2.4, 3)
    gains = np.array([2.0, 2.1, 2.2])
    half = stats.t.ppf(0.975, 2) * stats.sem(gains)
    assert found.ours == pytest.approx(gains.mean())
    assert found.low == pytest.approx(gains.mean() - half)
    assert found.high == pytest.approx(gains.mean() + half)
    assert found.verdict == "agrees"
    rows = [{**r, "ap": 0.6 - r["ap"]} for r in coco()]
    found = of(findings(rows), "JFT-300M is better than ImageNet on COCO")
    assert found.ours == pytest.approx(-2.1)
    assert found.verdict == "does not"


def test_one_seed_decides_nothing():
    found = of(findings(coco([0])), "JFT-300M is better than ImageNet on COCO")
    assert found.ours == pytest.approx(2.0)
    assert np.isnan(found.low) and found.verdict == "cannot tell"
    absent = of(
        findings(coco([0])), "JFT-300M is better than ImageNet for poses"
    )
    assert np.isnan(absent.ours) and absent.seeds == 0


def test_a_slope_is_that_of_each_seed():
    found = of(findings(coco()), "COCO AP rises with log data size, fine")
    assert found.ours == pytest.approx(4.0, rel=1e-2)
    assert found.verdict == "agrees"
    # Without one of the sizes there is no slope to compare.
    rows = [r for r in coco() if r["pretraining"] != "JFT 30M"]
    found = of(findings(rows), "COCO AP rises with log data size, fine")
    assert found.seeds == 0


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.001, "agrees"), (0.03, "does not"), (0.01, "cannot tell")],
)
def test_on_par_is_within_a_point(shift, verdict):
    rows = [
        row(
            "COCO",
            "JFT",
            "ap",
            0.3,
            seed,
            ap_without_duplicates=0.3 + shift + 0.0005 * seed,
        )
        for seed in range(3)
    ]
    found = of(findings(rows), "duplicates change little on COCO")
    assert found.verdict == verdict
    assert found.ours == pytest.approx(100 * shift + 0.05)


def progress(ends=(0.30, 0.301)):
    """Logs in which an ImageNet checkpoint starts ahead by 10 points."""
    return [
        {
            "pretraining": name,
            "seed": seed,
            "step": step,
            "val_weighted_map": start
            + (end - start) * (step - 60) / 300
            + 0.001 * seed * i,
            "loss": 5 - step / 100,
        }
        for i, (name, start, end) in enumerate(
            (("JFT", 0.1, ends[0]), ("ImageNet+JFT", 0.2, ends[1]))
        )
        for seed in range(3)
        for step in (60, 120, 240, 360)
    ]


def test_figure_3_is_decided_from_logs():
    found = findings(coco(), progress())
    first, last = [
        of(found, f"an ImageNet checkpoint {says}")
        for says in ("starts ahead", "ends on par")
    ]
    assert first.ours == pytest.approx(10.1) and first.verdict == "agrees"
    assert last.ours == pytest.approx(0.2) and last.verdict == "agrees"
    found = findings(coco(), progress(ends=(0.3, 0.35)))
    assert of(found, "an ImageNet checkpoint ends on par").verdict == "does not"


def test_progress_is_drawn_by_step_with_a_thin_line_a_seed():
    left, right = plot_progress(progress(), by="pretraining").axes
    assert left.get_ylabel() == "weighted mAP@100 (%)"
    means = [line for line in left.lines if line.get_label()[0] != "_"]
    assert [line.get_label() for line in means] == ["JFT", "ImageNet+JFT"]
    assert len(left.lines) == 2 * (3 + 1)
    np.testing.assert_array_equal(means[0].get_xdata(), [60, 120, 240, 360])
    assert means[0].get_ydata()[0] == pytest.approx(10)
    assert means[1].get_ydata()[-1] == pytest.approx(30.2)
    assert right.get_ylabel() == "Loss"
    plain = [{"name": "a", "step": s, "map": 0.1} for s in (1, 2)]
    (alone,) = plot_progress(plain, by="name").axes
    assert alone.get_ylabel() == "mAP@100 (%)"
    with pytest.raises(ValueError, match="must have mAP@100"):
        plot_progress([{"name": "a", "step": 1, "top1": 0.5}], by="name")


def test_a_table_holds_the_rows_that_are_shown_in_it():
    rows = coco()
    scores = [[0.9, 0.2, None], [0.7, 0.4, 0.1]]
    rows += [
        row(
            "VOC 2012",
            "JFT",
            "miou",
            0.4,
            seed,
            per_class=scores[seed],
            class_names=NAMES,
            shown_in=["table 12", "figure 6"],
        )
        for seed in (0, 1)
    ]
    tables = paper_tables(rows)
    assert list(tables) == list(range(1, 15))
    yours = [c for c in tables[2].scores if c.startswith("yours")]
    assert yours == ["yours: ImageNet, 128", "yours: JFT, 3,000"]
    second = tables[2].scores
    assert second.loc["mAP@[.5,.95]", yours[0]] == pytest.approx(31)
    assert second.loc["mAP@[.5,.95]", "ImageNet"] == 34.3
    masks = tables[12].scores["yours: JFT, 3,000"]
    assert masks["boat"] == pytest.approx(30)
    assert masks["kite"] == pytest.approx(10)
    assert not any(c.startswith("yours") for c in tables[7].scores)


def test_figures_are_drawn_for_the_rows_there_are(tmp_path):
    rows = coco()
    assert list(paper_figures(rows)) == [1, 4, 5]
    figures = paper_figures(rows, progress())
    assert list(figures) == [1, 3, 4, 5]
    (panel,) = figures[4].axes
    assert panel.get_title() == "COCO"
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert any("Sun et al. 2017" in label for label in labels)
    # Figure 5: what 101 layers gain from ImageNet to JFT.
    bars = figures[5].axes[1].lines[0].get_ydata()
    assert bars[0] == pytest.approx(2.1)
    page, text = paper_page(rows, tmp_path / "paper.html", progress=progress())
    said = text.read_text(encoding="utf-8")
    assert "Table 14, transposed" in said and "toothbrush" in said
    assert "| agrees |" in said and "| cannot tell |" in said
    assert page.read_text(encoding="utf-8").count("<img") == 4


def test_the_timeline_has_the_paper_s_sizes_and_one_s_own():
    (ax,) = plot_timeline(coco([0])).axes
    images = ax.lines[2].get_ydata()
    assert images[-1] == pytest.approx(300e6 / 1_281_167)
    assert images[0] == images[1] == 1
    labels = [line.get_label() for line in ax.lines]
    assert labels[-1] == "these rows: 3k images"
