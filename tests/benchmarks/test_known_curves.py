"""Readers of published curves, on small files of the same form."""

import io
import tarfile

import numpy as np
import pandas as pd
import pytest

# Twelve sizes, of which nine are at most a tenth of the largest.
SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256, 1024, 2048, 2560]


@pytest.fixture
def known_curves(run):
    return run("known_curves.py", run_name="imported")


def published(path, header, rows):
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_losses_are_read_by_size_and_once(tmp_path, known_curves):
    rows = [
        'NMT,log_perplexity,"6 Enc, 6 Dec",2000.0,0.6,1',
        'NMT,log_perplexity,"6 Enc, 6 Dec",4000.0,0.5,0',
        'NMT,log_perplexity,"6 Enc, 6 Dec",1000.0,0.8,1',
        "LM,val_loss,1.68e+07,1000.0,0.9,1",
        "LM,val_loss,1.68e+07,2000.0,0.7,0",
        "LM,val_loss,1.68e+07,1000.0,0.9,1",
        "LM,val_loss,1.68e+07,2000.0,0.7,0",
    ]
    path = published(
        tmp_path / "losses.csv",
        "Domain,Task,Model,Seen Examples,Loss,Training",
        rows,
    )
    language, translation = known_curves["language_curves"](path)
    assert (language.data, language.name) == ("LM", "val_loss 1.68e+07")
    assert language.runs.tolist() == [[0.9], [0.7]]
    assert translation.sizes.tolist() == [1000, 2000, 4000]
    assert translation.direction == "min"
    assert translation.bounds == (0, np.inf)
    task = known_curves["as_published"](translation)
    assert task.runs.tolist() == [[0.8], [0.6]]
    assert task.truth.tolist() == [[0.5]]


def test_errors_of_images_are_read_as_accuracies(tmp_path, known_curves):
    path = published(
        tmp_path / "errors.csv",
        "task,model,seen_examples,error,shown",
        ["bird_10,BiT,2000,0.25,0", "bird_10,BiT,1000,0.5,1"],
    )
    (curve,) = known_curves["image_curves"](path)
    assert (curve.data, curve.name) == ("bird", "bird_10 BiT")
    assert curve.runs.tolist() == [[0.5], [0.75]]
    assert curve.shown.tolist() == [True, False]
    assert (curve.direction, curve.bounds) == ("max", (0, 1))


def lcdb(path, curves):
    """Write `{(data set, learner): sizes}` as the archive of LCDB."""
    rows = [
        {
            "openmlid": data,
            "learner": learner,
            "size_train": size,
            "outer_seed": outer,
            "inner_seed": inner,
            "score_test": size / 4000 + inner / 1000 + outer / 10,
        }
        for (data, learner), sizes in curves.items()
        for size in sizes
        for outer in range(2)
        # The size of 24 has no run with the third seed.
        for inner in range(4)
        if (size, inner) != (24, 2)
    ]
    text = pd.DataFrame(rows).to_csv(index=False).encode()
    member = tarfile.TarInfo("lcdb-0.1.0/lcdb/database-accuracy.csv")
    member.size = len(text)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(text))
    return path


def test_lcdb_gives_one_curve_per_data_set_with_three_seeds(
    tmp_path, known_curves
):
    path = lcdb(
        tmp_path / "lcdb.tar.gz",
        {
            (3, "tree"): SIZES,
            (5, "tree"): SIZES,
            (5, "forest"): SIZES,
            (7, "tree"): SIZES[:6],  # Shows less than a tenth of what follows.
            (4, "tree"): SIZES,
        },
    )
    odd = known_curves["lcdb_curves"](path, odd=True)
    assert sorted(curve.data for curve in odd) == ["openml 3", "openml 5"]
    (even,) = known_curves["lcdb_curves"](path, odd=False)
    assert (even.name, even.source) == ("4 tree", "lcdb, even")
    # Of the first split alone, at sizes with runs of all three seeds.
    assert even.sizes.tolist() == [s for s in SIZES if s != 24]
    assert even.runs == pytest.approx(
        even.sizes[:, None] / 4000 + np.arange(3) / 1000
    )
    task = known_curves["ten_times"](even, 4, None)
    assert (len(task.sizes), task.sizes[-1]) == (4, 256)
    assert task.far.tolist() == [2560]
    again = known_curves["lcdb_curves"](path, odd=True)
    assert [c.name for c in again] == [c.name for c in odd]


def test_losses_are_forecast_downwards(known_curves, run):
    sizes = np.geomspace(1e3, 1e5, 9)
    curve = known_curves["Curve"](
        name="made up",
        data="made up",
        source="language",
        sizes=sizes,
        runs=(1 + 10 * sizes[:, None] ** -0.4),
        shown=sizes < 9e4,
    )
    task = known_curves["as_published"](curve)
    measure = run("backtest.py", run_name="imported")["measure"]
    rows = {row["law"]: row for row in measure(task, None)}
    # The last value that is seen is that of the second largest size.
    off = np.log(curve.runs[-2, 0] / curve.runs[-1, 0])
    assert rows["last value"]["rmsle"] == pytest.approx(off, rel=1e-6)
    assert rows["keras_jft"]["rmsle"] < off / 4
    # 100 times the loss, in points.
    assert rows["keras_jft"]["measured"] == pytest.approx(
        100 * curve.runs[-1, 0]
    )
    assert rows["keras_jft"]["gained"] > 0


def test_a_verdict_is_wrong_if_the_score_went_the_other_way(run):
    rows = [
        {"set": "", "source": "", "sizes": "4", "verdict": v, "gained": gained}
        for v, gained in [
            ("collect", 1.0),
            ("collect", -1.0),
            ("do not collect", 1.0),
            ("not enough evidence", -1.0),
        ]
    ]
    verdicts = run("backtest.py", run_name="imported")["verdicts"]
    (found,) = verdicts(rows).to_dict("records")
    assert found == {
        "collect": 2,
        "do not collect": 1,
        "not enough evidence": 1,
        "wrong": 2,
    }
