"""COCO results files: detections in the format of its evaluation server.

A file is a JSON list with one record per detection: `image_id`, `category_id`,
`bbox` (x, y, width, height) and `score`.

References:
    https://cocodataset.org/#format-results.
"""

import keras
import numpy as np

from keras_jft import data, files
from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets.json_records import read_json, records_of
from keras_jft.evaluation import evaluator
from keras_jft.typing import PathLike


def save_detections(
    path: PathLike,
    config: evaluator.Config,
    model: keras.Model,
    examples: Dataset | None = None,
) -> int:
    """Write a detector's results on a data set, which needs no annotation.

    Args:
        path: The file, `detections_test-dev2017_NAME_results.json` for COCO.
        config: A `jft.evaluation.Config` of the task "detection".
        model: A detector.
        examples: The data set of `config.dataset`, if it is already loaded,
            such as COCO's test-dev with `annotated=False`. Categories are
            written as `info.category_ids`; if it has none, as class indices.

    Returns:
        The number of detections written.
    """
    files.check_path("path", path, "detections_val2017_net_results.json")
    if examples is None:
        examples = data.load(
            config.dataset, split=config.split, **config.options
        )
    categories = _categories(examples.info)
    records = []
    for originals, found in evaluator.predict(config, model, examples):
        # JSON cannot represent NumPy integers.
        ids = [np.asarray(example["ids"]).item() for example in originals]
        records += _records(ids, found, categories)
    files.write_json(path, records)
    return len(records)


def read_detections(
    path: PathLike, examples: Dataset
) -> list[dict[str, np.ndarray]]:
    """Read and check the detections of a results file.

    Args:
        path: The file.
        examples: The data set that the detections are for.

    Returns:
        A list with one dict per image, in the order of `examples`: `boxes`
        `(N, 4)` x1, y1, x2, y2, `labels` `(N,)` and `scores` `(N,)`, as
        `jft.metrics.evaluate_detection` takes them. An image that the file
        does not mention has no detections.

    Raises:
        ValueError: If a record lacks a field, names an image or a category
            that the data set does not have, or has a number that is not finite
            or a negative side. The error names file, record and field.
    """
    ids = examples.ids(np.arange(len(examples))).tolist()
    places = {name: place for place, name in enumerate(ids)}
    labels = {
        category: label
        for label, category in enumerate(_categories(examples.info))
    }
    found: list[list] = [[] for _ in ids]
    for record in records_of(path, read_json(path), None, "detection"):
        place = _find(record, "image_id", places, "an image of the data set")
        label = _find(record, "category_id", labels, "a category of it")
        x, y, width, height = record.numbers(
            "bbox", 4, "x, y, width and height of a box"
        )
        if width < 0 or height < 0:
            record.fail("bbox", "a width and a height of 0 or more")
        box = x, y, x + width, y + height
        found[place].append((*box, label, record.number("score")))
    tables = [np.array(rows, "float64").reshape(-1, 6) for rows in found]
    return [
        {
            "boxes": table[:, :4],
            "labels": table[:, 4].astype("int64"),
            "scores": table[:, 5],
        }
        for table in tables
    ]


def _find(record, field, table, expected):
    name = record.name(field)
    if name not in table:
        record.fail(field, expected)
    return table[name]


def _categories(info):
    return info.category_ids or range(len(info.label_names))


def _records(ids, found, categories):
    """Return a record for each detection in a batch, without padding."""
    labels = np.asarray(found["labels"])
    corners = np.asarray(found["boxes"], "float64")
    boxes = np.concatenate(
        [corners[..., :2], corners[..., 2:] - corners[..., :2]], axis=-1
    )
    return [
        {
            "image_id": ids[image],
            "category_id": categories[labels[image, row]],
            "bbox": boxes[image, row].tolist(),
            "score": float(found["scores"][image, row]),
        }
        for image, row in zip(*np.nonzero(labels >= 0), strict=True)
    ]
