"""Runs in a bucket of a real S3 server, over connections that fail."""

import concurrent.futures
import dataclasses

import keras
import numpy as np
import pytest

import keras_jft as jft
from keras_jft import evaluation, files
from keras_jft.training.checkpoints import archive
from keras_jft.training.distribution import replicas

for needed in ("moto.server", "s3fs"):
    pytest.importorskip(needed)

import s3fs  # noqa: E402
from faulty_s3 import FaultyS3  # noqa: E402

X, Y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
STEPS = 2  # an epoch


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, FaultyS3() as server:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_MAX_ATTEMPTS": "2",  # Of botocore.
        }.items():
            patch.setenv(name, value)
        patch.setattr(s3fs.S3FileSystem, "retries", 2)
        patch.setattr(  # Seconds between two attempts.
            "botocore.retryhandler.delay_exponential", lambda *a, **k: 0
        )
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        yield server
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def run(server, request):
    """A folder in the bucket, of one test alone."""
    name = request.node.name.partition("[")[0]
    path = files.as_path("run", f"s3://bucket/{name}", "run")
    path.rmtree()
    return path


def _model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    model = jft.training.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("adam", "mse", run_eagerly=True)
    return model


def _fit(directory, epochs, model=None, **options):
    model = model or _model()
    options = {"save_every": 1, "asynchronous": False, **options}
    model.fit(
        X,
        Y,
        batch_size=len(X) // STEPS,
        epochs=epochs,
        shuffle=False,
        callbacks=[jft.training.Checkpoint(directory, **options)],
        verbose=0,
    )
    return model


def _weights(model):
    return [v.numpy().tobytes() for v in model.weights]


def _names(run):
    return [path.name for path in run.iterdir()]


def _content(run):
    return {path.name: path.read_bytes() for path in run.iterdir()}


def _step(number):
    return f"step-{number:010d}.npz"


# === Runs ===


def test_a_run_in_a_bucket_resumes_like_one_on_disk(run, tmp_path):
    whole = _fit(tmp_path, 3)
    _fit(str(run), 2, keep=2, best="loss", asynchronous=True)
    assert _names(run) == ["best.npz", _step(3), _step(4)]
    resumed = _fit(str(run), 3, keep=2, best="loss", asynchronous=True)
    assert _weights(resumed) == _weights(whole)
    assert _names(run) == ["best.npz", _step(5), _step(6)]
    on_disk, in_bucket = (
        [array.tobytes() for array in archive.read(path / _step(6))[0].values()]
        for path in (tmp_path, run)
    )
    assert on_disk == in_bucket


@pytest.mark.parametrize("fault", ["cut", "error", "unanswered", "slow"])
def test_an_upload_that_fails_once_is_repeated(run, server, fault, tmp_path):
    before = len(server.requests)
    with server.fails(fault, "PUT", _step(1)) as failed:
        model = _fit(run, 1)
    assert len(failed) == 1
    sent = server.requests[before:]
    puts = [p for method, p in sent if method == "PUT" and _step(1) in p]
    assert len(puts) == (1 if fault == "slow" else 2)
    assert _weights(model) == _weights(_fit(tmp_path, 1))
    assert _names(run) == [_step(1), _step(2)]
    for name in _names(run):
        archive.read(run / name)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("fault", ["cut", "error"])
def test_an_upload_that_fails_for_good_loses_nothing(
    run, server, fault, asynchronous
):
    _fit(run, 1)
    before = _content(run)
    with (
        server.fails(fault, "PUT", _step(3), times=99),
        pytest.raises(
            OSError, match=f"'{run}/{_step(3)}'.* be written"
        ) as error,
    ):
        _fit(run, 3, asynchronous=asynchronous)
    assert "Others are unchanged" in str(error.value.__notes__)
    assert _content(run) == before
    _fit(run, 2)
    assert _names(run)[-1] == _step(4)


def test_a_bucket_that_is_not_there_is_told(server):
    with pytest.raises(OSError, match="'s3://none/run/.*no such .*bucket"):
        _fit("s3://none/run", 1)


def test_a_large_file_that_fails_half_way_leaves_no_part(
    run, server, tmp_path, monkeypatch
):
    """It is sent in parts, of which the last one never arrives."""
    monkeypatch.setattr(
        s3fs.core, "calculate_chunksize", lambda *a, **k: 5 << 20
    )
    large = tmp_path / "large"
    large.write_bytes(bytes(11 << 20))
    with (
        server.fails("cut", "PUT", "partNumber=3", times=99) as failed,
        pytest.raises(OSError, match="large' could not be written"),
    ):
        (run / "large").upload(large)
    assert len(failed) > 1 and not (run / "large").exists()
    store = s3fs.S3FileSystem()
    assert store.call_s3("list_multipart_uploads", Bucket="bucket").get(
        "Uploads", []
    ) == []  # fmt: skip
    (run / "large").upload(large)
    assert (run / "large").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("fault", ["cut", "error", "slow"])
