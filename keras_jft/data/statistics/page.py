"""The page of a data set: what a person wants to know before training on it.

`blocks` lists the parts of the page in order, with a `headline` and `remarks`.
Below them are the figures (each `_plot_...` returns the SVG of one panel) and
the thumbnails of examples.

Shapes: C classes.
"""

import io

import numpy as np
from PIL import Image

from keras_jft.data.batch import VOID
from keras_jft.data.failures import UNREADABLE
from keras_jft.data.label_sets import label_sets
from keras_jft.data.statistics.counts import (
    FEWEST_SHARED,
    QUANTILES,
    compare,
    number,
    share,
)
from keras_jft.html_page import (
    Bullets,
    Card,
    Cards,
    Heading,
    Picture,
    Pictures,
    Table,
    Text,
    Thumbnail,
    svg_of,
)
from keras_jft.text import number_of

_SIDE = 96  # Pixels; smaller images stay as they are.
_QUALITY = 85
_MOST_NAMES = 3
_COLOR, _SECOND = "#0072B2", "#D55E00"  # Of Okabe and Ito.
_PANEL = (4.6, 3.4)  # Inches.
_STYLE = {
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
}
_MOST_MARKERS = 400  # Markers per figure; a page cannot show one per class.
_MOST_BARS = 40
_LISTED = 10  # Rows in the tables of the commonest and the rarest classes.
_PEOPLE = "{:,} people in {:,} images"


def blocks(description):
    """Return the blocks of a page.

    Args:
        description: A `Description`.

    Returns:
        A list.
    """
    found = description.to_dict()
    return [
        Text(headline(description)),
        Cards(tuple(_cards(description, found))),
        *_remarks(description),
        Heading("Beside JFT-300M"),
        Table(
            "The numbers of Sun et al. 2017, section 3; labels are the most "
            "specific ones of each image, before a hierarchy adds others",
            ("", "here", "JFT-300M"),
            tuple(map(tuple, compare(found))),
            words=True,
        ),
        *(_labels(description, found) if found["labels"] else ()),
        *(_together(description) if description.pairs[0] else ()),
        *(_boxes(description) if found["boxes"] else ()),
        *(_images(description, found) if found["images"]["examined"] else ()),
        *(_masks(found) if found["masks"] else ()),
        *_prototypes(description),
        Heading("How this was made"),
        Table("Settings", ("", "values"), tuple(_made_by(found)), words=True),
    ]


def headline(description):
    """Return the data set in a sentence."""
    counts = number_of(description.num_images, "image")
    if description.num_images != description.num_examples:
        counts = _PEOPLE.format(
            description.num_examples, description.num_images
        )
    split = f" of the split {description.split}" if description.split else ""
    labels = description.labels
    if labels is None:
        return f"{counts}{split}, without labels."
    mean = number(labels.specific.mean)
    what = "labels" if description.labels_are == "labels" else "classes"
    closed = ", the most specific ones" * (description.hierarchy is not None)
    return (
        f"{counts}{split} with {mean} {what} per image{closed}, of "
        f"{len(labels.images):,} class{'es' * (len(labels.images) != 1)}."
    )


def remarks(description):
    """Return what needs a look before training, a list of sentences."""
    found, labels = [], description.labels
    if not description.num_examples:
        found.append("The data set is empty.")
    if len(description.failures):
        found.append(
            "The annotations of "
            f"{number_of(len(description.failures), 'example')} cannot be read."
        )
    failures = description.sample.failures
    if len(failures):
        of = share(len(failures), description.sample.examined)
        found.append(
            f"Of {number_of(description.sample.examined, 'image')} that were "
            f"opened, {of} cannot be read."
        )
    found += _absent_masks(description)
    if labels is None:
        return found
    if labels.without_labels:
        of = share(labels.without_labels, labels.given.total)
        found.append(f"{of} of the images have no label.")
    if labels.out_of_range:
        name, label = labels.strays[0] if labels.strays else ("?", "?")
        found.append(
            f"{number_of(labels.out_of_range, 'label is', 'labels are')} not a "
            "class, the first "
            f"{label} of {name!r}; they are counted nowhere else."
        )
    if labels.repeated:
        repeats = number_of(labels.repeated, "label repeats", "labels repeat")
        found.append(f"{repeats} another of the same image.")
    open_sets = labels.closed - labels.given.sum
    if open_sets:
        found.append(
            f"The hierarchy adds {number_of(open_sets, 'label')}: label sets "
            "are not closed upward. `LabelHierarchy.close` closes them."
        )
    empty = labels.below(1)
    if empty and labels.given.total:
        of = share(empty, len(labels.images))
        found.append(f"{of} of the classes have no images.")
    return found


