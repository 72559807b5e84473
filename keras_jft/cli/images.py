"""The commands that look at images: `describe` and `duplicates`."""

import pathlib

import keras_jft as jft
from keras_jft.text import number_of


def _add_layout(parser):
    parser.add_argument(
        "--split", choices=("train", "val", "test"), help="the split to read"
    )
    parser.add_argument(
        "--task",
        help="what the images are for, such as detection, if the folder can be "
        "used for several tasks",
    )
    parser.add_argument(
        "--layout",
        dest="dataset",
        metavar="NAME",
        help="the format of the folder, such as coco, if it can be read as "
        "several",
    )


def _load(folder, arguments):
    """Return the data set in a folder, and say how it is laid out."""
    layout = jft.data.find_layout(folder, arguments.task, arguments.dataset)
    print(f"{folder}: {layout}")
    split = arguments.split or ("train" if layout.splits else None)
    return layout.load(split)


def _images(text):
    return text if text == "all" else int(text)


def add_describe(parser):
    """Add the options of `keras-jft describe`."""
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=pathlib.Path,
        help="a folder of images, or a table that lists them",
    )
    _add_layout(parser)
    parser.add_argument(
        "--images",
        default=200,
        type=_images,
        help='how many to open, a number or "all" (default: 200)',
    )
    parser.add_argument(
        "--output",
        dest="path",
        default="describe.html",
        metavar="PAGE",
        help="the page (default: describe.html)",
    )


def run_describe(arguments):
    """Run `keras-jft describe`."""
    data = _load(arguments.folder, arguments)
    found = jft.data.describe(
        data, images=arguments.images, split=arguments.split
    )
    print(found)
    page, _ = found.save(arguments.path)
    print(f"Page: {page}")


def add_duplicates(parser):
    """Add the options of `keras-jft duplicates`."""
    for name, words in (
        ("queries", "the images to look for, such as test images"),
        ("references", "where to look for them, such as pre-training images"),
    ):
        parser.add_argument(name, metavar="DIR", type=pathlib.Path, help=words)
    _add_layout(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        help="similarity from which two images are duplicates (default: 0.97)",
    )
    parser.add_argument(
        "--output",
        dest="path",
        default="duplicates.html",
        metavar="PAGE",
        help="the page (default: duplicates.html)",
    )


def run_duplicates(arguments):
    """Run `keras-jft duplicates`."""
    # Its default is not an option's, since options are made without Keras.
    given = {}
    if arguments.threshold is not None:
        given["threshold"] = arguments.threshold
    found, page = jft.evaluation.duplicates.report(
        _load(arguments.queries, arguments),
        _load(arguments.references, arguments),
        arguments.path,
        **given,
    )
    count = int(found.is_duplicate.sum())
    print(
        f"Of {number_of(len(found.ids), 'image')}, "
        f"{number_of(count, 'has', 'have')} a near-duplicate."
    )
    print(f"Page: {page}")
