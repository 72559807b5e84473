"""The page says what the forecasts say, decision first."""

import base64
import re
import xml.etree.ElementTree

import numpy as np
import pytest

from keras_jft import scaling
from keras_jft.scaling.reporting.explorer import gain_from_curve, sentence

SIZES = (300, 1_000, 3_000, 10_000)


def rows_of(task, mode, slope, seeds=(0, 1), **columns):
    return [
        {
            "task": task,
            "mode": mode,
            "num_examples": n,
            "seed": seed,
            "score": 0.1 + slope * np.log10(n) + 0.002 * seed,
            **columns,
        }
        for n in SIZES
        for seed in seeds
    ]


MADE = {
    "wall_seconds": 36.0,
    "cpu": "A processor",
    "cores": 2,
    "accelerator": None,
    "time": "2026-01-02T03:04:05+00:00",
    "version_keras": "3.15.1",
}
ROWS = [
    *rows_of("birds", "frozen", 0.1, **MADE),
    *rows_of("birds", "fine_tuned", 0.005, **MADE),
    {"task": "birds", "mode": "frozen", "error": "ValueError: no"},
]
for row in ROWS[:-1]:
    row["config"] = {
        "pretrain": {"seed": row["seed"], "epochs": 4, "options": {}},
        "blocks": [1, 1],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "page.html"
    page, text = scaling.report(
        ROWS, path, worth=0.02, command="python study.py --sizes 300"
    )
    assert (page, text) == (path, path.with_suffix(".md"))
    return page.read_text(), text.read_text()


def test_the_decision_stands_before_all_else(written):
    for text in written:
        body = text.rpartition("</head>")[2]
        places = [
            body.index(words)
            for words in (
                "What would 10x more buy?",
                "Collect: birds, frozen. Do not collect: birds, fine tuned.",
                "The decision",
                "Figures",
                "Scores",
                "Laws",
                "Caveats",
                "How the numbers were made",
            )
        ]
        assert places == sorted(places)


def test_a_curve_is_answered_as_its_forecast_has_it(written):
    _, text = written
    sheet = scaling.forecasts(ROWS, worth=0.02)["birds", "frozen"]
    said = text.replace("\\", "")
    assert "### birds, frozen: collect" in said
    assert f"**{sentence(sheet)}**" in said
    # 36 s a run.
    cost = "Cost: 0.01 device-hours per run, 0.00"
    for line in (gain_from_curve(sheet), cost):
        assert f"- {line}" in said
    assert all(f"- {line}" in said for line in sheet.caveats)


def test_a_caveat_stands_once_and_names_its_curves(written):
    _, text = written
    words = "- Runs of one size scatter by"
    alike = f"{words} 0.14 points (standard deviation).\n"
    assert text.count(words) == text.count(alike) == 1
    left_out = "- Left out: 1 row (failed). (birds, frozen)\n"
    assert left_out in text


def test_scores_are_means_of_seeds_in_points(written):
    _, text = written
    # 10 + 10 log10(300) and 0.2 more: 34.9 on average, 0.14 apart.
    assert "| frozen | 34.9 ±0.1 | 40.1 ±0.1 | 44.9 ±0.1 | 50.1 ±0.1 |" in text
    assert "over 2 runs of each size (num_examples)" in text


def test_near_duplicates_are_shown_on_the_page(tmp_path):
    picture = tmp_path / "cats.svg"
    picture.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    rows = [{**row, "num_duplicates": 4} for row in ROWS[:-1]]
    page, text = scaling.report(
        rows, tmp_path / "page.html", near_duplicates={"cats": picture}
    )
    shown = base64.b64encode(picture.read_bytes()).decode()
    assert shown in page.read_text() and "Near-duplicates" in text.read_text()
    assert "pre-training may have seen | 4 |" in text.read_text()


def test_the_page_of_scores_alone_says_nothing_of_hours_and_laws(tmp_path):
    rows = [{"num_examples": n, "accuracy": n / 1_000} for n in (100, 300)]
    for text in scaling.report(rows, tmp_path / "page.html", y="accuracy"):
        assert "Device-hours" not in text.read_text()
        assert "Laws" not in text.read_text()
    page, _ = scaling.report(ROWS[:-1], tmp_path / "timed.html")
    assert "Device-hours are those of training" in page.read_text()


def test_the_papers_own_disclaimer_is_among_the_caveats(written):
    for text in written:
        assert "Disclaimer, Large scale learning" in text
        assert "impact of data is underestimated" in text


def test_costs_without_pre_training_are_said_to_be_so(written, tmp_path):
    words = "not device_seconds"
    assert words in written[0]
    rows = [{**row, "device_seconds": 36.0} for row in ROWS[:-1]]
    page, _ = scaling.report(rows, tmp_path / "a.html")
    assert words not in page.read_text()


def test_it_says_how_the_rows_were_made(written):
    _, text = written
    for line in (
        "python study.py --sizes 300",
        "| Rows | 17 |",
        "| Failed runs | 1 |",
        "| Seeds | 0, 1 |",
        "| Device-hours in all | 0.16 |",
        "| Processor | A processor |",
        "| Accelerator | none |",
        "| keras | 3.15.1 |",
        "| pretrain.seed | 0, 1 |",
        "pretrain.epochs = 4\npretrain.options = {}\nblocks = [1, 1]\n",
    ):
        assert line in text


def test_each_task_has_a_figure_within_the_page(tmp_path):
    frozen = [row for row in ROWS if row["mode"] == "frozen"]
    rows = frozen + rows_of("fish", "frozen", 0.1)
    page, _ = scaling.report(rows, tmp_path / "a.html")
    again, _ = scaling.report(rows, tmp_path / "b.html")
    assert page.read_bytes() == again.read_bytes()
    found = re.findall(r"svg\+xml;base64,([^\"]+)", page.read_text())
    assert len(found) == 2
    for picture in found:
        root = xml.etree.ElementTree.fromstring(base64.b64decode(picture))
        assert root.tag.endswith("svg")


def test_a_curve_of_two_sizes_is_no_obstacle(tmp_path):
    rows = rows_of("birds", "frozen", 0.1)
    few = [r for r in rows_of("fish", "frozen", 0.1) if r["num_examples"] < 3e3]
    _, text = scaling.report(rows + few, tmp_path / "a.html")
    text = text.read_text()
    assert "Collect: birds, frozen. Not enough evidence: fish, frozen." in text
    assert "**2 sizes, a forecast needs 4**" in text
    assert "no record of how they were made" in text
    # A caption names only what the figure has.
    assert "Birds: score by num_examples. Small markers are runs" in text
    assert text.count("The forecast is dotted") == 1


def test_without_seeds_no_markers_are_explained(tmp_path):
    few = rows_of("fish", "frozen", 0.1, seeds=(0,))[:3]
    _, text = scaling.report(few, tmp_path / "a.html")
    (caption,) = re.findall(".*score by num_examples.*", text.read_text())
    assert caption.endswith("score by num_examples.")


def test_rows_of_one_curve_need_no_names(tmp_path):
    rows = [
        {"images": r["num_examples"], "bleu": 100 * r["score"]}
        for r in rows_of("birds", "frozen", 0.1, seeds=(0,))
    ]
    options = {"x": "images", "y": "bleu", "bounds": (0, 60), "factor": 5}
    page, text = scaling.report(rows, tmp_path / "a.htm", title="A", **options)
    text = text.read_text()
    assert text.startswith("# A\n")
    assert "five times the images, 10,000 to 50,000," in text
    assert "All runs: bleu in points, one run of each size (images)" in text
    assert page.stat().st_size > 10_000


def test_splits_are_curves_of_their_own_if_named_so(tmp_path):
    rows = [
        *rows_of("birds", "frozen", 0.1, split="minival*"),
        *rows_of("birds", "frozen", 0.05, split="<test-dev>"),
    ]
    with pytest.raises(
        ValueError, match="of a curve must have the same `split`"
    ):
        scaling.report(rows, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []
    by = ["task", "mode", "split"]
    page, _ = scaling.report(rows, tmp_path / "a.html", by=by)
    assert "birds, frozen, &lt;test-dev&gt;" in page.read_text()
    assert "<test-dev>" not in page.read_text()


def test_alternatives_stand_beside_the_decision(tmp_path):
    more = scaling.Alternative("depth", 50, 101, 0.1, 0, 0.2, 1, 0.1, (3, 3))
    rows = rows_of("birds", "frozen", 0.1)
    _, text = scaling.report(rows, tmp_path / "a.html", alternatives=[more])
    text = text.read_text()
    assert "depth: 50 to 101" in text
    assert text.index("against alternatives") < text.index("Figures")


def test_the_papers_tables_stand_beside_the_scores(tmp_path):
    rows = rows_of("detection", "frozen", 0.1)
    rows = [{**row, "ap": row.pop("score")} for row in rows]
    page, text = scaling.report(
        rows, tmp_path / "report.html", y="ap", paper_tables=(5, 6)
    )
    said = text.read_text()
    # 10 points per decade from 0.1, two seeds 0.2 points apart.
    line = next(s for s in said.splitlines() if "31.2" in s)
    cells = [cell.strip() for cell in line.strip("| ").split("|")]
    assert cells[1:] == ["31.2", "31.9", "34.9", "40.1", "44.9", "50.1"]
    assert "go by the steps" in said and "go by the steps" in page.read_text()


def test_a_page_is_an_html_file(tmp_path):
    with pytest.raises(ValueError, match=r"HTML file.*Received: .*report\.md"):
        scaling.report(ROWS, tmp_path / "report.md")


@pytest.mark.parametrize("name", ["title", "command"])
@pytest.mark.parametrize("wrong", [["python", "x.py"], 3])
def test_words_on_a_page_are_text(tmp_path, name, wrong):
    with pytest.raises(ValueError, match=f"`{name}` must be a string.*shlex"):
        scaling.report(ROWS, tmp_path / "a.html", **{name: wrong})


@pytest.mark.parametrize("wrong", [None, 3, ["x"]])
def test_alternatives_are_those_that_were_found(tmp_path, wrong):
    with pytest.raises(ValueError, match="`alternatives` must be a list that"):
        scaling.report(ROWS, tmp_path / "a.html", alternatives=wrong)
