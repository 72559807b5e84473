import concurrent.futures
import dataclasses
import gc
import multiprocessing
import pickle
import shutil
import weakref

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

import keras_jft as jft
from keras_jft.scaling.study import runs
from keras_jft.scaling.study.config_id import config_id

pytestmark = pytest.mark.usefixtures("uncompiled")

OPTIONS = {"image_size": 16, "num_examples": 32}
RUN = jft.scaling.Run(
    pretrain=jft.pretrain.Config(
        options=OPTIONS,
        num_examples=32,
        image_size=(16, 16),
        dtype="float32",
        batch_size=16,
        epochs=1,
    ),
    transfer=jft.transfer.Config(
        options={**OPTIONS, "task": "classification"},
        image_size=(16, 16),
        dtype="float32",
        batch_size=16,
        epochs=1,
    ),
    evaluation=jft.evaluation.Config(
        task="classification",
        options={**OPTIONS, "task": "classification"},
        batch_size=16,
    ),
)


def _arrays(model):
    return [ops.convert_to_numpy(v) for v in model.weights]


def test_a_backbone_is_trained_once_and_then_read(tmp_path, monkeypatch):
    trained = jft.scaling.Runner(tmp_path).backbone(RUN.pretrain)
    kept = sorted(path.suffix for path in tmp_path.iterdir())
    assert kept == [".claims", ".keras", ".seconds"]

    def never(*args, **kwargs):
        raise AssertionError("It was pre-trained twice.")

    monkeypatch.setattr(jft.pretrain, "run", never)
    read = jft.scaling.Runner(tmp_path).backbone(RUN.pretrain)
    for ours, theirs in zip(_arrays(trained), _arrays(read), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _pretrain_nothing(monkeypatch):
    """Make a backbone of random weights; return where each config is noted."""
    trained = []

    def train(config, examples, **options):
        trained.append(config)
        return jft.pretrain.backbone(config)

    monkeypatch.setattr(jft.pretrain, "run", train)
    return trained


def test_a_backbone_of_changed_files_is_trained_again(
    tmp_path, monkeypatch, rng
):
    images = rng.integers(0, 256, (2, 16, 16, 3), "uint8")
    of_files = _folder(tmp_path / "photos", images)
    config = dataclasses.replace(RUN.pretrain, **of_files, num_examples=None)
    trained = _pretrain_nothing(monkeypatch)
    monkeypatch.setattr(jft.scaling.Runner, "examples", lambda *_: None)
    kept = tmp_path / "kept"
    for _ in range(2):
        jft.scaling.Runner(kept).backbone(config)
    assert len(trained) == 1
    _folder(tmp_path / "photos", images[:1] // 2)
    _folder(tmp_path / "photos" / "more", images)
    for _ in range(2):
        jft.scaling.Runner(kept).backbone(config)
    assert len(trained) == 2
    # One of before, that does not say, is taken as it is.
    (file,) = kept.glob("*.files")
    file.unlink()
    jft.scaling.Runner(kept).backbone(config)
    assert len(trained) == 2


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    _pretrain_nothing(monkeypatch)
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        jft.scaling.Runner(tmp_path).backbone(RUN.pretrain)
    # But for the empty file whose lock the trainer held.
    assert [path.name for path in tmp_path.iterdir()] == ["backbones.claims"]


def test_a_row_has_its_columns_and_a_model_is_compiled_once(tmp_path):
    runner = jft.scaling.Runner(tmp_path / "backbones")
    runs = [
        dataclasses.replace(
            RUN,
            pretrain=dataclasses.replace(RUN.pretrain, num_examples=size),
            transfer=dataclasses.replace(RUN.transfer, seed=seed),
        )
        for size, seed in ((0, 0), (32, 1))
    ]
    rows = jft.scaling.Study(runs, tmp_path / "rows.jsonl", run=runner).run()
    for row, size, seed in zip(rows, (0, 32), (0, 1), strict=True):
        assert row["task"] == "classification"
        assert row["mode"] == "fine_tuned"
        assert (row["num_examples"], row["seed"]) == (size, seed)
        assert 0 <= row["top1"] <= 1
    assert len(runner._models) == 1


def test_models_that_serve_no_other_run_are_given_up(tmp_path, monkeypatch):
    """Each run has a size of batches of its own, so that none shares."""
    monkeypatch.setattr(runs, "MODELS", 2)
    runner = jft.scaling.Runner(tmp_path / "backbones")
    models = []
    for batch_size in (16, 24, 32):
        transfer = dataclasses.replace(RUN.transfer, batch_size=batch_size)
        runner(dataclasses.replace(RUN, transfer=transfer))
        models += [weakref.ref(list(runner._models.values())[-1])]
    gc.collect()
    assert [model() is None for model in models] == [True, False, False]


class Keeping(jft.scaling.Runner):
    """Tells with each run how many data sets and models it had kept before."""

    def __call__(self, run):
        kept = {"data_sets": len(self._examples), "models": len(self._models)}
        return {**super().__call__(run), **kept}


def _uncompiled():
    """Let a worker take steps as this process does, see `uncompiled`."""
    always = property(lambda self: True, lambda self, value: None)
    jft.training.Model.run_eagerly = always


@pytest.mark.slow
def test_a_worker_of_a_process_pool_scores_as_this_process_does(tmp_path):
    runs = [
        dataclasses.replace(
            RUN, transfer=dataclasses.replace(RUN.transfer, seed=seed)
        )
        for seed in (0, 1)
    ]
    runner = Keeping(tmp_path / "backbones")
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_uncompiled
    ) as executor:
        there = jft.scaling.Study(runs, tmp_path / "there", runner).run(
            executor
        )
    # Of the backbone that the worker has pre-trained.
    here = jft.scaling.Study(runs, tmp_path / "here", runner).run()
    for ours, theirs in zip(here, there, strict=True):
        assert ours["top1"] == theirs["top1"]
        assert ours["pretrain_seconds"] == theirs["pretrain_seconds"]
    # The second run had the decoded images and the model of the first.
    assert [row["models"] for row in there] == [0, 1]
    assert there[0]["data_sets"] == 0 < there[1]["data_sets"]


class Labeled(jft.scaling.Runner):
    """A runner with something of its own."""

    def __init__(self, *arguments, label, **options):
        super().__init__(*arguments, **options)
        self.label = label


def test_a_runner_that_was_sent_is_kept_from_run_to_run(tmp_path):
    runner = Labeled(
        tmp_path, 2, threshold=0.9, tensorboard=True, label={"arm": "base"}
    )
    received = [pickle.loads(pickle.dumps(runner)) for _ in range(2)]
    assert received[0] is received[1] is not runner
    assert isinstance(received[0], Labeled)
    for name in ("directory", "verbose", "threshold", "tensorboard", "label"):
        assert getattr(received[0], name) == getattr(runner, name)
    # Another one may be for other files: what was kept is let go.
    other = pickle.loads(pickle.dumps(jft.scaling.Runner(tmp_path)))
    assert other is not received[0]


def test_another_net_or_recipe_is_another_model(tmp_path, monkeypatch):
    def build(config, backbone, examples, model, callbacks, verbose):
        config = dataclasses.replace(config, num_classes=3)
        return model or jft.transfer.build(config, backbone)

    monkeypatch.setattr(jft.transfer, "run", build)
    runner = jft.scaling.Runner(tmp_path)
    pretrain = dataclasses.replace(RUN.pretrain, num_examples=0)
    base = dataclasses.replace(RUN, pretrain=pretrain)
    momentum = dataclasses.replace(pretrain, bn_momentum=0.5)
    faster = dataclasses.replace(RUN.transfer, learning_rate=0.5)
    runs = [
        base,
        dataclasses.replace(base, pretrain=momentum),
        dataclasses.replace(base, transfer=faster),
    ]
    models = [
        runner._transferred(run, runner.backbone(run.pretrain))
        for run in [*runs, base]
    ]
    assert len({id(model) for model in models}) == len(runs)
    assert models[-1] is models[0]
    assert models[1].backbone.get_config() != models[0].backbone.get_config()


def test_a_row_says_what_its_run_takes_with_its_pre_training(tmp_path):
    runner = jft.scaling.Runner(tmp_path)
    first, again = runner(RUN), runner(RUN)
    assert first["pretrain_seconds"] > 0
    # Trained once, and counted for each.
    assert again["pretrain_seconds"] == first["pretrain_seconds"]
    for row in (first, again):
        assert row["device_seconds"] > row["pretrain_seconds"]
    # Of a backbone that came without, nothing is said.
    for path in tmp_path.glob("*.seconds"):
        path.unlink()
    assert "device_seconds" not in runner(RUN)
    pretrain = dataclasses.replace(RUN.pretrain, num_examples=0)
    random = runner(dataclasses.replace(RUN, pretrain=pretrain))
    assert random["pretrain_seconds"] == 0 < random["device_seconds"]


def _folder(folder, images):
    for i, image in enumerate(images):
        path = folder / "a" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return {"dataset": "image_folder", "options": {"directory": str(folder)}}


def _of_folders(tmp_path, rng):
    """Four evaluation images, of which the pre-training set has two."""
    images = rng.integers(0, 256, (8, 16, 16, 3), "uint8")
    images[6] = images[1, :, ::-1]
    images[7] = images[3]
    old = _folder(tmp_path / "old", images[4:])
    new = _folder(tmp_path / "new", images[:4])
    return dataclasses.replace(
        RUN,
        pretrain=dataclasses.replace(RUN.pretrain, **old),
        evaluation=dataclasses.replace(RUN.evaluation, split=None, **new),
    )


def test_duplicates_are_looked_for_where_sources_differ(tmp_path, rng):
    run = _of_folders(tmp_path, rng)
    runner = jft.scaling.Runner(tmp_path / "kept")
    runner._examples[config_id(runs._data(run.pretrain))] = jft.data.load(
        "image_folder", split=None, **run.pretrain.options
    )
    assert sorted(runner.duplicates(run)) == ["a/1.png", "a/3.png"]
    assert (tmp_path / "kept" / "embeddings").is_dir()
    page = tmp_path / "kept" / "duplicates" / "classification.html"
    assert "2 have a near-duplicate" in page.read_text(encoding="utf-8")
    assert runner.duplicates(RUN) is None
    off = jft.scaling.Runner(tmp_path / "kept", threshold=None)
    assert off.duplicates(run) is None


def test_a_row_has_scores_without_duplicates(tmp_path, monkeypatch):
    runner = jft.scaling.Runner(tmp_path)
    data = runner.examples(RUN.evaluation)
    monkeypatch.setattr(runner, "duplicates", lambda run: data.ids([0, 5]))
    row = runner(
        dataclasses.replace(
            RUN, pretrain=dataclasses.replace(RUN.pretrain, num_examples=0)
        )
    )
    assert row["num_duplicates"] == 2
    assert 0 <= row["top1_without_duplicates"] <= 1


def test_the_images_of_a_run_are_those_of_its_pre_training():
    longer = dataclasses.replace(RUN.pretrain, epochs=3)
    steps = dataclasses.replace(RUN.pretrain, epochs=None, steps=10)
    random = dataclasses.replace(steps, num_examples=0)
    seen = [
        dataclasses.replace(RUN, pretrain=config).images
        for config in (RUN.pretrain, longer, steps, random)
    ]
    assert seen == [32, 96, 160, 0]


@pytest.mark.slow
def test_a_run_takes_any_backbone(tmp_path):
    """A net of KerasHub out of a preset: pre-trained, kept, transferred."""
    import keras_hub

    net = keras_hub.models.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 1, 1, 1],
        stackwise_strides=[2, 2, 2, 2],
        stackwise_num_filters=[8, 16, 16, 32],
        block_type="dark_block",
        stage_type="dark",
        image_shape=(32, 32, 3),
    )
    net.save_to_preset(str(tmp_path / "preset"))
    pretrained = dataclasses.replace(
        RUN.pretrain,
        backbone=f"hub/{tmp_path / 'preset'}",
        backbone_options={"scaling": "torch", "fused": True},
    )
    frozen = dataclasses.replace(
        RUN.transfer, mode="frozen", multipliers="layerwise:0.75"
    )
    run = dataclasses.replace(RUN, pretrain=pretrained, transfer=frozen)
    runner = jft.scaling.Runner(tmp_path / "backbones")
    scores = runner(run)
    assert 0 <= scores["top1"] <= 1
    kept = runner.backbone(pretrained)
    assert kept.image_shape == (16, 16, 3)
    assert kept.scaling == "torch"


