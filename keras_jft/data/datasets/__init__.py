"""The data sets; `DATASETS` is the table of what there is."""

from keras_jft import checks
from keras_jft.data.datasets import (
    camvid,
    coco,
    coco_people,
    image_folder,
    manifest,
    mask_folder,
    open_images,
    parquet,
    records,
    synthetic,
    tfds,
    voc,
    voc_segmentation,
    webdataset,
)
from keras_jft.data.datasets.dataset import Dataset, Info
from keras_jft.data.noise import NoisyLabels

DATASETS = {
    "synthetic": synthetic.load,
    "image_folder": image_folder.load,
    "manifest": manifest.load,
    "open_images": open_images.load,
    "parquet": parquet.load,
    "mask_folder": mask_folder.load,
    "records": records.load,
    "camvid": camvid.load,
    "coco": coco.load,
    "coco_people": coco_people.load,
    "tfds": tfds.load,
    "voc": voc.load,
    "voc_segmentation": voc_segmentation.load,
    "webdataset": webdataset.load,
}


def check_options(name, options):
    """Raises a ValueError if a data set is unknown or takes no such options.

    Args:
        name: A key of `DATASETS`.
        options: What `load` takes besides `name` and `split`; what is missing
            may be given later.
    """
    checks.one_of("dataset", name, DATASETS)
    options = dict(options)
    noise = options.pop("noise", None) or {}
    checks.keywords("options", options, DATASETS[name], taken=("split",))
    checks.keywords("noise", noise, NoisyLabels, taken=("data",))


def load(name, split="train", *, noise=None, **options):
    """A data set by name.

    Args:
        name: A key of `DATASETS`.
        split: The part of it to load; None where it has no parts.
        noise: What `jft.data.NoisyLabels` takes besides the data set, to study
            what noise costs: `{"wrong": 0.2}` has a fifth of the labels wrong.
        **options: What that data set's own `load` takes.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: If the name is unknown, or as that `load` does.

    Example:

    >>> data = load("synthetic", num_examples=100)
    >>> data[7]["images"].shape
    (32, 32, 3)
    """
    checks.one_of("name", name, DATASETS)
    data = DATASETS[name](split=split, **options)
    return data if noise is None else NoisyLabels(data, **noise)


__all__ = ["DATASETS", "Dataset", "Info", "check_options", "load"]
