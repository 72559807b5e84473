"""Layouts of boxes, polygons and keypoints."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

from keras_jft.data import datasets
from keras_jft.data.datasets import cvat, labelme, voc, yolo
from keras_jft.data.datasets.image_files import files_below
from keras_jft.data.datasets.layouts.layout import (
    IMAGES,
    LOOKS,
    XML,
    Layout,
    any_below,
    below,
    files_in,
    role_of,
    split_folders,
    splits_of,
)
from keras_jft.data.images import IMAGE_SUFFIXES
from keras_jft.files import folders_in
from keras_jft.text import number_of
from keras_jft.text_files import read_json, short


def kind_of(file):
    """Return whose JSON a file is: "coco", "labelme" or None."""
    try:
        document = read_json(file)
    except ValueError:
        return None
    if labelme.is_labelme(document):
        return "labelme"
    keys = ("images", "annotations", "categories")
    is_coco = isinstance(document, dict) and all(
        isinstance(document.get(key), list) for key in keys
    )
    return "coco" if is_coco else None


def coco(path):
    """COCO's layout, an export of Roboflow, or files of that format."""
    folder = path / "annotations"
    found = []
    for kind, dataset in (("instances", "coco"), ("person_keypoints", _PEOPLE)):
        names = [
            file.stem.removeprefix(f"{kind}_")
            for file in files_in(folder, ".json")
            if file.name.startswith(f"{kind}_")
            and (path / file.stem.removeprefix(f"{kind}_")).is_dir()
        ]
        if splits_of(names):
            options = {"directory": str(path)}
            found.append(_coco(dataset, options, names, f"COCO, {kind}"))
    if found:
        return found
    parts = [
        folder.name
        for folder in folders_in(path)
        if (folder / "_annotations.coco.json").is_file()
    ]
    if parts and splits_of(parts):
        file = path / "{split}" / "_annotations.coco.json"
        first = path / parts[0] / file.name
        text = "COCO, an export of Roboflow"
        return [_coco(_dataset(first), {"annotations": str(file)}, parts, text)]
    files = [
        file
        for place in (path, folder)
        for file in files_in(place, ".json")[:LOOKS]
        if kind_of(file) == "coco"
    ]
    if not files:
        return []
    return _coco_files(path, files)


_PEOPLE = "coco_people"


def _coco(dataset, options, names, text):
    return Layout(
        dataset=dataset,
        options=options,
        task="pose" if dataset == _PEOPLE else "detection",
        splits=splits_of(names) or {},
        text=text,
    )


def _dataset(file):
    """Return the data set for a COCO file: with keypoints, of people."""
    categories = read_json(file)["categories"]
    has = any(isinstance(c, dict) and c.get("keypoints") for c in categories)
    return _PEOPLE if has else "coco"


def _coco_files(path, files):
    """Return the layout of COCO files by any name: one, or one per split."""
    words = [re.split(r"[^a-zA-Z]+", file.stem) for file in files]
    marks = [[w for w in parts if role_of(w)] for parts in words]
    names = [mark[0] for mark in marks if len(mark) == 1]
    patterns = {
        str(file).replace(file.name, file.name.replace(name, "{split}"))
        for file, name in zip(files, names, strict=False)
    }
    if len(files) == 1:
        patterns, names = {str(files[0])}, []
    elif len(names) < len(files) or len(patterns) > 1 or not splits_of(names):
        return [
            layout for file in files for layout in _coco_files(path, [file])
        ]
    images = _images_of(path, read_json(files[0]), names[:1])
    options = {"annotations": patterns.pop(), "directory": images}
    text = f"COCO, {', '.join(file.name for file in files)}"
    return [_coco(_dataset(files[0]), options, names, text)]


def _images_of(path, document, split):
    """Return the folder of the images of a COCO file, `{split}` in it."""
    names = [record.get("file_name") for record in document["images"][:1]]
    for parts in itertools.product(("", *IMAGES), ("", "{split}")):
        folder = path.joinpath(*parts)
        here = Path(str(folder).format(split=split[0] if split else ""))
        if names and (here / str(names[0])).is_file():
            return str(folder)
    raise ValueError(
        f"The images of the COCO file in {str(path)!r} are not found: there "
        f"is no {short(names)} in it, or in a folder 'images'."
    )


def is_voc(file):
    """Return whether a file is an annotation of VOC's kind."""
    return _root_of(file) == "annotation"


def _root_of(file):
    if file.suffix.lower() != ".xml":
        return None
    with open(file, "rb") as opened:
        try:
            for _, element in ElementTree.iterparse(opened, ("start",)):
                return element.tag
        except (ElementTree.ParseError, ValueError, LookupError):
            return None
    return None


