import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import keras_jft as jft
from keras_jft import evaluation, metrics
from keras_jft.data.datasets import Dataset, Info
from keras_jft.data.transforms import PadTo, Resize, ResizeShortest
from keras_jft.evaluation import evaluator

pytestmark = pytest.mark.usefixtures("uncompiled")


class _Oracle:
    """A model that is right about the first `right` images it is shown."""

    num_classes = 20

    def __init__(self, truth, right):
        self.truth, self.right, self.seen = truth, right, 0

    def predict_on_batch(self, images):
        logits = np.zeros((len(images), self.num_classes), "float32")
        for row in range(len(images)):
            place = self.seen + row
            if place < len(self.truth):
                wrong = place >= self.right
                logits[row, (self.truth[place] + wrong) % 20] = 1.0
        self.seen += len(images)
        return logits


@pytest.mark.parametrize("batch_size", [8, 16, 64])
def test_scores_do_not_depend_on_the_batch_size(batch_size):
    config = jft.evaluation.Config(
        task="classification",
        options={
            "task": "classification",
            "num_examples": 30,
            "image_size": 16,
        },
        batch_size=batch_size,
    )
    data = jft.data.load("synthetic", split="test", **config.options)
    truth = [int(data[i]["labels"]) for i in range(30)]
    scores = jft.evaluation.run(config, _Oracle(truth, right=21))
    assert scores["top1"] == pytest.approx(21 / 30)


class _Rooms(Dataset):
    """Images of several sizes with masks, boxes and keypoints."""

    SIZES = ((16, 24), (20, 12), (9, 30), (32, 32), (24, 16))

    def __init__(self):
        rng = np.random.default_rng(0)
        self.examples = [self._example(rng, *size) for size in self.SIZES]
        self.info = Info(num_examples=len(self.SIZES))

    def _example(self, rng, height, width):
        corners = rng.uniform(0, [width, height], (3, 2, 2))
        boxes = np.sort(corners, axis=1).reshape(3, 4).astype("float32")
        keypoints = rng.uniform([1, 1, 2], [width - 1, height - 1, 2], (4, 3))
        mask = rng.integers(0, 4, (height, width, 1)).astype("uint8")
        return {
            "images": rng.integers(0, 256, (height, width, 3), "uint8"),
            "segmentation_masks": np.where(mask == 3, np.uint8(255), mask),
            "bounding_boxes": {
                "boxes": boxes,
                "labels": np.arange(3, dtype="int32"),
            },
            "keypoints": keypoints.astype("float32"),
        }

    def ids(self, positions):
        return np.asarray(positions)

    def __getitem__(self, position):
        return {**self.examples[position], "ids": position}


@pytest.fixture(scope="module")
def segmenter():
    """An untrained segmenter for images of any size."""
    backbone = jft.ResNet((1, 1, 1, 1), width=16, stem="small", block="basic")
    return jft.DeepLabASPP(backbone, 3, output_stride=4, rates=(1, 2))


def _segmentation(**options):
    return evaluation.Config(task="segmentation", **options)


def test_masks_are_compared_at_the_size_of_each_image(segmenter):
    rooms = _Rooms()
    expected = metrics.Segmentation(num_classes=3)
    for example in rooms.examples:
        masks = segmenter.predict_on_batch(example["images"][None])
        expected.update(example["segmentation_masks"][None], masks)
    found = evaluation.run(_segmentation(batch_size=1), segmenter, rooms)
    np.testing.assert_equal(found, expected.result())


def test_scores_of_resized_and_padded_images_are_those_of_the_originals(
    segmenter,
):
    pixels = sum(
        (r["segmentation_masks"] < 255).sum() for r in _Rooms().examples
    )
    for chain in (
        (Resize((32, 32)),),
        (ResizeShortest(32, 32), PadTo((32, 32))),
        (PadTo(),),
    ):
        scores = [
            evaluation.run(
                _segmentation(transforms=chain, batch_size=size),
                segmenter,
                _Rooms(),
            )
            for size in (2, 5)
        ]
        for score in scores:
            assert score["confusion"].sum() == pixels
        if chain[-1] != PadTo():  # Which pads by what is in the batch.
            np.testing.assert_allclose(
                scores[0]["confusion"], scores[1]["confusion"], atol=2
            )


