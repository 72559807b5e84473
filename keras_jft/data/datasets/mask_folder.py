"""Images and their masks in two folders: `directory/images`, `.../masks`."""

import numbers
from pathlib import Path

from keras_jft import checks
from keras_jft.data.datasets.masked_images import MaskedImages, files
from keras_jft.data.label_names import checked_names
from keras_jft.files import check_split


def load(
    directory,
    split=None,
    *,
    classes,
    images=None,
    masks=None,
    endings=("", ""),
    void=(),
    colors=None,
    allow_void=False,
    image_size=None,
    orientation=None,
):
    """The images of a folder and their masks, in the order of their names.

    A mask is a PNG of class indices (gray or with a palette), void 255, that
    has the path of its image but for the suffix. Sub-folders are looked into.

    | data set | arguments |
    |---|---|
    | CamVid | `images="{split}", masks="{split}annot", void=(11,)` |
    | Cityscapes | `images="leftImg8bit/{split}", masks="gtFine/{split}",` |
    | | `endings=("_leftImg8bit", "_gtFine_labelTrainIds")` |
    | COCO-Stuff | `images="{split}2017", masks="stuffthingmaps/{split}2017",` |
    | | `classes=182` |

    Args:
        directory: Folder that the two folders are in.
        split: What `{split}` in their names stands for.
        classes: One name a class, in the order of its value, or how many.
        images: Folder of images; "images", or "{split}/images", if left out.
        masks: Folder of masks; "masks", or "{split}/masks", if left out.
        endings: What the names of images and of masks end with, besides what
            they share. Where both lie in one folder, `("", "_mask")` takes
            what does not end with "_mask" for images.
        void: Mask values that mean void besides 255.
        colors: The red, green and blue of each class, where masks are colored;
            black or white, where it is no class, is void.
        allow_void: Whether a mask may be void everywhere.
        image_size: `(H, W)` to resize images and masks to; as they are, if
            left out.
        orientation: What the masks belong to where EXIF turns an image:
            "apply", the image as it is shown; "ignore", the pixels as they are
            stored, which is the default, with a warning at the first such
            image.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are paths without ending.

    Raises:
        ValueError: As `MaskedImages` does, or a folder is missing or empty.
    """
    is_named = not isinstance(classes, numbers.Number)
    if is_named:
        classes = checked_names(classes, "classes")
    else:
        count = checks.whole("classes", classes, least=1)
        classes = [f"class_{i}" for i in range(count)]
    return MaskedImages(
        *pairs(directory, split, images, masks, endings),
        classes,
        void=void,
        colors=colors,
        allow_void=allow_void,
        image_size=image_size,
        orientation=orientation,
        is_complete=is_named,
    )


def pairs(directory, split, images=None, masks=None, endings=("", "")):
    """Return `{id: path}` of the images of a split, and of its masks.

    Args:
        directory: As for `load`.
        split: As for `load`.
        images: As for `load`.
        masks: As for `load`.
        endings: As for `load`.

    Raises:
        ValueError: A folder is missing or empty.
    """
    parent = "" if split is None else "{split}/"
    patterns = [images or f"{parent}images", masks or f"{parent}masks"]
    check_split(
        split,
        [Path(directory, pattern) for pattern in patterns],
        "Write `{split}` into `images` and `masks`, or pass split=None.",
    )
    folders = [
        Path(directory, pattern.format(split=split)) for pattern in patterns
    ]
    is_one = folders[0].resolve() == folders[1].resolve()
    found = []
    for folder, ending, other in zip(
        folders, endings, reversed(endings), strict=True
    ):
        # What ends with "_mask" ends with "" too, and is no image.
        is_part = is_one and other != ending and other.endswith(ending)
        without = (other,) if is_part else ()
        found.append(files(folder, ending=ending, without=without))
    return found
