"""Code of a user, for the type checker of `make lint`: it is never run.

`assert_type` fails if a name is not seen, or has become `Any`. That an error is
found shows in the comments that expect one: the checker reports those which
are not needed.
"""

from typing import Any, assert_type

import numpy as np

import keras_jft as jft

# === Data ===

data = jft.data.load("synthetic", num_examples=100)
assert_type(data, jft.data.Dataset)
assert_type(data.info, jft.data.Info)
assert_type(data.info.label_names, tuple[str, ...])
assert_type(len(data), int)
small = jft.data.subset(data, 10, seed=1)
assert_type(small, jft.data.Dataset)
assert_type(jft.data.NoisyLabels(small, wrong=0.1).wrong, float)
assert_type(jft.data.cache(small), jft.data.Dataset)
tree = jft.data.LabelHierarchy(["animal", "dog"], [("animal", "dog")])
assert_type(tree.close([1]), np.ndarray)
for batch in jft.data.iterate(small, 8, transforms="flip", training=True):
    assert_type(batch, dict[str, Any])
print(data.info.label_name)  # type: ignore[attr-defined]

# === Models: their layers are Keras's, which has no types ===

backbone = jft.ResNet((1, 1, 1, 1), width=16, stem="small", block="basic")
assert_type(backbone, jft.ResNet)
assert_type(jft.ResNet.from_depth(50), jft.backbones.ResNet)
model = jft.MultiLabelClassifier(backbone, num_classes=10)
assert_type(model.get_config(), dict[str, Any])
assert_type(jft.transfer.MeanIoU(3, stride=4), jft.transfer.MeanIoU)
assert_type(jft.FasterRCNN(backbone, 3), jft.FasterRCNN)
jft.Classifier(backbone, "ten")  # type: ignore[arg-type]
print(jft.RestNet)  # type: ignore[attr-defined]

# === Runs ===

config = jft.pretrain.Config(num_examples=300, epochs=2)
assert_type(config.num_examples, int | None)
assert_type(config.peak, float)
evaluation = jft.evaluation.Config(split=None)
run = jft.scaling.Run(
    pretrain=config, transfer=jft.transfer.Config(), evaluation=evaluation
)
assert_type(run.task, str)
runner = jft.scaling.Runner("backbones/")
assert_type(runner(run), dict[str, Any])
assert_type(
    jft.transfer.run(jft.transfer.Config(), backbone), jft.training.Model
)
jft.pretrain.Config(epoch=2)  # type: ignore[call-arg]

# === Metrics ===

assert_type(jft.metrics.MultiLabel(10).result(), dict[str, Any])
assert_type(jft.metrics.MeanAveragePrecision().k, int)
assert_type(jft.evaluation.run(evaluation, model), dict[str, Any])
found = jft.evaluation.duplicates.find(np.eye(3), np.eye(3))
assert_type(found.is_duplicate, np.ndarray)

# === Scaling ===

rows = jft.scaling.read_rows("rows.jsonl")
law = jft.scaling.fit(rows, x="num_examples", y="top1")
assert_type(law, jft.scaling.Law)
assert_type(law.gain_at(10).low, float)
forecast = jft.scaling.forecast(law, worth=0.01)
assert_type(forecast.verdict, str)
assert_type(forecast.headline, str)
assert_type(jft.scaling.table(rows), str)
jft.scaling.forecast(rows)  # type: ignore[arg-type]
