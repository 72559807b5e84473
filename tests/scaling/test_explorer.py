"""The explorer says for every setting what a forecast would say of it."""

import functools
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from made_up_curves import SIZES, draw, line, rows_of

from keras_jft import scaling
from keras_jft.scaling.reporting import explorer

BROWSER = next(
    filter(
        None,
        map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    ),
    None,
)
HOSTILE = "</script><img src=x onerror=\"document.title='gone'\">`"


@functools.cache
def law_of(noise=0.004, slope=0.12, **columns):
    """Rows about a line, which no test changes, and their law."""
    rng = np.random.default_rng(0)
    means = 0.1 + slope * np.log10(SIZES)
    rows = rows_of(SIZES, draw(rng, means, 0, noise), **columns)
    rows = [{**row, "wall_seconds": 1.8 * row["num_examples"]} for row in rows]
    return rows, scaling.fit(rows, x="num_examples", y="top1")


def curve_of(sheet):
    return explorer.explorer({"a": sheet}).data["curves"][0]


@pytest.mark.parametrize("worth", [0, 0.02, 0.12])
def test_each_factor_has_the_numbers_of_its_own_forecast(worth):
    _, law = law_of()
    curve = curve_of(scaling.forecast(law, 10, worth))
    now = 100 * law.predict(10_000)
    assert curve["now"] == pytest.approx(now)
    assert [o["factor"] for o in curve["options"]] == list(explorer.FACTORS)
    for option in curve["options"]:
        factor = option["factor"]
        gain = 100 * np.array(law.gain_at(factor))
        np.testing.assert_allclose(option["gain"], gain)
        # From the curve, as the verdict is.
        np.testing.assert_allclose(
            option["scores"], np.minimum(now + gain, 100), rtol=1e-12
        )
        there = 100 * law.predict(10_000 * factor)
        assert option["scores"][0] == pytest.approx(there, abs=0.5)
        # 1.8 s an image.
        assert option["hours"] == pytest.approx(5 * factor)
        assert option["added"] == pytest.approx(10_000 * (factor - 1))
        # The sizes span 33 times.
        assert ("farther" in option["withheld"]) == (factor > 34)


def test_chances_are_those_of_the_law():
    _, law = law_of(noise=0.02)
    curve = curve_of(scaling.forecast(law))
    for option in curve["options"]:
        for worth in (0, 0.01, 0.05, 0.12, 0.3):
            below = np.interp(100 * worth, option["gains"], explorer.SHARES)
            chance = law.chance(option["factor"], worth)
            assert 1 - below == pytest.approx(chance, abs=0.01)


@pytest.mark.parametrize(
    ("chance", "words"),
    [
        (0, "below 1%"),
        (0.005, "below 1%"),
        (0.01, "1%"),
        (0.125, "13%"),
        (0.99, "99%"),
        (0.995, "above 99%"),
        (1, "above 99%"),
    ],
)
def test_a_share_of_draws_is_never_said_to_be_certain(chance, words):
    assert explorer._percent(chance) == words


def test_the_chart_is_the_law():
    _, law = law_of()
    chart = curve_of(scaling.forecast(law))["chart"]
    low, high = law.prediction_interval(chart["sizes"])
    np.testing.assert_allclose(chart["low"], 100 * low)
    np.testing.assert_allclose(chart["high"], 100 * high)
    np.testing.assert_allclose(
        chart["curve"], 100 * law.predict(chart["sizes"])
    )
    assert (chart["sizes"][0], chart["sizes"][-1]) == pytest.approx((300, 1e6))
    assert (chart["x"], chart["y"]) == (
        "Images (log scale)",
        "Top-1 accuracy (%)",
    )


def test_a_factor_of_the_users_own_is_among_those_to_choose():
    _, law = law_of()
    curve = curve_of(scaling.forecast(law, factor=12.5))
    assert curve["options"][curve["asked"]["at"]]["factor"] == 12.5
    assert len(curve["options"]) == len(explorer.FACTORS) + 1


def test_a_sentence_says_what_is_sure_and_what_is_not():
    rows, law = law_of(noise=0.03, slope=0.02)
    said = explorer.sentence(scaling.forecast(law, 2, 0.02))
    assert said.startswith("Not enough evidence: twice the images, 10,000 to ")
    assert " 20,000, may change Top-1 accuracy little, from " in said
    assert re.search(r"You asked for 2 points; chance \d+%\.", said)
    far = explorer.sentence(scaling.forecast(law, 50))
    assert "50 times the images" in far and "You asked for any gain" in far
    assert "if the fitted curve holds." in far


def test_a_score_that_two_tasks_have_is_called_by_its_name_alone():
    """The metrics of boxes and of keypoints both score by `ap`."""
    rows = [
        {"num_examples": n, "ap": s, "task": "detection"}
        for n, s in ((300, 0.1), (1_000, 0.15), (3_000, 0.2), (9_000, 0.25))
    ]
    law = scaling.fit(rows, x="num_examples", y="ap")
    said = explorer.sentence(scaling.forecast(law))
    assert " lift AP from " in said and "OKS" not in said


