"""All data sets, by name: see `DATASETS`."""

import inspect
import os
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_jft import checks, files
from keras_jft.data.dataset import Dataset, Info
from keras_jft.data.datasets import (
    cvat,
    hugging_face,
    image_folder,
    labelme,
    manifest,
    mask_folder,
    open_images,
    parquet,
    synthetic,
    tfds,
    voc,
    voc_flat,
    voc_segmentation,
    webdataset,
    yolo,
)
from keras_jft.data.datasets.coco import boxes, people
from keras_jft.data.datasets.records import reading
from keras_jft.data.noise import NoisyLabels
from keras_jft.data.parts import part
from keras_jft.data.shrinking import Shrunk
from keras_jft.data.subsets import OnlyLabels, read_ids, with_labels
from keras_jft.typing import PathLike

DATASETS: dict[str, Callable[..., Dataset]] = {
    "synthetic": synthetic.load,
    "image_folder": image_folder.load,
    "manifest": manifest.load,
    "open_images": open_images.load,
    "parquet": parquet.load,
    "mask_folder": mask_folder.load,
    "records": reading.load,
    "camvid": mask_folder.load_camvid,
    "coco": boxes.load,
    "coco_people": people.load,
    "tfds": tfds.load,
    "voc": voc.load,
    "voc_segmentation": voc_segmentation.load,
    "webdataset": webdataset.load,
    "voc_flat": voc_flat.load,
    "yolo": yolo.load,
    "labelme": labelme.load,
    "cvat": cvat.load,
    "hugging_face": hugging_face.load,
}

# The task that the images of a data set are annotated for, if there is just
# one: a key of `jft.metrics.METRICS`.
ANNOTATED_FOR = {
    "image_folder": "classification",
    "open_images": "multi_label",
    "parquet": "multi_label",
    "mask_folder": "segmentation",
    "camvid": "segmentation",
    "voc_segmentation": "segmentation",
    "coco": "detection",
    "voc": "detection",
    "voc_flat": "detection",
    "coco_people": "pose",
}
_TARGETS = {"boxes": "detection", "masks": "segmentation", "keypoints": "pose"}


def annotated_for(name: str, options: Mapping[str, Any]) -> str | None:
    """Return the task that the images of a data set are annotated for.

    Args:
        name: A key of `DATASETS`.
        options: The arguments of its `load`.

    Returns:
        A key of `jft.metrics.METRICS`, or None where there is not just one.

    Example:

    >>> annotated_for("coco", {}), annotated_for("yolo", {"target": "masks"})
    ('detection', 'segmentation')
    """
    if name == "synthetic":
        shown = options.get("task", "many_label")
        return "multi_label" if shown == "many_label" else shown
    if name in ("yolo", "labelme", "cvat"):
        return _TARGETS.get(options.get("target", "boxes"))
    return ANNOTATED_FOR.get(name)


# Options that name one file or folder, with examples.
_PATHS = {
    "directory": "photos",
    "annotations": "annotations/instances_val2017.json",
    "descriptions": "class-descriptions.csv",
    "sbd": "benchmark_RELEASE",
    "images": "{split}/images",
    "masks": "{split}/masks",
}


def check_options(
    name: str,
    options: Mapping[str, Any],
    *,
    split: str | None = "train",
    num_examples: int | None = None,
    complete: bool = False,
) -> None:
    """Check that a data set is known and takes the given options.

    Args:
        name: A key of `DATASETS`.
        options: The arguments of `load` besides `name` and `split`.
        split: The split that they are for.
        num_examples: Size of the subset to draw; None: all.
        complete: Whether required options, such as a folder, must be given;
            otherwise they may follow later.

    Raises:
        ValueError: The data set is unknown, or an option is unknown, missing
            or wrong.
    """
    checks.one_of("dataset", name, DATASETS)
    given = dict(options)
    noise, parts = given.pop("noise", None), given.pop("parts", None)
    _check_parts(parts)
    _check_only_labels(given.pop("only_labels", None))
    if given.pop("longest", None) is not None:
        checks.number("longest", options["longest"], 1, whole=True)
    if not isinstance(noise, (Mapping, types.NoneType)):
        raise ValueError(
            "`noise` must be a mapping of options of `jft.data.NoisyLabels`. "
            f"Received: noise={noise!r}."
        )
    checks.keywords("options", given, DATASETS[name], taken=("split",))
    checks.keywords("noise", noise or {}, NoisyLabels, taken=("data",))
    _check_paths(name, given)
    if complete:
        _check_required(name, given)
    if name == "synthetic":  # Loading reads no files and finds all faults.
        data = load(name, split, **options)
        if num_examples is not None and num_examples > len(data):
            raise ValueError(
                f"`num_examples` must be at most {len(data)}, the size of the "
                f"data set. Received: num_examples={num_examples}. Raise "
                "`num_examples` in `options`."
            )