def voc_tree(path):
    """The folder of a year of Pascal VOC, for boxes or for masks."""
    found = []
    for room, dataset, other in (
        ("Main", "voc", "Annotations"),
        ("Segmentation", "voc_segmentation", "SegmentationClass"),
    ):
        lists = files_in(path / "ImageSets" / room, ".txt")
        names = [f.stem for f in lists if f.stem in ("train", "val", "test")]
        if "train" not in names and any(f.stem == "trainval" for f in lists):
            names = ["trainval", *names]
        if splits_of(names) and (path / other).is_dir():
            found.append(
                Layout(
                    dataset=dataset,
                    options={"directory": str(path)},
                    task=datasets.ANNOTATED_FOR[dataset],
                    splits=splits_of(names),
                    text=f"Pascal VOC, with lists in ImageSets/{room}",
                )
            )
    return found


def xml_per_image(path):
    """VOC's XML files beside images or in a folder, as labelImg has them."""
    if (path / "ImageSets").is_dir():
        return []
    splits = split_folders(path)
    places = itertools.product((*IMAGES, ""), (*XML, ""))
    for images, xml in [("", ""), *places] if path.is_dir() else ():
        patterns = [images, xml]
        if splits:
            patterns = [f"{{split}}/{name}".rstrip("/") for name in patterns]
        first = splits.get("train")
        here = [path / name.format(split=first) for name in patterns]
        file = any_below(here[1], ".xml")
        if file is None or not is_voc(file):
            continue
        stem = file.relative_to(here[1]).with_suffix("")
        if not any(
            (here[0] / stem).with_suffix(s).is_file()
            or (here[0] / f"{stem}{s.upper()}").is_file()
            for s in IMAGE_SUFFIXES
        ):
            continue
        return [
            Layout(
                dataset="voc_flat",
                options={
                    "directory": str(path),
                    "images": patterns[0],
                    "annotations": patterns[1],
                },
                task="detection",
                splits=splits,
                text="an XML file per image, as labelImg writes them",
            )
        ]
    return []


def is_yolo(file):
    """Return whether a YAML file describes a data set of YOLO."""
    try:
        about = yolo.read_yaml(file)
    except ValueError:
        return False
    return about["train"] is not None


def yolo_files(path):
    """A `data.yaml` and a text file per image."""
    found = []
    for file in filter(is_yolo, files_in(path, ".yaml", ".yml")):
        about = yolo.read_yaml(file)
        names = [name for name in yolo.SPLITS if about[name] is not None]
        there = {}
        for name in names:
            try:
                there[name] = yolo.folders_of(about, name)
            except ValueError:
                if name == "train":
                    raise
        lines = [
            words
            for image in itertools.islice(
                (p for f in there["train"] for p in files_below(f)), LOOKS
            )
            for _, words in yolo.labels_of(image) or ()
        ]
        has_polygons = any(len(words) > 5 for words in lines)
        targets = {"boxes": "detection"}
        if about["keypoints"]:
            targets = {"keypoints": "pose"}
        elif has_polygons:
            targets["masks"] = "segmentation"
        where = path if file.name == "data.yaml" else file
        found += [
            Layout(
                dataset="yolo",
                options={"directory": str(where), "target": target},
                task=task,
                splits={name: name for name in there},
                text=f"YOLO, {target}: "
                f"{number_of(len(about['names']), 'class', 'classes')}",
            )
            for target, task in targets.items()
        ]
    return found


def labelme_files(path):
    """A JSON file of labelme per image."""
    files = itertools.islice(
        (file for file in below(path) if file.suffix.lower() == ".json"), LOOKS
    )
    kinds = [
        shape.get("shape_type", "polygon")
        for file in files
        if kind_of(file) == "labelme"
        for shape in read_json(file)["shapes"]
    ]
    if not kinds:
        return []
    return _drawn(
        "labelme",
        {"directory": str(path)},
        set(kinds) != {"rectangle"},
        split_folders(path),
        "a JSON file of labelme per image",
    )


def cvat_file(path):
    """One XML file, "CVAT for images 1.1"."""
    file = path / "annotations.xml"
    if not file.is_file() or _root_of(file) != "annotations":
        return []
    names = cvat.subsets(file)
    root = voc.parse(file, "annotations")
    return _drawn(
        "cvat",
        {"directory": str(path)},
        next(root.iter("polygon"), None) is not None,
        splits_of(names) or {},
        "CVAT for images, annotations.xml",
    )


def _drawn(dataset, options, has_polygons, splits, text):
    """Return the layouts of drawn objects: boxes, and masks of polygons."""
    targets = {"boxes": "detection"}
    if has_polygons:
        targets["masks"] = "segmentation"
    return [
        Layout(
            dataset=dataset,
            options={**options, "target": target},
            task=task,
            splits=splits,
            text=f"{text}, {target}",
        )
        for target, task in targets.items()
    ]