def test_several_replicas_score_as_one_does(segmenter, tiny_backbone):
    def run(model):
        config = _segmentation(transforms=(Resize((16, 16)),), batch_size=3)
        return evaluation.run(config, model, _Rooms())

    one = jft.DeepLabASPP(tiny_backbone, 3, output_stride=4, rates=(1, 2))
    strategy = jft.training.strategy("mirrored", devices=["CPU:0", "CPU:1"])
    with strategy.scope():
        several = jft.DeepLabASPP(
            tiny_backbone.rebuild(), 3, output_stride=4, rates=(1, 2)
        )
        several.compile("sgd")
    several.set_weights(one.get_weights())
    np.testing.assert_allclose(
        run(several)["confusion"], run(one)["confusion"], atol=2
    )


class _Recorder:
    """A metric that keeps what it is given."""

    def __init__(self, num_classes):
        self.given = []

    def evaluate(self, pairs):
        return {"given": list(pairs)}


class _Seer:
    """Predicts what the transformed images hold."""

    num_classes = 3

    def __init__(self, key, chain):
        self.batches = jft.data.iterate(_Rooms(), 2, transforms=chain)
        self.key, self.number = key, 0

    def predict_on_batch(self, x):
        assert x["image_sizes"].shape == (len(x["images"]), 2)
        found = self.batches.batch(self.number)[self.key]
        self.number += 1
        missing = len(x["images"]) - len(_first(found))
        if isinstance(found, dict):
            found = {**found, "scores": np.ones(found["labels"].shape)}
        else:
            found = {"keypoints": found, "scores": np.ones(len(found))}
        return {
            name: np.concatenate([array, array[-1:].repeat(missing, 0)])
            for name, array in found.items()
        }


def _first(found):
    return found["labels"] if isinstance(found, dict) else found


@pytest.mark.parametrize(
    ("task", "key", "entry"),
    [
        ("detection", "bounding_boxes", "boxes"),
        ("pose", "keypoints", "keypoints"),
    ],
)
def test_boxes_and_keypoints_are_compared_in_original_pixels(
    task, key, entry, monkeypatch
):
    monkeypatch.setitem(metrics.METRICS, task, _Recorder)
    monkeypatch.setitem(
        evaluator.TASKS,
        task,
        evaluator.dataclasses.replace(
            evaluator.TASKS[task],
            truth=lambda originals: [e[key] for e in originals],
            options=lambda model, info: {"num_classes": 3},
            gathered=lambda pairs, info: pairs,
        ),
    )
    chain = (ResizeShortest(40, 80), PadTo())
    config = evaluation.Config(task=task, transforms=chain, batch_size=2)
    given = evaluation.run(config, _Seer(key, chain), _Rooms())["given"]
    assert [len(truth) for truth, _ in given] == [2, 2, 1]
    for truth, predictions in given:
        for i, original in enumerate(truth):
            expected = (
                original[entry] if isinstance(original, dict) else original
            )
            np.testing.assert_allclose(
                predictions[entry][i], expected, atol=1e-4
            )


def _classify(duplicates, right=21):
    options = {"task": "classification", "num_examples": 30, "image_size": 16}
    config = jft.evaluation.Config(
        task="classification", options=options, batch_size=8
    )
    data = jft.data.load("synthetic", split="test", **options)
    truth = [int(data[i]["labels"]) for i in range(30)]
    ids = data.ids(np.arange(30))
    return jft.evaluation.run(
        config, _Oracle(truth, right), data, duplicates=ids[duplicates]
    )


@pytest.mark.parametrize("duplicates", [[], [0, 3, 29], list(range(8))])
def test_scores_come_with_and_without_duplicates(duplicates):
    scores = _classify(duplicates)
    kept = [i for i in range(30) if i not in duplicates]
    assert scores["top1"] == pytest.approx(21 / 30)
    assert scores["top1_without_duplicates"] == pytest.approx(
        sum(i < 21 for i in kept) / len(kept)
    )
    assert scores["num_duplicates"] == len(duplicates)


def test_masks_are_scored_without_duplicates(segmenter):
    rooms = _Rooms()
    expected = metrics.Segmentation(num_classes=3)
    for example in (rooms.examples[i] for i in (0, 2, 4)):
        masks = segmenter.predict_on_batch(example["images"][None])
        expected.update(example["segmentation_masks"][None], masks)
    found = evaluation.run(
        _segmentation(batch_size=1), segmenter, rooms, duplicates=[1, 3]
    )
    np.testing.assert_array_equal(
        found["confusion_without_duplicates"], expected.result()["confusion"]
    )


def test_boxes_are_left_out_with_their_images():
    boxes = {"boxes": np.arange(12).reshape(3, 1, 4), "labels": np.eye(3)}
    left = evaluator._rows(boxes, [0, 2])
    np.testing.assert_array_equal(left["boxes"], boxes["boxes"][[0, 2]])
    np.testing.assert_array_equal(left["labels"], boxes["labels"][[0, 2]])