def _absent_masks(description):
    """Return a sentence on classes that no mask contains, if any."""
    names, sample = description.mask_names, description.sample
    absent = [
        str(name)
        for name, count in zip(names, sample.mask_images, strict=False)
        if not count
    ]
    if not (sample.has_masks and absent):
        return []
    void = sample.mask_images[VOID]
    return [
        f"{len(absent)} of {number_of(len(names), 'class', 'classes')} "
        f"{'is' if len(absent) == 1 else 'are'} in no mask of "
        f"{sample.read:,} that were read: {', '.join(absent[:5])}"
        + (", ..." * (len(absent) > 5))
        + f". Masks with void, 255: {void:,}" * bool(void)
        + "."
    ]


def mask_name(description, value):
    """Return the name of a mask value."""
    if value == VOID:
        return "void"
    names = description.mask_names
    return str(names[value]) if value < len(names) else f"value {value}"


def _remarks(description):
    found = remarks(description)
    return [Heading("Worth a look"), Bullets(tuple(found))] if found else []


def _cards(description, found):
    images = found["images"]
    split = f"split {found['split']}" if found["split"] else "one split"
    yield Card("Images", f"{found['num_images']:,}", split, _size_lines(images))
    labels, classes = found["labels"], found["classes"]
    if labels is None:
        return
    what = found["labels_are"].capitalize()
    most = labels["per_image"]["largest"]
    yield Card(
        what,
        f"{number(labels['specific']['mean'])} per image",
        f"{labels['specific']['total']:,} in all",
        (
            f"{number(labels['per_image']['mean'])} with those above them"
            if found["hierarchy"]
            else "no hierarchy above them",
            f"at most {number(most)} on an image",
            share(labels["images_without"], found["num_images"]) + " without",
        ),
    )
    tree = found["hierarchy"]
    yield Card(
        "Classes",
        f"{classes['total']:,}",
        f"depth {tree['depth']}, at most {tree['fan_out']:,} children"
        if tree
        else "no hierarchy",
        (
            share(classes["below_100"], classes["total"]) + " below 100 images",
            share(classes["below_20"], classes["total"]) + " below 20 images",
            f"the largest has {number_of(classes['largest'], 'image')}",
        ),
    )
    if found["boxes"]:
        boxes = found["boxes"]
        yield Card(
            "Boxes",
            f"{number(boxes['per_image']['mean'])} per image",
            f"{boxes['total']:,} in all",
            (f"{boxes['ignored']:,} more that are ignored",),
        )


def _size_lines(images):
    read = images["examined"] - images["unreadable"]["total"]
    if not images["examined"]:
        return ("none were opened",)
    return (
        f"{images['examined']:,} opened, {images['unreadable']['total']:,} "
        "of them unreadable",
        f"median {number(images['widths']['50%'])} x "
        f"{number(images['heights']['50%'])} pixels",
        share(images["gray"], read) + " gray",
    )


def _labels(description, found):
    labels, table = description.labels, description.table()
    what = "Labels" if found["labels_are"] == "labels" else "Classes"
    others = None
    if description.hierarchy is not None:
        others = ("most specific", labels.specific)
    pictures = [
        Picture(
            _plot_rank_count(labels.images),
            "Images per class by its rank, the commonest class first.",
        ),
        Picture(
            _plot_per_image(labels.given, what, others),
            f"Images by their number of {what.lower()}.",
        ),
    ]
    seen = table[table["images"] > 0]
    yield Heading("Classes and labels")
    yield Pictures(tuple(pictures))
    yield Table(
        "Classes by their number of images",
        ("images", "classes"),
        tuple(
            (size, number(count))
            for size, count in found["classes"]["by_size"].items()
            if count
        ),
    )
    yield _quantiles(what, labels.given, others)
    columns = [c for c in table if c != "name"]
    specific = "; specific: without a label that lies below" * bool(others)
    if not others:
        columns.remove("specific_images")
    head = ("", *(column.replace("_", " ") for column in columns))
    for caption, rows in (
        ("The commonest classes" + specific, seen.head(_LISTED)),
        ("The rarest classes that have images" + specific, seen.tail(_LISTED)),
    ):
        cells = rows[["name", *columns]].itertuples(index=False)
        lines = [(name, *map(number, rest)) for name, *rest in cells]
        yield Table(caption, head, tuple(lines))


