"""Past results of any tracker are read as rows, one per training.

The files in `tracked/` were written by MLflow 3.17, Transformers 5.24 and the
writer of Lightning 2.6; those of Weights & Biases and Ultralytics are made by
hand, after their documentation. TensorBoard's and Keras's are written here, by
TensorFlow and Keras.
"""

import json
import math
import os
import pathlib
import shutil
import sqlite3

import numpy as np
import pytest

from keras_jft import cli, scaling

TRACKED = pathlib.Path(__file__).parent / "tracked"
SCORE = "val/accuracy"


def _columns(rows, *names):
    return [tuple(row.get(name) for name in names) for row in rows]


def _database(path):
    """Write a database of MLflow with two runs that count, and two others."""
    database = sqlite3.connect(path)
    database.executescript("""
CREATE TABLE experiments (experiment_id INTEGER, name VARCHAR(256),
    lifecycle_stage VARCHAR(32));
CREATE TABLE runs (run_uuid VARCHAR(32), name VARCHAR(250), status VARCHAR(9),
    start_time BIGINT, end_time BIGINT, lifecycle_stage VARCHAR(20),
    experiment_id INTEGER);
CREATE TABLE params ("key" VARCHAR(250), value VARCHAR(8000),
    run_uuid VARCHAR(32));
CREATE TABLE metrics ("key" VARCHAR(250), value FLOAT, timestamp BIGINT,
    run_uuid VARCHAR(32), step BIGINT, is_nan BOOLEAN);
INSERT INTO experiments VALUES (1, 'sizes', 'active');
""")
    for i, (size, state, stage) in enumerate(
        (
            (300, "FINISHED", "active"),
            (1_000, "FINISHED", "active"),
            (3_000, "KILLED", "active"),
            (9_000, "FINISHED", "deleted"),
        )
    ):
        database.execute(
            "INSERT INTO runs VALUES (?, ?, ?, 0, 2000, ?, 1)",
            (f"id{i}", f"n{size}", state, stage),
        )
        database.execute(
            "INSERT INTO params VALUES ('num_examples', ?, ?)",
            (str(size), f"id{i}"),
        )
        for step, score, is_nan in ((0, 0.5, 0), (1, 0.3, 0), (2, 0, i == 1)):
            database.execute(
                "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
                (SCORE, score, step, f"id{i}", step, is_nan),
            )
    database.commit()
    database.close()


def test_runs_of_the_files_of_mlflow_become_rows():
    rows = scaling.read_rows(TRACKED / "mlruns")
    # Each was logged at steps 0, 1, 2; the last is 0.01 below the one before.
    assert _columns(rows, "run", "num_examples", "seed", "arch", "error") == [
        ("n100-s0", 100, 0, "resnet", None),
        ("n1000-s0", 1_000, 0, "resnet", None),
        ("broken", 10, 0, "resnet", "MLflow: FAILED"),
    ]
    assert rows[0][SCORE] == pytest.approx(0.3)
    assert math.isnan(rows[2][SCORE])
    assert all(0 < row["wall_seconds"] < 1 for row in rows)
    options = {"y": SCORE, "epoch": "best", "direction": "max"}
    best = scaling.read_rows(TRACKED / "mlruns", **options)
    assert best[0][SCORE] == pytest.approx(0.31)
    assert best[0]["loss"] == rows[0]["loss"] == pytest.approx(0.8)


def test_runs_of_the_database_of_mlflow_become_rows(tmp_path):
    path = tmp_path / "mlflow.db"
    _database(path)
    before = path.read_bytes()
    rows = scaling.read_rows(path)
    assert _columns(rows, "num_examples", "error", "wall_seconds") == [
        (300, None, 2),
        (1_000, None, 2),
        (3_000, "MLflow: KILLED", 2),
    ]
    assert rows[0][SCORE] == 0 and math.isnan(rows[1][SCORE])
    (best, *_) = scaling.read_rows(
        tmp_path, y=SCORE, epoch="best", direction="min"
    )
    assert best[SCORE] == 0
    assert path.read_bytes() == before and len(os.listdir(tmp_path)) == 1


def test_a_database_that_is_broken_or_not_of_mlflow_is_refused(tmp_path):
    path = tmp_path / "mlflow.db"
    _database(path)
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(ValueError, match=r"mlflow\.db.* cannot be read"):
        scaling.read_rows(path)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE runs (id INTEGER)")
    other.close()
    with pytest.raises(ValueError, match="not a database of MLflow: it lacks"):
        scaling.read_rows(path)


