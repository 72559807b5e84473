"""From raw outputs to losses and detections, on both backends."""

import keras
import numpy as np
import numpy_rcnn
import pytest
from keras import ops

# Sooner than a graph where each is called once; JAX compiles each operation.
EAGER = keras.backend.backend() == "tensorflow"


def _anchors(model):
    features = ops.zeros((1, 8, 8, 64))
    return ops.convert_to_numpy(model.get_layer("rpn_anchors")(features))


def _numpy_losses(model, batch, outputs):
    """The four parts of the loss: class and box, of anchors and proposals."""
    entry = batch["bounding_boxes"]
    anchors, total = _anchors(model), np.zeros(4)
    for i in range(len(batch["images"])):
        boxes, labels = entry["boxes"][i], entry["labels"][i]
        truth = boxes, labels, entry["ignored"][i]
        inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2:] <= 32).all(1)
        total[:2] += numpy_rcnn.stage_losses(
            numpy_rcnn.match(anchors, *truth, 0.7, 0.3, inside),
            boxes,
            np.ones(len(boxes), int),
            anchors,
            outputs["rpn_logits"][i],
            lambda a, n, i=i: outputs["rpn_codes"][i, a],
        )
        proposals = outputs["proposals"][i]
        proposals = proposals[proposals.any(-1)]
        total[2:] += numpy_rcnn.stage_losses(
            numpy_rcnn.match(proposals, *truth, 0.5, 0.5),
            boxes,
            labels + 1,
            proposals,
            outputs["head_logits"][i],
            lambda a, n, i=i, labels=labels: outputs["head_codes"][
                i, a, labels[n]
            ],
        )
    return total * [1, 2, 1, 2] / len(batch["images"])


def _varied(model):
    """A model whose codes and scores differ from box to box."""
    for name in ("rpn_logits", "rpn_codes", "head_logits", "head_codes"):
        kernel = model.get_layer(name).kernel
        kernel.assign(
            keras.random.normal(kernel.shape, stddev=0.3, seed=len(name))
        )
    return model


@pytest.mark.ops
def test_the_loss_is_that_of_the_loops(exhaustive, batch):
    # So many that some stand for an object, whatever the weights.
    model = exhaustive(num_proposals=60, head_samples=4 * 60)
    model.compile("sgd", run_eagerly=EAGER)
    outputs = model.predict(batch["images"], logits=True, verbose=0)
    loss = model.evaluate(batch, batch_size=3, verbose=0)
    expected = _numpy_losses(model, batch, outputs)
    assert (expected > 0).all()
    np.testing.assert_allclose(loss, expected.sum(), rtol=1e-4)


@pytest.mark.ops
def test_proposals_and_detections_are_those_of_the_loops(detector, batch):
    model = _varied(detector())
    model.run_eagerly = EAGER
    sizes = np.array([[32, 32], [20, 32], [32, 12]], "int32")
    padded = {"images": batch["images"], "image_sizes": sizes}
    outputs = model.predict(padded, logits=True, verbose=0)
    found = model.predict(padded, verbose=0)
    anchors = _anchors(model)
    for i, size in enumerate(sizes):
        boxes = [
            numpy_rcnn.decode(code, anchor, size)
            for code, anchor in zip(
                outputs["rpn_codes"][i], anchors, strict=True
            )
        ]
        scores = numpy_rcnn.softmax(outputs["rpn_logits"][i])[:, 1]
        is_left = [(b[:2] < b[2:]).all() for b in boxes]
        kept = numpy_rcnn.suppress(boxes, np.where(is_left, scores, 0), 0.7, 12)
        proposals = outputs["proposals"][i]
        np.testing.assert_allclose(
            proposals, [boxes[k] for k in kept], atol=1e-3
        )
        ranked = []
        probabilities = numpy_rcnn.softmax(outputs["head_logits"][i])
        for c in range(3):
            boxes = [
                numpy_rcnn.decode(code, proposal, size)
                for code, proposal in zip(
                    outputs["head_codes"][i, :, c], proposals, strict=True
                )
            ]
            is_left = [(b[:2] < b[2:]).all() for b in boxes]
            scores = np.where(is_left, probabilities[:, c + 1], 0)
            for k in numpy_rcnn.suppress(boxes, scores, 0.6, 100):
                ranked.append((scores[k], c, *boxes[k]))
        ranked = np.array(sorted(ranked, reverse=True)[:20])
        n = len(ranked)
        np.testing.assert_allclose(found["scores"][i][:n], ranked[:, 0], 1e-4)
        np.testing.assert_array_equal(found["labels"][i][:n], ranked[:, 1])
        np.testing.assert_allclose(
            found["boxes"][i][:n], ranked[:, 2:], atol=1e-2
        )
        assert (found["labels"][i][n:] == -1).all()