def test_a_loss_is_lowered_in_its_own_unit():
    rows = [
        {
            "tokens": n,
            "seed": s,
            "loss": 4 - 0.3 * np.log10(n) + 0.002 * (s - 1),
        }
        for n in SIZES.tolist()
        for s in (0, 1, 2)
    ]
    law = scaling.fit(rows, x="tokens", y="loss", direction="min")
    sheet = scaling.forecast(law, worth=0.1)
    scores = 2.8 - np.array([0, sheet.gain, sheet.gain_high, sheet.gain_low])
    np.testing.assert_allclose(sheet.scores, scores, atol=0.001)
    there, low, high = (f"{score:.3f}" for score in sheet.scores[1:])
    assert re.fullmatch(
        r"\D+: ten times the tokens, 10,000 to 100,000, \w+ lower loss from "
        rf"2\.800 to about {there} \({low} to {high}\)\. You asked for a fall "
        r"of 0\.1; chance \D*\d+%( if the fitted curve holds)?\.",
        explorer.sentence(sheet),
    )
    curve = curve_of(sheet)
    assert (curve["sign"], curve["left"]) == (-1, pytest.approx(2.8))
    assert curve["chart"]["x"] == "tokens (log scale)"
    assert curve["chart"]["y"] == "loss"


def test_a_page_has_no_backticks_and_explains_its_words(tmp_path):
    rows, _ = law_of()
    page, text = scaling.report(rows, tmp_path / "a.html", y="top1", worth=0.9)
    said = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)
    assert "`" not in said
    assert "`" not in re.sub(r"```.*?```", "", text.read_text(), flags=re.S)
    words = text.read_text().partition("Words on this page")[2]
    assert "- prediction interval: the range that holds 95%" in words
    assert "- device-hours: " in words
    assert "log-linear: " in words and "random initialization" not in words


def test_a_page_without_a_forecast_has_no_explorer(tmp_path):
    rows = rows_of(SIZES[:2], line(SIZES[:2])[:, None])
    page, _ = scaling.report(rows, tmp_path / "a.html", y="top1")
    assert "<script" not in page.read_text()


# === In a browser ===

MOVES = """
const seen = [];
const set = (name, value) => {
  const input = document.querySelector(`[name=${name}]`);
  input.value = value;
  input.dispatchEvent(new Event("input"));
};
const look = () => seen.push(["lead", "verdict", "why", "costs"].map(
  (name) => document.querySelector(`.explorer .${name}`).textContent));
look();
for (const [curve, factor, worth, each, hour] of MOVES) {
  set("curve", curve); set("factor", factor); set("worth", worth);
  set("each", each); set("hour", hour); look();
}
const pre = document.createElement("pre");
pre.id = "seen";
pre.textContent = JSON.stringify(seen);
document.body.append(pre);
"""


def seen_in_browser(page, moves, folder):
    """Return the texts of the explorer, at first and after each move."""
    script = MOVES.replace("MOVES", json.dumps(moves))
    copy = folder / "moved.html"
    copy.write_text(
        page.read_text().replace(
            "</body>", f"<script>{{{script}}}</script></body>"
        )
    )
    dom = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            f"--user-data-dir={folder / 'browser'}",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    (found,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, re.S)
    return json.loads(html.unescape(found)), dom


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH")
def test_moving_the_controls_moves_the_sentence(tmp_path):
    steep, law = law_of(mode="a")
    flat, level = law_of(slope=0.001, mode=HOSTILE)
    page, _ = scaling.report(
        steep + flat, tmp_path / "a.html", y="top1", worth=0.25, title="Kept"
    )
    at = explorer.FACTORS.index
    # The hostile name comes first.
    moves = [
        (1, at(3), 2, 0.1, 2),
        (1, at(3), 20, "", ""),
        (1, at(100), 5, "", 3),
        (1, at(10), 49, "", ""),
        (0, at(5), 3, "", ""),
    ]
    (first, *moved), dom = seen_in_browser(page, moves, tmp_path)
    assert "<title>Kept</title>" in dom and '<img src="x' not in dom
    curves = [level, law]
    assert first[0] == explorer.sentence(scaling.forecast(level, 10, 0.25))
    for (curve, place, worth, *_), said in zip(moves, moved, strict=True):
        factor = explorer.FACTORS[place]
        sheet = scaling.forecast(curves[curve], factor, worth / 100)
        assert said[1] == sheet.verdict
        assert bool(said[2]) == bool(sheet.reasons)
        expected = explorer.sentence(sheet)
        chance = re.compile(r"chance (above |below )?\d+%")
        assert chance.sub("", said[0]) == chance.sub("", expected)
    assert "no room for such a gain" in moved[3][2]
    assert "farther than the sizes reach" in moved[2][2]
    # 20,000 images at 0.1 and 15 hours at 2.
    assert moved[0][3].startswith("Costs 2,030")
    assert "20,000 more images at 0.1 and 15 device-hours at 2." in moved[0][3]
    assert moved[1][3] == "Give a price to see what it costs."