def test_duplicates_of_no_example_or_of_all_are_refused(segmenter):
    config = _segmentation(batch_size=1)
    for ids, message in (([7], "1 belong to no"), (range(5), "All 5 examples")):
        with pytest.raises(ValueError, match=message):
            evaluation.run(config, segmenter, _Rooms(), duplicates=[*ids])


def test_every_metric_has_its_task():
    assert set(metrics.METRICS) <= set(evaluator.TASKS)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="`task` must be one of"):
        jft.evaluation.Config(task="depth")


def test_the_task_is_that_of_the_model_unless_it_is_given(tiny_backbone):
    config = evaluation.Config()
    for model, task in (
        (jft.Classifier(tiny_backbone, 3), "classification"),
        (jft.MultiLabelClassifier(tiny_backbone, 3), "multi_label"),
    ):
        assert evaluator._task_of(config, model) == task
    given = evaluation.Config(task="multi_label")
    assert evaluator._task_of(given, model) == "multi_label"
    with pytest.raises(ValueError, match="_Oracle does not say what its task"):
        evaluation.run(config, _Oracle([0] * 4, 4))


class _Labels:
    """A model of many labels that has fixed logits for each image."""

    num_classes = 6

    def __init__(self, logits):
        self.logits = logits

    def predict_on_batch(self, images):
        return self.logits[: len(images)]


def _of_labels(folder, names, **splits):
    """Write a manifest of black images; return options of its data set."""
    folder.mkdir(exist_ok=True)
    lines = []
    for split, rows in splits.items():
        for i, labels in enumerate(rows):
            name = f"{split}{i}.png"
            Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(folder / name)
            line = {"image": name, "labels": list(labels), "split": split}
            lines.append(json.dumps(line) + "\n")
    path = folder / "labels.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return {"path": str(path), "label_names": names}


# Some classes are only in the training set, or nowhere.
@pytest.mark.filterwarnings("ignore:.* in no row of:UserWarning")
@pytest.mark.parametrize("map_weights", ["train", "frequency"])
def test_classes_count_as_often_as_the_training_set_has_them(
    tmp_path, map_weights
):
    names = list("abcdef")
    train = ["a", "ab", "abc", "ac", "f"]  # a 4, b 2, c 2, f 1.
    test = ["a", "b", "ac", "ad"]
    options = _of_labels(tmp_path, names, train=train, test=test)
    logits = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    config = jft.evaluation.Config(
        task="multi_label",
        dataset="manifest",
        options=options,
        batch_size=4,
        map_weights=map_weights,
    )
    scores = jft.evaluation.run(config, _Labels(logits))
    # By hand: d counts nothing, since the training set lacks it.
    each = []
    for name in names:
        order = np.argsort(-logits[:, names.index(name)])
        hits = np.array([name in test[i] for i in order])
        precision = np.cumsum(hits) / np.arange(1, 5)
        each.append(precision[hits].mean() if hits.any() else np.nan)
    weighted = (4 * each[0] + 2 * each[1] + 2 * each[2]) / 8
    assert scores["weighted_map"] == pytest.approx(weighted)
    assert scores["map"] == pytest.approx(np.nanmean(each))
    assert scores["weighted_map"] != pytest.approx(scores["map"], abs=1e-3)


# Some classes are only in the training set, or nowhere.
@pytest.mark.filterwarnings("ignore:.* in no row of:UserWarning")
def test_weights_are_those_of_classes_of_the_same_name(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    of_train = _of_labels(one, ["b", "a", "x"], train=["xa", "a", "b"])
    options = _of_labels(other, list("abcdef"), test=["a", "b"])
    source = {"dataset": "manifest", "options": of_train, "split": "train"}
    info = jft.data.load("manifest", "test", **options).info
    weights = jft.data.class_weights(source, info, "manifest", options)
    np.testing.assert_array_equal(weights, [2, 1, 0, 0, 0, 0])
    others = dataclasses.replace(info, label_names=("p", "q"))
    with pytest.raises(ValueError, match=r"classes that are measured.*'p'"):
        jft.data.class_weights(source, others, "manifest", options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "detection"}, "are for the task 'multi_label'"),
        ({"metric_options": {"variant": "B"}}, "precision of each class"),
        ({"map_weights": {"split": "train"}}, "a mapping with `dataset`"),
        ({"map_weights": {"dataset": "no such"}}, "`dataset` must be one of"),
    ],
)
def test_weights_of_classes_that_cannot_be_are_refused(options, said):
    options = {"task": "multi_label", "map_weights": "train"} | options
    with pytest.raises(ValueError, match=said):
        jft.evaluation.Config(**options)
