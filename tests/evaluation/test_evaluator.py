import numpy as np
import pytest

import keras_jft as jft


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


def test_a_segmenter_is_measured_at_the_size_of_its_images(tiny_backbone):
    config = jft.evaluation.Config(
        task="segmentation",
        options={
            "task": "segmentation",
            "num_examples": 6,
            "image_size": 16,
        },
        batch_size=4,
    )
    model = jft.DeepLabASPP(tiny_backbone, 9, output_stride=4, rates=(1, 2))
    data = jft.data.load("synthetic", split="test", **config.options)
    examples = [data[i] for i in range(6)]
    masks = np.stack([e["segmentation_masks"] for e in examples])
    images = np.stack([e["images"] for e in examples])
    expected = jft.metrics.evaluate_segmentation(
        masks, model.predict(images, verbose=0), num_classes=9
    )
    scores = jft.evaluation.run(config, model)
    assert scores["miou"] == pytest.approx(expected["miou"])


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="`task` must be one of"):
        jft.evaluation.Config(task="depth")