def test_what_lies_in_a_run_of_mlflow_belongs_to_it(tmp_path):
    shutil.copytree(TRACKED / "mlruns", tmp_path / "mlruns")
    meta = next((tmp_path / "mlruns").glob("*/*/meta.yaml"))
    log = meta.parent / "artifacts" / "results.csv"
    log.parent.mkdir()
    log.write_text("epoch,metrics/accuracy\n1,0.5\n")
    assert len(scaling.read_rows(tmp_path)) == 3
    meta.write_text("run_id: [")
    with pytest.raises(ValueError, match=r"meta\.yaml.* is not YAML"):
        scaling.read_rows(tmp_path)


def test_logs_of_lightning_have_their_settings_beside_them():
    rows = scaling.read_rows(TRACKED / "lightning_logs")
    names = "num_examples", "seed", "optimizer.lr", "val/acc", "train_loss"
    assert _columns(rows, "run", *names) == [
        ("version_0", 300, 0, 0.1, 0.13, 0.5),
        ("version_1", 1_000, 0, 0.1, 0.2, 0.5),
    ]
    assert "epoch" not in rows[0]


def test_the_latest_state_of_a_trainer_counts_and_its_path_says_the_size(
    tmp_path,
):
    with pytest.raises(ValueError, match=r"does not say its size.*\{seed\}"):
        scaling.read_rows(TRACKED / "trainer")
    rows = scaling.read_rows(TRACKED / "trainer" / "run{num_examples}")
    names = "num_examples", "eval_accuracy", "eval_loss", "loss"
    assert sorted(_columns(rows, *names)) == [
        (300, 0.31, 0.9, 1.2),
        (1_000, 0.31, 0.9, 1.2),
    ]
    shutil.copytree(TRACKED / "trainer" / "run300", tmp_path / "run")
    state = json.loads(
        (tmp_path / "run/checkpoint-20/trainer_state.json").read_text()
    )
    state["global_step"] = 30
    state["log_history"] += [{"eval_accuracy": 0.5, "step": 30}]
    path = tmp_path / "run" / "trainer_state.json"
    path.write_text(json.dumps(state))
    (tmp_path / "run" / "all_results.json").write_text('{"train_samples": 64}')
    (row,) = scaling.read_rows(tmp_path, x="train_samples")
    assert row["train_samples"] == 64 and row["eval_accuracy"] == 0.5
    path.write_text('{"log_history": 3}')
    with pytest.raises(ValueError, match="no list `log_history`"):
        scaling.read_rows(path)
    path.write_text(15 * "[")
    with pytest.raises(ValueError, match=r"trainer_state\.json.* not JSON"):
        scaling.read_rows(path)


def test_a_record_that_is_too_large_to_be_one_is_refused(tmp_path):
    path = tmp_path / "trainer_state.json"
    with path.open("wb") as file:
        file.truncate(2**33)  # Takes no room on the disk.
    with pytest.raises(ValueError, match="has 8,192 MiB, more than the 256"):
        scaling.read_rows(path)


def test_results_of_ultralytics_are_read_with_their_arguments(tmp_path):
    for i, share in enumerate((0.1, 1.0)):
        folder = tmp_path / f"train{i}"
        folder.mkdir()
        # Versions before 8.3 fill the cells up with spaces.
        (folder / "results.csv").write_text(
            "                  epoch,         metrics/mAP50(B),  val/box_loss\n"
            f"                      1,                      0.1,       1.5\n"
            f"                      2,                   {share:.3f},     1.2\n"
        )
        (folder / "args.yaml").write_text(
            f"task: detect\nmode: train\nfraction: {share}\nseed: 0\n"
            "freeze: null\nname: train\n"
        )
    rows = scaling.read_rows(tmp_path, x="fraction")
    assert _columns(rows, "fraction", "metrics/mAP50(B)", "seed", "task") == [
        (0.1, 0.1, 0, "detect"),
        (1.0, 1.0, 0, "detect"),
    ]


TABLE = """"Name","State","Notes","Created","Runtime","num_examples","top1"
"calm-sea-1","finished","-","2026-01-01T10:00:00Z","30","300","0.3"
"wild-sea-2","crashed","-","2026-01-01T10:05:00Z","31","1000",""
"""
EXPORT = """,summary,config,name
0,"{'top1': 0.3, '_runtime': 30}","{'num_examples': 300, 'net': {'w': 1}}",a
1,"{'top1': 0.4}","{""num_examples"": 1000}",b
"""
RUNS = {"summary": {"0": {"top1": 0.3}}, "config": {"0": {"num_examples": 300}}}


