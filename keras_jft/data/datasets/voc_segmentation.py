"""Pascal VOC segmentation, and its training set augmented by SBD.

`VOCdevkit/VOC2012` has `ImageSets/Segmentation/train.txt`, `JPEGImages` and
`SegmentationClass/*.png`, palette images of 21 classes with void outlines. The
Semantic Boundaries Dataset (`benchmark_RELEASE/dataset`) has masks of 11,355
VOC images in `cls/*.mat`, without void.

References:
    Everingham et al. 2015, https://doi.org/10.1007/s11263-014-0733-5.
    Hariharan et al. 2011, "Semantic Contours from Inverse Detectors",
    https://doi.org/10.1109/ICCV.2011.6126343 (SBD).
"""

from pathlib import Path

from keras_jft.data.dataset import Dataset
from keras_jft.data.datasets import voc
from keras_jft.data.datasets.mask_folder import MaskedImages, files
from keras_jft.typing import PathLike

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def load(
    split: str | None = "train",
    *,
    directory: PathLike,
    sbd: PathLike | None = None,
    orientation: str | None = None,
) -> Dataset:
    """Load the images and masks of a split, in the order of their names.

    The mask of an image is VOC's own if there is one, else the one in the
    folder `SegmentationClassAug`, if that exists, else SBD's.

    Args:
        split: Name of a list in `ImageSets/Segmentation`: "train" (1,464
            images), "val" (1,449) or "trainval". "trainaug" (10,582) needs no
            list: it is VOC's train and SBD's train and val without VOC's val.
        directory: The folder `VOC2012`, or the folder that contains it.
        sbd: The folder `benchmark_RELEASE` of SBD, or its `dataset`.
        orientation: As for `mask_folder.load`.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are the names in the list.

    Raises:
        ValueError: As `MaskedImages` does, or a folder, a list or an image is
            missing.

    References:
        Sun et al. 2017, section 5.3 (trainaug and val).
    """
    folder = _inside(directory, "ImageSets/Segmentation", "VOC2012")
    sbd = None if sbd is None else _inside(sbd, "cls", "dataset")
    listed = _listed(folder, split, sbd)
    voc.check_images(folder, listed)
    paths = voc.image_paths(listed)
    return MaskedImages(
        dict(zip(listed, paths, strict=True)),
        _masks(folder, sbd),
        CLASSES,
        orientation=orientation,
    )


def _inside(directory, wanted, name):
    """Return `directory`, or the folder `name` in it, that has `wanted`."""
    for folder in (Path(directory), Path(directory, name)):
        if (folder / wanted).is_dir():
            return folder
    raise ValueError(
        f"{str(directory)!r}, or {name!r} in it, must have the folder "
        f"{wanted!r}. Check `directory` and `sbd`."
    )


def _listed(folder, split, sbd):
    """Return the images of a split, as `voc.read_list` does."""
    images = voc.images_in(folder)

    def listed(name):
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        if path.is_file():
            return voc.read_list(path, images)
        there = sorted(other.stem for other in path.parent.glob("*.txt"))
        raise ValueError(
            f"{str(path)!r} is missing; there are {there}. Check `split`"
            + ("; pass `sbd`." if name == "trainaug" else ".")
        )

    if split != "trainaug" or sbd is None:
        return listed(split)
    augmented = listed("train")
    for name in ("train", "val"):
        augmented |= voc.read_list(sbd / f"{name}.txt", images)
    names = sorted(augmented.keys() - listed("val").keys())
    return {name: augmented[name] for name in names}


def _masks(folder, sbd):
    """Return `{name: path}`; the source read last wins."""
    masks = {}
    if sbd is not None:
        masks |= files(sbd / "cls", suffixes=(".mat",))
    for name in ("SegmentationClassAug", "SegmentationClass"):
        if (folder / name).is_dir():
            masks |= files(folder / name, suffixes=(".png",))
    return masks