def _check_parts(parts):
    if parts is not None and (
        not isinstance(parts, Mapping) or set(parts) - {"of"} != {"path"}
    ):
        raise ValueError(
            "`parts` must have the `path` of a file of `write_parts`, and may "
            f"have `of`, the split that is divided. Received: parts={parts!r}."
        )


def _check_only_labels(labels):
    if not isinstance(labels, (str, os.PathLike, list, tuple, types.NoneType)):
        raise ValueError(
            "`only_labels` must be a list of labels, or a file with one per "
            f"line. Received: only_labels={labels!r}."
        )


def load(
    name: str,
    split: str | None = "train",
    *,
    noise: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    longest: int | None = None,
    only_labels: PathLike | Sequence[int | str] | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: A key of `DATASETS`.
        split: The part of it to load; None if it has no parts.
        noise: Options of `jft.data.NoisyLabels`, to study the cost of label
            noise: `{"wrong": 0.2}` makes a fifth of the labels wrong.
        parts: Where the data set has no such split: `{"path": FILE}` of a file
            that `jft.data.write_parts` wrote, whose parts are the splits; and
            `of`, the split that is divided, None by default.
        longest: The longer side of images, at most: larger ones are shrunk
            when they are read, with their boxes and masks.
        only_labels: The labels to keep, renumbered in this order: names, keys
            or ids, or a file with a name or key per line. Images without any of
            them are left out. The paper's Table 6 limits JFT-300M to the 941
            labels of ImageNet (`jft.data.match_labels`).
        **options: The arguments of that data set's own `load`.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: The name is unknown, or as that `load` does.

    Example:

    >>> data = load("synthetic", num_examples=100)
    >>> data[7]["images"].shape
    (32, 32, 3)
    """
    checks.one_of("name", name, DATASETS)
    _check_required(name, options)
    _check_paths(name, options)
    _check_parts(parts)
    _check_only_labels(only_labels)
    whole = split if parts is None else parts.get("of")
    data = DATASETS[name](split=whole, **options)
    if parts is not None:
        data = part(data, parts["path"], split)
    if only_labels is not None:
        kept = (
            read_ids(only_labels).tolist()
            if isinstance(only_labels, (str, os.PathLike))
            else only_labels
        )
        data = OnlyLabels(with_labels(data, kept), kept)
    if longest is not None:
        data = Shrunk(data, longest)
    return data if noise is None else NoisyLabels(data, **noise)


# Those that also read URLs. `tfds` does by itself.
_IN_STORES = ("open_images", "parquet", "records", "tfds", "webdataset")


def _check_paths(name, given):
    """Raise `ValueError` for an option that names files by something else."""
    check = files.check_path if name in _IN_STORES else files.check_local
    parameters = inspect.signature(DATASETS[name]).parameters
    for field in given.keys() & _PATHS.keys() & parameters.keys():
        if given[field] is not None or parameters[field].default is not None:
            check(field, given[field], _PATHS[field])


def _check_required(name, given):
    missing = [
        field
        for field, parameter in inspect.signature(
            DATASETS[name]
        ).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind
        in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and field not in ("split", *given)
    ]
    if missing:
        raise ValueError(
            f"The data set {name!r} needs the options {missing}. Received: "
            f"{list(given)}."
        )


__all__ = [
    "ANNOTATED_FOR",
    "DATASETS",
    "Dataset",
    "Info",
    "annotated_for",
    "check_options",
    "load",
]
