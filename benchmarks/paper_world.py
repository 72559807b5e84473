"""The synthetic world in the files that `paper.py` reads, instead of the web's.

JFT-300M becomes records, ImageNet folders of classes, and COCO and Pascal VOC
folders in their own layouts. As in the paper, some test images are among those
of pre-training.
"""

import dataclasses
import json
import pathlib

import numpy as np
from PIL import Image

import keras_jft as jft

SIDE = 64  # Pixels of the images of COCO and VOC; those of JFT have half.
COPIES = 0.06  # Share of test images that JFT has, too.
# Images per split, whatever the scale: too few would show nothing.
SIZES = {"train": 400, "test": 200, "people": 300, "fasteval": 500}
NUM_LABELS = 94  # Of the 200 names, those that "ImageNet" has, too.
SHAPES = tuple(
    jft.data.load(
        "synthetic", task="detection", num_examples=1
    ).info.label_names
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """Where the files are.

    Attributes:
        folder: All of them.
        jft_images: Images of "JFT-300M".
        imagenet_images: Images of "ImageNet".
        sizes: As `SIZES`.
    """

    folder: pathlib.Path
    jft_images: int
    imagenet_images: int
    sizes: dict

    def write(self):
        """Write what is not there yet."""
        done = self.folder / "whole"
        if done.exists():
            return
        tests = [*self._coco(), *self._voc2007(), *self._voc2012()]
        self._imagenet()
        self._jft(tests)
        done.touch()

    def _load(self, seed, task, split, number, **options):
        return jft.data.load(
            "synthetic",
            split,
            task=task,
            num_examples=number,
            seed=seed,
            image_size=options.pop("image_size", SIDE),
            **options,
        )

    # === Pre-training ===

    def _jft(self, tests):
        """Write "JFT-300M", with copies of test images, and "FastEval14k"."""
        folder = self.folder / "jft"
        images = self._load(
            0, "many_label", "train", self.jft_images, image_size=32
        )
        copies = tests[:: round(1 / COPIES)][: len(images) // 10]
        for name, data in (
            ("train", _WithCopies(images, copies)),
            (
                "fasteval",
                self._load(
                    0,
                    "many_label",
                    "test",
                    self.sizes["fasteval"],
                    image_size=32,
                ),
            ),
        ):
            if not (folder / f"{name}.json").exists():
                # Rendered first, since many images together are faster.
                jft.data.write_records(
                    jft.data.cache(data), folder / f"{name}@1", verbose=False
                )
        names = images.info.label_names
        leaves = [names[label] for label in images.info.hierarchy.leaves]
        step = max(1, len(leaves) // NUM_LABELS)
        lines = "\n".join(leaves[::step])
        path = self.folder / "imagenet_labels.txt"
        path.write_text(f"{lines}\n", encoding="utf-8")

    def _imagenet(self):
        """Write "ImageNet": a folder per class, named as in its world."""
        for split, own, number in (
            ("train", "train", self.imagenet_images),
            ("val", "test", self.sizes["test"]),
        ):
            data = self._load(1, "classification", own, number, image_size=32)
            for example in _read(data):
                name = data.info.label_names[int(example["labels"])]
                _save(
                    example["images"],
                    self.folder
                    / f"imagenet/{split}/{name}/{example['ids']}.png",
                )

    # === COCO ===

    def _coco(self):
        """Write boxes and people; return the images of minival*."""
        folder = self.folder / "coco"
        train, held = self.sizes["train"], self.sizes["test"]
        tests = []
        for split, own, number in (
            ("train2014", "train", train),
            ("val2014", "test", held),
        ):
            data = self._load(2, "detection", own, number)
            # Ids of COCO's files differ between splits.
            first = train if own == "test" else 0
            _coco_file(folder, "instances", split, data, first)
            tests = [example["images"] for example in _read(data)]
        ids = "\n".join(str(train + i) for i in range(held))
        path = folder / "annotations" / "mscoco_minival_ids.txt"
        path.write_text(f"{ids}\n", encoding="utf-8")
        for split, own in (("train2017", "train"), ("val2017", "test")):
            data = self._load(3, "pose", own, self.sizes["people"])
            _coco_file(folder, "person_keypoints", split, data, 0)
        return tests

    # === Pascal VOC ===

    def _voc2007(self):
        """Write boxes of 07 and 12; return the test images of 07."""
        half = self.sizes["train"] // 2
        parts = (
            ("VOC2012", "trainval", "train", half, 5),
            ("VOC2007", "trainval", "train", half, 4),
            ("VOC2007", "test", "test", self.sizes["test"], 4),
        )
        for year, split, own, number, seed in parts:
            data = self._load(seed, "detection", own, number)
            folder = self.folder / "voc" / year
            names = [f"{year}_{split}_{i}" for i in range(number)]
            _list(folder / "ImageSets" / "Main" / f"{split}.txt", names)
            for name, example in zip(names, _read(data), strict=True):
                _save(example["images"], folder / "JPEGImages" / f"{name}.png")
                _voc_file(folder / "Annotations" / f"{name}.xml", example)
        return [example["images"] for example in _read(data)]

    def _voc2012(self):
        """Write masks of shapes, numbered from 1; return the images of val."""
        folder = self.folder / "voc" / "VOC2012"
        for split, own, number in (
            ("trainaug", "train", self.sizes["train"]),
            ("val", "test", self.sizes["test"]),
        ):
            data = self._load(6, "segmentation", own, number, masks="shape")
            names = [f"mask_{split}_{i}" for i in range(number)]
            _list(folder / "ImageSets/Segmentation" / f"{split}.txt", names)
            for name, example in zip(names, _read(data), strict=True):
                _save(example["images"], folder / f"JPEGImages/{name}.png")
                _save(
                    example["segmentation_masks"][..., 0],
                    folder / f"SegmentationClass/{name}.png",
                )
        return [example["images"] for example in _read(data)]


class _WithCopies(jft.data.Dataset):
    """Images of pre-training, of which the last are copies of others."""

    def __init__(self, data, copies):
        self.data, self.copies, self.info = data, copies, data.info

    def ids(self, positions):
        return np.asarray(positions)

    def take(self, positions):
        examples = self.data.take(positions)
        places = len(self.data) - 1 - np.asarray(positions)
        for example, place in zip(examples, places, strict=True):
            if place < len(self.copies):
                image = Image.fromarray(self.copies[place]).resize((32, 32))
                example["images"] = np.asarray(image)
                example["labels"] = np.zeros(0, "int32")
        return examples


def _read(data):
    """Return all examples, which are rendered faster together."""
    return data.take(range(len(data)))


def _save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _list(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n", encoding="utf-8")


def _voc_file(path, example):
    """Write the boxes of an image; VOC counts pixels from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = example["bounding_boxes"]
    objects = "".join(
        f"<object><name>{SHAPES[label]}</name><bndbox><xmin>{x1 + 1:g}</xmin>"
        f"<ymin>{y1 + 1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax>"
        "</bndbox></object>"
        for (x1, y1, x2, y2), label in zip(
            entry["boxes"], entry["labels"], strict=True
        )
    )
    path.write_text(
        f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height>"
        f"</size>{objects}</annotation>",
        encoding="utf-8",
    )


def _coco_file(folder, kind, split, data, first):
    """Write images and an annotation file of boxes, with keypoints or not."""
    names = data.info.label_names
    images, annotations = [], []
    for example in _read(data):
        image = first + int(example["ids"])
        _save(example["images"], folder / split / f"{image}.png")
        images.append(
            {
                "id": image,
                "file_name": f"{image}.png",
                "width": SIDE,
                "height": SIDE,
            }
        )
        entry = example["bounding_boxes"]
        for box, label in zip(entry["boxes"], entry["labels"], strict=True):
            x1, y1, x2, y2 = map(float, box)
            found = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": int(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            if "keypoints" in example:
                keypoints = example["keypoints"].astype(float)
                found["keypoints"] = keypoints.ravel().tolist()
                found["num_keypoints"] = int((keypoints[:, 2] > 0).sum())
            annotations.append(found)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    if data.info.keypoint_names:
        categories[0]["keypoints"] = list(data.info.keypoint_names)
    path = folder / "annotations" / f"{kind}_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": categories,
            }
        ),
        encoding="utf-8",
    )