def _quantiles(what, histogram, others=None):
    rows = [(what.lower(), histogram)] + ([others] if others else [])
    names = [f"{q:.0%}" for q in QUANTILES]
    return Table(
        f"{what} per image: mean, quantiles, most",
        ("", "mean", *names, "most"),
        tuple(
            (
                name,
                number(one.mean),
                *(number(one.quantile(q)) for q in QUANTILES),
                number(one.largest),
            )
            for name, one in rows
        ),
    )


def _together(description):
    names = description.label_names
    yield Heading("Labels that occur together")
    yield Text(
        f"Pairs of the most specific labels, among the {description.paired:,} "
        "commonest classes. The lift is the number of images with both over "
        "the number expected if labels were independent."
    )
    for caption, found in zip(
        (
            "On the most images",
            f"With the highest lift, on {FEWEST_SHARED} images or more",
        ),
        description.pairs,
        strict=True,
    ):
        rows = [
            (
                f"{names[pair.first]} + {names[pair.second]}",
                f"{pair.images:,}",
                f"{pair.lift:,.2f}",
            )
            for pair in found
        ]
        if rows:
            yield Table(caption, ("", "images", "lift"), tuple(rows))


def _boxes(description):
    per_image = description.boxes.per_image
    yield Heading("Boxes")
    yield Pictures(
        (
            Picture(
                _plot_per_image(per_image, "Boxes"),
                "Images by their number of boxes; ignored boxes do not count.",
            ),
        )
    )
    yield _quantiles("Boxes", per_image)


def _images(description, found):
    sample, images = description.sample, found["images"]
    yield Heading("Images")
    if description.samples is not None:
        yield description.samples
    if len(sample.sizes) == 1:
        ((height, width),) = sample.sizes
        yield Text(f"All are {width} pixels wide and {height} high.")
    elif sample.sizes:
        yield from _sizes(sample, images)
    if images["unreadable"]["total"]:
        yield Table(
            "Unreadable images by cause",
            ("cause", "images"),
            tuple(
                (cause, f"{count:,}")
                for cause, count in images["unreadable"]["causes"].items()
            ),
            words=True,
        )
        yield Table(
            "The first of them",
            ("image", "reason"),
            tuple((str(n), why) for n, why in images["unreadable"]["named"]),
            words=True,
        )


def _sizes(sample, images):
    text = (
        f"Sizes of {number_of(sample.read, 'image')}; larger markers are more "
        "images."
    )
    yield Pictures((Picture(_plot_image_sizes(sample.sizes), text),))
    yield Table(
        "Sides in pixels: mean, quantiles, largest",
        ("", *images["widths"]),
        tuple(
            (side, *map(number, images[side].values()))
            for side in ("widths", "heights")
        ),
    )


def _masks(found):
    yield Heading("Masks")
    yield Table(
        "Classes of the masks of "
        f"{number_of(found['images']['examined'], 'image')}",
        ("", "of all pixels", "images"),
        tuple(
            (name, f"{seen['pixels']:.1%}", f"{seen['images']:,}")
            for name, seen in found["masks"].items()
        ),
    )


def _prototypes(description):
    if not description.prototypes:
        return
    yield Heading("Typical and odd images of a class")
    yield Text(
        "Images of a class by the distance of their embedding to the nearest "
        "of its K-means centroids, as in Figure 2 of Sun et al. 2017: an image "
        "far from all of them is rare, or has a wrong label."
    )
    for label, galleries in description.galleries.items():
        yield Heading(str(description.label_names[label]), level=3)
        yield from galleries


def _made_by(found):
    images = found["images"]["examined"]
    yield "Images that were opened", f"{images:,} of {found['num_examples']:,}"
    yield "Seed of their order", str(found["seed"])
    yield "Classes looked at for pairs", f"{found['paired_classes']:,}"
    yield "Seconds", f"{found['seconds']:.1f}"