TWO_EPOCHS = dataclasses.replace(
    RUN, transfer=dataclasses.replace(RUN.transfer, epochs=2)
)


class _Watch(keras.callbacks.Callback):
    """Notes epochs and weights; ends the process before a certain epoch."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.epochs, self.weights = stop, [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.stop:
            raise KeyboardInterrupt
        self.epochs.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(_arrays(self.model))


def _watched(monkeypatch, directory, run, stop=None, **options):
    runner, watch = jft.scaling.Runner(directory, **options), _Watch(stop)
    logs = runner._logs
    monkeypatch.setattr(
        runner,
        "_logs",
        lambda config: [*logs(config), *([watch] if config == run else [])],
    )
    return runner, watch


def test_a_transfer_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    runner, watch = _watched(
        monkeypatch, tmp_path / "whole", TWO_EPOCHS, tensorboard=True
    )
    expected = runner(TWO_EPOCHS)
    assert watch.epochs == [0, 1]
    logs = (tmp_path / "whole" / "tensorboard").rglob("*tfevents*")
    assert len({path.parents[1] for path in logs}) == 2
    # The same backbone, not trained again.
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    runner, watch = _watched(monkeypatch, tmp_path / "cut", TWO_EPOCHS, stop=1)
    with pytest.raises(KeyboardInterrupt):
        runner(TWO_EPOCHS)
    runner, watch = _watched(monkeypatch, tmp_path / "cut", TWO_EPOCHS)
    found = runner(TWO_EPOCHS)
    assert watch.epochs == [1]
    assert found["top1"] == expected["top1"]
    np.testing.assert_array_equal(found["per_class"], expected["per_class"])
    assert not any((tmp_path / "cut").glob("*.unfinished"))


def test_the_best_epoch_of_a_transfer_counts(tmp_path, monkeypatch):
    scores = iter([0.9, 0.1])
    monkeypatch.setattr(
        jft.evaluation.Evaluate,
        "on_epoch_end",
        lambda self, epoch, logs: logs.update(val_top1=next(scores)),
    )
    run = dataclasses.replace(TWO_EPOCHS, validation=RUN.evaluation)
    assert config_id(run) != config_id(TWO_EPOCHS)
    pretrain = dataclasses.replace(RUN.pretrain, num_examples=0)
    run = dataclasses.replace(run, pretrain=pretrain)
    runner, watch = _watched(monkeypatch, tmp_path, run)
    runner(run)
    (model,) = runner._models.values()
    trained = [
        not np.array_equal(first, last)
        for first, last in zip(*watch.weights, strict=True)
    ]
    assert any(trained)
    for ours, best in zip(_arrays(model), watch.weights[0], strict=True):
        np.testing.assert_array_equal(ours, best)


# === Pre-trainings on the way of others ===

LONG = dataclasses.replace(
    RUN.pretrain, schedule="staircase", epochs=None, steps=5
)


def test_a_shorter_pre_training_is_the_start_of_a_longer_one(
    tmp_path, monkeypatch
):
    shorter = dataclasses.replace(LONG, steps=3)
    alone = jft.scaling.Runner(tmp_path / "alone").backbone(shorter)
    runner = jft.scaling.Runner(tmp_path / "way", shorter=[shorter])
    whole = _arrays(runner.backbone(LONG))
    monkeypatch.setattr(jft.pretrain, "run", None)  # None is left to train.
    kept = _arrays(runner.backbone(shorter))
    for ours, theirs in zip(kept, _arrays(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert not np.allclose(kept[0], whole[0], atol=1e-4)
    took = [
        float(runner._path(config, ".seconds").read_text())
        for config in (shorter, LONG)
    ]
    assert 0 < took[0] < took[1]


def test_what_depends_on_its_length_is_no_start_of_another():
    shorter = dataclasses.replace(LONG, steps=3)
    assert runs._is_start(shorter, LONG)
    assert not runs._is_start(LONG, shorter)
    assert not runs._is_start(dataclasses.replace(shorter, seed=1), LONG)
    cosine = [
        dataclasses.replace(c, schedule="cosine") for c in (shorter, LONG)
    ]
    assert not runs._is_start(*cosine)


def test_a_pre_training_is_measured_on_the_way(tmp_path):
    monitor = jft.evaluation.Config(
        task="multi_label",
        options=OPTIONS,
        batch_size=32,
        map_weights="train",
    )
    runner = jft.scaling.Runner(tmp_path, monitor=monitor, every=2)
    run = dataclasses.replace(RUN, pretrain=LONG)
    row = runner(run)
    log = jft.training.read_log(runner._path(LONG, ".log.jsonl"))
    assert [line["step"] for line in log] == [2, 4, 5]
    assert all(np.isfinite(line["loss"]) for line in log)
    assert row["pretrain_weighted_map"] == log[-1]["val_weighted_map"]
    assert 0 < row["pretrain_map"] < 1


def test_a_pre_training_that_another_starts_from_is_trained_first(
    tmp_path, monkeypatch
):
    trained = _pretrain_nothing(monkeypatch)
    before = dataclasses.replace(RUN.pretrain, seed=3)
    after = dataclasses.replace(RUN.pretrain, initial=before)
    runner = jft.scaling.Runner(tmp_path)
    runner.backbone(after)
    assert trained == [before, after]
    # What a run takes on its own has both.
    for config in trained:
        runner._path(config, ".seconds").write_text("10")
    assert runner._seconds(after, 1.0)["pretrain_seconds"] == 20
    assert config_id(dataclasses.replace(after, initial=None)) == config_id(
        RUN.pretrain
    )
    nothing = dataclasses.replace(after, num_examples=0)
    for ours, theirs in zip(
        _arrays(runner.backbone(nothing)),
        _arrays(runner.backbone(before)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_chooses_the_learning_rate_that_does_best_on_other_images(
    tmp_path, monkeypatch
):
    held_out = dataclasses.replace(RUN.evaluation, split="train")
    search = jft.scaling.RateSearch(
        rates=(0.001, 0.03, 0.1), transfer=RUN.transfer, evaluation=held_out
    )
    run = dataclasses.replace(RUN, search=search)
    runner, used = jft.scaling.Runner(tmp_path, threshold=None), []

    def transferred(run, backbone):
        used.append(run.transfer.learning_rate)
        return used[-1]

    def measured(config, model, examples, duplicates=None):
        assert config.split == ("train" if len(used) < 4 else "test")
        return {"top1": {0.001: 0.2, 0.03: 0.6, 0.1: np.nan}[model]}

    monkeypatch.setattr(runner, "_transferred", transferred)
    monkeypatch.setattr(runner, "backbone", lambda config: None)
    monkeypatch.setattr(jft.evaluation, "run", measured)
    row = runner(run)
    assert used == [0.001, 0.03, 0.1, 0.03]
    assert row["learning_rate"] == 0.03 and row["top1"] == 0.6
    assert list(row["rates_tried"]) == ["0.001", "0.03", "0.1"]
    assert config_id(dataclasses.replace(run, search=None)) == config_id(RUN)
    with pytest.raises(ValueError, match="two or more"):
        dataclasses.replace(search, rates=(0.1,))


def test_images_that_do_not_fit_are_read_anew(tmp_path):
    config = RUN.pretrain
    kept = jft.scaling.Runner(tmp_path).examples(config)
    anew = jft.scaling.Runner(tmp_path, in_memory=False).examples(config)
    assert type(kept).__name__ == "Cache" and type(anew).__name__ != "Cache"
    np.testing.assert_array_equal(kept[3]["images"], anew[3]["images"])