def test_a_download_that_fails_once_is_repeated(run, server, fault, tmp_path):
    _fit(run, 1)
    with server.fails(fault, "GET", _step(2)) as failed:
        resumed = _fit(run, 2)
    assert len(failed) == 1
    assert _weights(resumed) == _weights(_fit(tmp_path, 2))


@pytest.mark.parametrize("place", [_step(2), "list-type"])
@pytest.mark.parametrize("fault", ["cut", "error"])
def test_what_cannot_be_fetched_is_not_taken_for_damaged_or_missing(
    run, server, fault, place
):
    """Else the run would go on from an older step, or begin anew."""
    _fit(run, 1)
    before = _content(run)
    with (
        server.fails(fault, "GET", place, times=99),
        pytest.raises(OSError, match=f"'{run}.*could not be (read|listed)"),
    ):
        _fit(run, 2)
    assert _content(run) == before


def test_half_an_object_is_never_resumed_from(run, tmp_path):
    """No store keeps one; a tool that copies files may."""
    _fit(run, 1)
    content = (run / _step(2)).read_bytes()
    files.write_bytes(run / _step(2), content[: len(content) // 2])
    with pytest.warns(
        UserWarning, match=f"damaged, cut.*from {run}/{_step(1)}"
    ):
        resumed = _fit(run, 1)
    assert _weights(resumed) == _weights(_fit(tmp_path, 1))
    assert _step(2).replace(".npz", ".unreadable") in _names(run)


# === Many workers ===


def test_all_workers_resume_from_one_step(run, server, monkeypatch):
    _fit(run, 1)
    monkeypatch.setattr(replicas, "is_chief", lambda model: False)
    before = _content(run)
    found = []
    for fault in ("slow", "cut", "error"):
        with server.fails(fault, "GET", _step(2)):
            found.append(_fit(run, 1))
    assert len({tuple(_weights(model)) for model in found}) == 1
    assert {int(model.optimizer.iterations) for model in found} == {STEPS}
    assert _content(run) == before  # Only the chief writes.


def test_workers_that_found_different_steps_do_not_begin(run, monkeypatch):
    _fit(run, 1)
    monkeypatch.setattr(replicas, "gathered", lambda model, n: [n, n and 1])
    with pytest.raises(
        ValueError, match=r"one step. In `s3://.*found: \[2, 1\]"
    ):
        _fit(run, 2)


# === Whatever else is written ===


def test_backbones_and_weights_are_read_from_a_bucket(run, server):
    backbone = jft.ResNet((1, 1, 1, 1), width=8, block="basic", stem="small")
    with server.fails("cut", "PUT", "net.npz"):
        jft.backbones.save(backbone, f"{run}/net.npz")
    with server.fails("cut", "GET", "net.npz"):
        found = jft.backbones.load(f"{run}/net.npz")
    assert _weights(found) == _weights(backbone)
    model = _model()
    for name in ("a.weights.h5", "a.keras"):
        with files.atomic_write(run / name) as partial:
            model.save_weights(partial) if "h5" in name else model.save(partial)
        other = _model()
        other.set_weights([w + 1 for w in other.get_weights()])
        jft.training.load_weights(other, f"{run}/{name}")
        assert _weights(other) == _weights(model)
    with pytest.raises(ValueError, match=f"`{run}/none.npz` is not a file"):
        jft.training.load_weights(model, f"{run}/none.npz")


def test_rows_of_threads_all_arrive_over_a_bad_connection(run, server):
    path = f"{run}/rows.jsonl"
    with (
        server.fails("error", "PUT", "rows.jsonl"),
        server.fails("cut", "GET", "rows.jsonl"),
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        list(
            pool.map(lambda i: jft.scaling.append_row(path, {"i": i}), range(9))
        )
    assert sorted(row["i"] for row in jft.scaling.read_rows(path)) == [
        *range(9)
    ]
    with (
        server.fails("cut", "PUT", "rows.jsonl", times=99),
        pytest.raises(OSError, match="rows.jsonl") as error,
    ):
        jft.scaling.append_row(path, {"i": 10})
    assert "as it was before" in str(error.value.__notes__)
    # Rows that cannot be fetched are not rows that are not there.
    with (
        server.fails("error", "GET", "rows.jsonl", times=99),
        pytest.raises(OSError, match="could not be read"),
    ):
        jft.scaling.append_row(path, {"i": 10})
    assert len(jft.scaling.read_rows(path)) == 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_examples: int


def test_a_study_in_a_bucket_goes_on_where_it_was(run, server):
    done = []

    def score(config):
        done.append(config.num_examples)
        return {"score": config.num_examples / 9999}

    def study(*sizes):
        configs = [Config(num_examples=size) for size in sizes]
        return jft.scaling.Study(configs, f"{run}/rows.jsonl", run=score)

    study(10, 100).run()
    again = study(10, 100, 1000)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = again.run(pool)
    assert done == [10, 100, 1000]
    with server.fails("cut", "PUT", "report.html"):
        page, text = jft.scaling.report(rows, f"{run}/report.html")
    assert (str(page), str(text)) == (f"{run}/report.html", f"{run}/report.md")
    assert page.read_bytes().endswith(b"</html>\n")
    assert _names(run) == ["report.html", "report.md", "rows.jsonl"]


def test_pages_and_ids_of_data_are_written_to_a_bucket(run):
    data = jft.data.load("synthetic", num_examples=4)
    jft.data.describe(data, images=0).save(f"{run}/page.html")
    jft.data.write_ids(data, f"{run}/ids.jsonl")
    assert jft.data.read_ids(f"{run}/ids.jsonl").tolist() == [0, 1, 2, 3]
    assert _names(run) == ["ids.jsonl", "page.html", "page.md"]


def test_records_are_read_from_a_bucket(run):
    data = jft.data.load("synthetic", num_examples=6)
    jft.data.write_records(data, f"{run}/train@2", verbose=False)
    found = jft.data.load("records", "train", directory=str(run))
    for example, expected in zip(found, data, strict=True):
        np.testing.assert_array_equal(example["images"], expected["images"])
    (run / "train.tfrecord-00001-of-00002.index").unlink()
    again = jft.data.load("records", "train", directory=str(run))
    np.testing.assert_array_equal(again[5]["labels"], data[5]["labels"])


def test_embeddings_and_caches_go_on_in_a_bucket(run, server):
    data = jft.data.load("synthetic", num_examples=40)

    def embed():
        return evaluation.duplicates.embed(
            evaluation.duplicates.thumbnails(),
            data,
            str(run / "embeddings"),
            transforms=(jft.data.transforms.Resize((32, 32)),),
            batch_size=20,
            shard_size=20,
        )

    with (
        server.fails("cut", "PUT", "000001-000020.npz", times=99),
        pytest.raises(OSError, match="000001-000020.npz"),
    ):
        embed()
    assert _names(run / "embeddings") == ["000000-000020.npz", "manifest.json"]
    whole = embed()
    assert [ids.tolist() for ids, _ in whole] == [
        [*range(20)], [*range(20, 40)],
    ]  # fmt: skip
    with (
        server.fails("error", "PUT", "000000.npz", times=99),
        pytest.raises(OSError, match="cache/000000.npz"),
    ):
        jft.data.cache(data, f"{run}/cache")
    for _ in range(2):
        cached = jft.data.cache(data, f"{run}/cache")
        np.testing.assert_array_equal(cached[7]["images"], data[7]["images"])
    assert _names(run / "cache") == ["000000.npz", "cache.json"]


_IMAGES = {"image_size": 16, "num_examples": 16}
_TRAINED = {
    "image_size": (16, 16), "dtype": "float32", "batch_size": 16, "epochs": 1,
}  # fmt: skip
_LABELED = {**_IMAGES, "task": "classification"}
RUN = jft.scaling.Run(
    pretrain=jft.pretrain.Config(options=_IMAGES, num_examples=16, **_TRAINED),
    transfer=jft.transfer.Config(options=_LABELED, **_TRAINED),
    evaluation=jft.evaluation.Config(
        task="classification", options=_LABELED, batch_size=16
    ),
)


@pytest.mark.usefixtures("uncompiled")
def test_a_runner_keeps_its_backbone_in_a_bucket(run, server, monkeypatch):
    """Training goes on there, too, and leaves nothing behind."""
    with server.fails("cut", "PUT", ".keras"):
        scores = jft.scaling.Runner(str(run))(RUN)
    assert [path.suffix for path in run.iterdir()] == [".keras", ".seconds"]

    def never(*args, **kwargs):
        raise AssertionError("It was pre-trained twice.")

    monkeypatch.setattr(jft.pretrain, "run", never)
    again = jft.scaling.Runner(str(run))(RUN)
    assert again["top1"] == scores["top1"]
    assert again["pretrain_seconds"] == scores["pretrain_seconds"]