def _plot_rank_count(images, marks=(20, 100)):
    """Plot the images of each class by its rank, both axes logarithmic.

    Args:
        images: `(C,)` images per class; those without any are not drawn.
        marks: Numbers of images to mark with a line.
    """
    counts = np.sort(images[images > 0])[::-1]
    ranks = np.geomspace(1, max(1, len(counts)), _MOST_MARKERS)
    ranks = np.unique(ranks.round().astype(int))[: len(counts)]

    def draw(ax):
        for mark in marks:
            ax.axhline(mark, color="gray", lw=0.8, linestyle="--")
            ax.annotate(
                f"{mark} images",
                (0, mark),
                xycoords=("axes fraction", "data"),
                xytext=(3, 2),
                textcoords="offset points",
                color="gray",
                fontsize=7,
            )
        if len(counts):
            ax.plot(ranks, counts[ranks - 1], color=_COLOR, marker=".", ms=3)
        ax.set(xscale="log", yscale="log")
        ax.set(xlabel="Rank of the class", ylabel="Images of the class")

    return _svg(draw)


def _plot_per_image(histogram, what, other=None):
    """Plot how many images have how many of something.

    Args:
        histogram: `Histogram` of numbers per image.
        what: What is counted, in words.
        other: A pair of words and a second `Histogram` beside it, or None.
    """
    series = (
        [(what, histogram)] if other is None else [(what, histogram), other]
    )
    longest = max(len(h.counts) for _, h in series)
    shown = min(max(1, longest), _MOST_BARS + 1)
    wide = 0.8 / len(series)

    def draw(ax):
        for i, (name, one) in enumerate(series):
            counts = np.zeros(shown, "int64")
            counts[: len(one.counts)] = one.counts[:shown]
            counts[-1] += one.counts[shown:].sum()
            at = np.arange(shown) + wide * (i - (len(series) - 1) / 2)
            color = (_COLOR, _SECOND)[i]
            ax.bar(at, counts, wide, color=color, label=name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="x", visible=False)
        more = ", the last bar: or more" if longest > shown else ""
        ax.set(xlabel=f"{what} per image{more}", ylabel="Images")
        if len(series) > 1:
            ax.legend()

    return _svg(draw)


def _plot_image_sizes(sizes):
    """Plot widths and heights; larger markers are more images.

    Args:
        sizes: `Counter` of (height, width).
    """
    common = sizes.most_common(_MOST_MARKERS)
    places = np.array([size for size, _ in common])
    counts = np.array([count for _, count in common])

    def draw(ax):
        area = 6 + 200 * counts / counts.max()
        ax.scatter(
            places[:, 1], places[:, 0], area, color=_COLOR, alpha=0.4, lw=0
        )
        limit = 1.08 * places.max()
        ax.plot([0, limit], [0, limit], color="gray", lw=0.8, linestyle="--")
        ax.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
        ax.set(xlabel="Width, pixels", ylabel="Height, pixels")

    return _svg(draw)


def _svg(draw):
    import matplotlib.pyplot as plt

    with plt.rc_context(_STYLE):
        figure, ax = plt.subplots(figsize=_PANEL, layout="constrained")
        draw(ax)
        return svg_of(figure)


def thumbnails(data, positions, caption):
    """Return small pictures of those examples that can be read.

    Args:
        data: A `Dataset`.
        positions: Positions in it.
        caption: A function from an example to the text below its picture.

    Returns:
        A tuple of `Thumbnail`.
    """
    found = (_read(data, int(position)) for position in positions)
    return tuple(
        Thumbnail(_jpeg(example["images"]), caption(example))
        for example in found
        if example is not None
    )


def _jpeg(image):
    """Return the bytes of a small JPEG.

    Args:
        image: `(H, W, 3)`, 0..255.
    """
    picture = Image.fromarray(np.asarray(image).clip(0, 255).astype("uint8"))
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _read(data, position):
    try:
        return data.take([position])[0]
    except UNREADABLE:
        return None


def file_name(example):
    """Return the id of an example without leading folders."""
    return str(example["ids"]).rsplit("/", maxsplit=1)[-1]


def captions(label_names, hierarchy=None):
    """Return a function from an example to the names of its labels.

    Only the most specific labels are named.

    Args:
        label_names: One name per class.
        hierarchy: The `LabelHierarchy` of the labels, or None.
    """

    def caption(example):
        if "labels" not in example:
            return file_name(example)
        sets = label_sets([example["labels"]], len(label_names), hierarchy)
        labels = sets.labels[sets.is_specific]
        names = [str(label_names[label]) for label in labels[:_MOST_NAMES]]
        more = f" and {len(labels) - _MOST_NAMES} more"
        names = ", ".join(names) + more * (len(labels) > _MOST_NAMES)
        return names or "no label"

    return caption
