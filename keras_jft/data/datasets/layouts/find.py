"""`find_layout` says how the files of a data set are laid out.

It looks at them, says in one line what it has found, and never guesses between
two: where files fit several layouts, or can be read for several tasks, it says
so, and the user chooses.

Each function of `LAYOUTS` looks at a folder, opens as few files as it takes to
be sure, and returns the `Layout`s that it finds, one for each task.
"""

import itertools
from pathlib import Path

from keras_jft import checks
from keras_jft.data.datasets.layouts import masks, objects, whole_images
from keras_jft.data.datasets.layouts.layout import (
    LOOKS,
    PARTS,
    TASKS,
    Layout,
    files_in,
    image_below,
)
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.files import folders_in
from keras_jft.text import number_of
from keras_jft.text_files import short
from keras_jft.typing import PathLike

LAYOUTS = (
    whole_images.image_folder,
    whole_images.table,
    whole_images.hugging_face_disk,
    whole_images.tfds_folder,
    whole_images.tars,
    objects.coco,
    objects.voc_tree,
    objects.xml_per_image,
    objects.yolo_files,
    objects.labelme_files,
    objects.cvat_file,
    masks.masks,
)


def find_layout(
    directory: PathLike, task: str | None = None, dataset: str | None = None
) -> Layout:
    """Return the layout of a folder, or of a file that lists images.

    Args:
        directory: A folder, or a CSV, JSON Lines or Parquet file.
        task: What it is to be used for, if it can be used for several tasks.
        dataset: The layout, a name in `jft.data.DATASETS`, if files fit
            several.

    Returns:
        A `Layout`; print it.

    Raises:
        ValueError: There is no such folder, its files fit no layout, or
            several; or their own faults.

    Example:

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / name).mkdir()
    ...     _ = (folder / name / "1.jpg").write_bytes(b"")
    >>> print(find_layout(folder))
    one folder per class: 2 classes (classification)
    """
    path = Path(directory)
    if task is not None:
        checks.one_of("task", task, TASKS)
    if not path.exists():
        raise ValueError(f"There is no folder {str(path)!r}.")
    found = [layout for look in LAYOUTS for layout in look(path)]
    kept = [
        layout
        for layout in found
        if (task is None or layout.task == task)
        and (dataset is None or layout.dataset == dataset)
    ]
    if len(kept) == 1:
        return kept[0]
    if kept:
        raise ValueError(
            f"{str(path)!r} can be read in {len(kept)} ways: "
            f"{'; '.join(f'{one.dataset}: {one}' for one in kept)}. Say "
            "`task`, or `dataset`."
        )
    if found:
        raise ValueError(
            f"{str(path)!r} has {'; '.join(map(str, found))}. Received: "
            f"task={task!r}, dataset={dataset!r}."
        )
    raise ValueError(_diagnosis(path))


def _diagnosis(path):
    """Return what a folder has that fits no layout, and what to do."""
    folders = [f.name for f in folders_in(path) if image_below(f)]
    loose = files_in(path, *IMAGE_SUFFIXES)
    if folders and loose:
        return (
            f"{str(path)!r} is mixed: folders of images, {short(folders)}, and "
            f"{number_of(len(loose), 'image')} beside them, such as "
            f"{loose[0].name!r}. Move these images into folders of classes, "
            "or away."
        )
    if loose:
        return (
            f"{str(path)!r} has {number_of(len(loose), 'image')} and nothing "
            "that labels them. Make one folder per class, or add a CSV file "
            "with the columns `image` and `labels`, or annotation files."
        )
    if not folders:
        return f"{str(path)!r} has no images in it or below."
    inner = [f for f in folders_in(path) if f.name.lower() not in PARTS]
    for folder in inner[:LOOKS]:
        for found in itertools.chain(*(look(folder) for look in LAYOUTS)):
            if found.dataset != "image_folder":
                return (
                    f"{str(path)!r} itself has no known layout, but "
                    f"{str(folder)!r} has: {found}. Give that folder."
                )
    return (
        f"{str(path)!r} has folders of images, {short(folders)}, but nothing "
        "that labels them in a known way. docs/data.md lists the layouts."
    )