def test_exports_of_weights_and_biases_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    names = "num_examples", "top1", "error", "wall_seconds"
    assert _columns(scaling.read_rows(path), "run", *names) == [
        ("calm-sea-1", 300, 0.3, None, 30),
        ("wild-sea-2", 1_000, None, "W&B: crashed", 31),
    ]
    path = tmp_path / "project.csv"
    path.write_text(EXPORT)
    rows = scaling.read_rows(path)
    assert _columns(rows, *names) == [
        (300, 0.3, None, 30),
        (1_000, 0.4, *2 * [None]),
    ]
    assert rows[0]["net.w"] == 1
    path = tmp_path / "runs.json"
    records = [{"name": "a", **{k: v["0"] for k, v in RUNS.items()}}]
    for text in (json.dumps(RUNS), json.dumps(records), json.dumps(records[0])):
        path.write_text(text)
        (row,) = scaling.read_rows(path)
        assert (row["num_examples"], row["top1"]) == (300, 0.3)
    with pytest.raises(ValueError, match="needs a score per epoch"):
        scaling.read_rows(path, y="top1", epoch="best", direction="max")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", 'Step,"n1 - acc","n1 - acc__MIN"\n1,2,2\n', "is a chart"),
        ("a.csv", "summary,config\n{,{}\n", "run 1: `summary` must be an obj"),
        ("a.json", '[{"config": {}, "summary": 3}]', "`summary` must be an ob"),
        ("a.json", '[{"config": {}, "summary": {}}, 3]', "a list of runs"),
        ("a.wandb", "binary", "own format .* `wandb sync`"),
    ],
)
def test_other_files_of_weights_and_biases_are_refused(
    tmp_path, name, text, message
):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        scaling.read_rows(tmp_path / name)


