"""A densely labeled set to measure pre-training on, like FastEval14k.

FastEval14k, on which the paper follows pre-training, is not public: 14,000
images of about 6,000 classes with about 37 labels each. The validation images
of Open Images are labeled by people and machines, with many labels each, and
from them a set of that form is chosen.

Shapes: N images, C classes.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_jft import checks, data, files
from keras_jft.evaluation.evaluator import Config
from keras_jft.text import number_of
from keras_jft.typing import PathLike

_CHUNK = 10_000  # Images whose labels are read at once.


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseSet:
    """A set of densely labeled images. Prints as one line.

    Attributes:
        config: The `jft.evaluation.Config` that measures on it.
        num_examples: Number of its images.
        labels_per_image: Their mean.
        num_classes: Number of classes with an image.
    """

    config: Config
    num_examples: int
    labels_per_image: float
    num_classes: int

    def __str__(self) -> str:
        return (
            f"{number_of(self.num_examples, 'image')} with "
            f"{self.labels_per_image:.1f} labels each, of "
            f"{number_of(self.num_classes, 'class', 'classes')} (FastEval14k: "
            "14,000 with about 37, of about 6,000)"
        )


def dense_set(
    options: Mapping[str, Any],
    folder: PathLike,
    *,
    split: str = "validation",
    num_examples: int = 14_000,
    num_classes: int = 6_000,
    map_weights: str | Mapping[str, Any] = "equal",
) -> DenseSet:
    """Choose the most densely labeled images of Open Images to measure on.

    Counted are the commonest classes after labels are closed upward; chosen are
    the images with the most labels of these. The choice is written to
    `classes.txt` and `parts.jsonl` in `folder`, from which the returned config
    reads it.

    Args:
        options: Arguments of the data set "open_images", with a `hierarchy`
            that has all labels that pre-training names.
        folder: Where the choice is written.
        split: The split to choose from.
        num_examples: Number of images.
        num_classes: The most classes.
        map_weights: As of `jft.evaluation.Config`: such as the training set of
            pre-training, by whose counts classes are weighed. The paper weighs
            them by how common they are among images of social media, which it
            does not print.

    Returns:
        A `DenseSet`.

    Raises:
        ValueError: There are too few images, or there is no hierarchy.

    References:
        Sun et al. 2017, section 4.2; Chollet 2017, section 4.1.
    """
    checks.whole("num_examples", num_examples, 1)
    checks.whole("num_classes", num_classes, 1)
    files.check_local("folder", folder, "fasteval")
    folder = pathlib.Path(folder)
    examples = data.load("open_images", split, **options)
    hierarchy = examples.info.hierarchy
    if hierarchy is None:
        raise ValueError(
            "`options` must have a `hierarchy`, upward along which labels are "
            f"closed. Received: {sorted(options)}."
        )
    if len(examples) < num_examples:
        raise ValueError(
            f"`num_examples` must be at most {len(examples)}, the images of "
            f"{split!r}. Received: num_examples={num_examples}."
        )
    counts = data.label_counts(examples)
    # The commonest first; of equally common ones that of the lower id.
    common = np.argsort(-counts, kind="stable")[:num_classes]
    common = np.sort(common[counts[common] > 0])
    density = _labels_per_image(examples, common)
    chosen = np.argsort(-density, kind="stable")[:num_examples]
    names = np.full(len(examples), "rest", "U8")
    names[chosen] = "fasteval"
    folder.mkdir(parents=True, exist_ok=True)
    keys = [str(hierarchy.keys[label]) for label in common]
    files.write_bytes(folder / "classes.txt", ("\n".join(keys) + "\n").encode())
    data.write_parts(folder / "parts.jsonl", examples, names)
    config = Config(
        task="multi_label",
        dataset="open_images",
        options={
            **options,
            "classes": str(folder / "classes.txt"),
            "parts": {"path": str(folder / "parts.jsonl"), "of": split},
        },
        split="fasteval",
        map_weights=map_weights,
    )
    seen = data.label_counts(data.select(examples, examples.ids(chosen)))
    return DenseSet(
        config=config,
        num_examples=num_examples,
        labels_per_image=float(density[chosen].mean()),
        num_classes=int((seen[common] > 0).sum()),
    )


def _labels_per_image(examples, classes):
    """Return `(N,)` numbers of labels among some classes."""
    found = []
    for start in range(0, len(examples), _CHUNK):
        stop = min(start + _CHUNK, len(examples))
        found += [
            np.isin(classes, example["labels"]).sum()
            for example in examples.annotations(np.arange(start, stop))
        ]
    return np.array(found)