def test_logs_of_keras_are_trainings_whose_names_say_the_size(tmp_path):
    keras = pytest.importorskip("keras")
    for i, mark in enumerate(",;"):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        log = keras.callbacks.CSVLogger(
            tmp_path / f"n{300 + i}_s{i}.csv", separator=mark
        )
        x = np.ones((4, 2), "float32")
        history = model.fit(
            x, x[:, :1], epochs=2, verbose=0, callbacks=[log]
        ).history
    rows = scaling.read_rows(tmp_path / "n{num_examples}_s{seed}.csv")
    assert _columns(rows, "num_examples", "seed") == [(300, 0), (301, 1)]
    assert rows[1]["loss"] == pytest.approx(history["loss"][-1])
    with pytest.raises(ValueError, match=r"n300_s0\.csv does not say its size"):
        scaling.read_rows(tmp_path)
    with pytest.raises(FileNotFoundError, match="like .*none"):
        scaling.read_rows(tmp_path / "none{seed}.csv")


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Event files as Keras and TensorFlow write them, of one run."""
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    hp = pytest.importorskip("tensorboard.plugins.hparams.api")
    folder = tmp_path_factory.mktemp("logs") / "run"
    with tf.summary.create_file_writer(str(folder)).as_default():
        hp.hparams({"num_examples": 300, "arch": "resnet", "augment": True})
        for step, score in enumerate((0.1, 0.5, 0.25)):
            tf.summary.scalar("top1", score, step)
        tf.summary.text("note", "not a score", 0)
        tf.summary.scalar("zero", 0.0, 1)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2), "float32")
    found = model.fit(
        x, x[:, :1], validation_data=(x, x[:, :1]), epochs=2, verbose=0,
        callbacks=[keras.callbacks.TensorBoard(folder, write_graph=False)],
    )  # fmt: skip
    return folder, found.history


def test_scalars_and_hyperparameters_of_tensorboard_are_read(events):
    folder, history = events
    (row,) = scaling.read_rows(folder.parent)
    assert (row["run"], row["num_examples"], row["arch"]) == (
        "run",
        300,
        "resnet",
    )
    assert row["augment"] is True and "note" not in row
    assert (row["top1"], row["zero"]) == (0.25, 0)
    assert row["validation/epoch_loss"] == pytest.approx(
        history["val_loss"][-1]
    )
    assert row["train/epoch_loss"] == pytest.approx(history["loss"][-1])
    options = {"y": "top1", "epoch": "best", "direction": "max"}
    assert scaling.read_rows(folder, **options)[0]["top1"] == 0.5


def test_scalars_as_tensorflow_1_writes_them_are_read(tmp_path):
    tf = pytest.importorskip("tensorflow")
    with tf.io.TFRecordWriter(str(tmp_path / "events.out.tfevents.1")) as file:
        for step, value in ((5, 0.5), (7, 0.75)):
            summary = tf.compat.v1.Summary()
            summary.value.add(tag="acc", simple_value=value)
            event = tf.compat.v1.Event(step=step, summary=summary)
            file.write(event.SerializeToString())
    rows = scaling.read_rows(tmp_path, x="acc")
    assert rows == [{"run": tmp_path.name, "acc": 0.75}]


def test_an_event_file_that_is_cut_off_or_damaged_is_refused(events, tmp_path):
    folder, _ = events
    whole = next(folder.glob("*tfevents*")).read_bytes()
    path = tmp_path / "events.out.tfevents.1"
    for cut in (5, 14, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"tfevents\.1' is cut off"):
            scaling.read_rows(tmp_path)
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is cut off|is damaged"):
            scaling.read_rows(tmp_path)


def test_records_of_two_kinds_are_not_guessed_between(events, tmp_path):
    folder, _ = events
    shutil.copytree(folder, tmp_path / "run")
    log = TRACKED / "lightning_logs" / "version_1"
    shutil.copytree(log, tmp_path / "run" / "version_1")
    with pytest.raises(ValueError, match="kinds: .'lightning', 'tensorboard'"):
        scaling.read_rows(tmp_path)
    (row,) = scaling.read_rows(tmp_path, kind="lightning")
    assert row["num_examples"] == 1_000
    with pytest.raises(ValueError, match="folder without records .*MLflow"):
        scaling.read_rows(tmp_path, kind="mlflow")


def test_a_table_with_epochs_and_sizes_is_no_log(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("epoch,images,score\n1,300,0.3\n2,1000,0.4\n")
    assert len(scaling.read_rows(path, x="images")) == 2
    assert len(scaling.read_rows(path)) == 2


def test_rows_are_chosen_and_seeds_are_named(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("num_examples,arm,fold,top1\n300,base,1,0.3\n300,2,1,0.4\n")
    (row,) = scaling.read_rows(path, where={"arm": "base"}, seed="fold")
    assert row == {"num_examples": 300, "arm": "base", "seed": 1, "top1": 0.3}
    assert len(scaling.read_rows(path, where={"fold": "1", "arm": 2})) == 1
    with pytest.raises(ValueError, match=r"arm=new. .* are \['2', 'base'\]"):
        scaling.read_rows(path, where={"arm": "new"})
    path.with_suffix(".jsonl").write_text(
        '{"num_examples": 3, "net": [1, 2]}\n'
    )
    with pytest.raises(ValueError, match=r"net=3. .* are \['\[1, 2\]'\]"):
        scaling.read_rows(path.with_suffix(".jsonl"), where={"net": "3"})
    with pytest.raises(ValueError, match="`seed` must be a column"):
        scaling.read_rows(path, seed="random_state")
    with pytest.raises(ValueError, match="needs the column of scores"):
        scaling.read_rows(path, epoch="best")


def test_several_tables_are_one_curve_by_their_names(tmp_path, capsys):
    for size in (300, 1_000, 3_000, 10_000):
        text = f"acc;arch\n{len(str(size)) / 10} %;a\n9 %;b\n"
        (tmp_path / f"n{size}.csv").write_text(text)
    words = ["forecast", str(tmp_path / "n{images}.csv"), "--x", "images"]
    words += ["--score", "acc", "--where", "arch=a", "--worth", "0.1%"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Read 4 runs: {tmp_path / 'n300.csv'}")
    assert "num_examples" not in out and "4 sizes (300, 1,000, 3,000" in out


@pytest.mark.parametrize(
    "record",
    [
        b"not a message",
        bytes([0x28, 5]),  # A number in place of a summary.
        bytes([0x2A, 9, 10, 7, 10, 5]) + b"_hpar",
        bytes([0x2A, 2, 10, 9]),  # Longer than the record.
        bytes([0x10] + [0xFF] * 11),  # A number of more than 64 bits.
    ],
)
def test_a_record_that_is_no_event_is_told_or_passed_over(tmp_path, record):
    tf = pytest.importorskip("tensorflow")
    path = tmp_path / "events.out.tfevents.1"
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(record)
    with pytest.raises(ValueError, match="event 1 is not one|not say its size"):
        scaling.read_rows(tmp_path)


def test_odd_values_in_records_are_no_scores(tmp_path):
    shutil.copytree(TRACKED / "mlruns", tmp_path / "mlruns")
    for i, meta in enumerate((tmp_path / "mlruns").glob("*/*/meta.yaml")):
        text = meta.read_text().replace(
            "start_time: 1", f"start_time: {i * chr(97)}1"
        )
        meta.write_text(text)
    os.mkfifo(tmp_path / "mlruns" / "pipe")
    assert len(scaling.read_rows(tmp_path)) == 3
    path = tmp_path / "mlflow.db"
    _database(path)
    database = sqlite3.connect(path)
    database.execute("UPDATE metrics SET value = 'much'")
    database.commit()
    database.close()
    assert math.isnan(scaling.read_rows(path)[0][SCORE])
    state = {"global_step": "x", "log_history": [{"step": None, "acc": 1}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    (row,) = scaling.read_rows(tmp_path / "trainer_state.json", x="acc")
    assert row["acc"] == 1
