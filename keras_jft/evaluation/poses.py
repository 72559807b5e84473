"""Combine the poses found in crops of people into the poses of each image.

Shapes: B crops, N people in an image, K keypoints.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_jft import files
from keras_jft.data import suppression
from keras_jft.data.dataset import Info
from keras_jft.metrics import keypoint_similarity, sigmas_of
from keras_jft.typing import Example, PathLike

OKS_THRESHOLD = 0.5


def _suppress(poses, sigmas, threshold=OKS_THRESHOLD):
    """Return the poses of an image without duplicates, best first.

    Args:
        poses: `{"keypoints": (N, K, 3), "scores": (N,), "boxes": (N, 4)}`.
        sigmas: `(K,)` falloffs of the similarity.
        threshold: If the similarity (OKS) of two poses exceeds this, only the
            one with the higher score is kept. Their area is taken to be the
            mean of their boxes' areas.

    Returns:
        A dict with the same keys.

    References:
        Papandreou et al. 2017, https://arxiv.org/abs/1701.01779, section 3.3.
    """
    poses = {key: np.asarray(values) for key, values in poses.items()}
    keypoints = np.array(poses["keypoints"], "float64")
    areas = np.prod(poses["boxes"][:, 2:] - poses["boxes"][:, :2], axis=1)
    areas = (areas[:, None] + areas[None, :]) / 2
    keypoints[..., 2] = 1  # All predicted keypoints count.
    alike = keypoint_similarity(keypoints, keypoints, areas, sigmas)
    kept = suppression.suppress(alike, poses["scores"], threshold)
    return {key: values[kept] for key, values in poses.items()}


def people(originals: Iterable[Example]) -> list[dict[str, Any]]:
    """Return the person of each example, a list of dicts.

    Args:
        originals: Examples with `keypoints` and, if known, the person's box as
            the first of `bounding_boxes`.

    Returns:
        Dicts with `image_ids`, `keypoints` and, if known, `boxes`, `areas` and
        `ignored`.
    """
    rows = []
    for example in originals:
        image = example.get("image_ids", example["ids"])
        row = {"image_ids": image, "keypoints": example["keypoints"]}
        known = example.get("bounding_boxes", {})
        for key in ("boxes", "areas", "ignored"):
            if key in known:
                row[key] = known[key][0]
        rows.append(row)
    return rows


def by_image(
    pairs: Iterable[tuple[Any, Any]], info: Info
) -> list[tuple[list, list]]:
    """Return all people and all poses of each image, without duplicates.

    Args:
        pairs: Pairs of `people(originals)` and predictions `{"keypoints":
            (B, K, 3), "scores": (B,)}` in pixels of the originals.
        info: `info` of the data set. The truth is everyone in `info.people`,
            detected or not; if that is empty, the people of the examples.

    Returns:
        A list of one pair for `jft.metrics.Pose`: people and poses, each with
        one dict per image, in the order of `info.people` or of the examples.
    """
    rows: list[Example] = []
    found: list[tuple] = []
    for truth, predictions in pairs:
        rows += truth
        found += zip(
            predictions["keypoints"], predictions["scores"], strict=True
        )
    numbers_of: dict[int | str, list[int]] = {}
    for number, row in enumerate(rows):
        numbers_of.setdefault(row["image_ids"], []).append(number)
    everyone = info.people or {
        image: _stacked([rows[number] for number in numbers])
        for image, numbers in numbers_of.items()
    }
    poses = []
    for image in everyone:
        numbers = numbers_of.get(image, [])
        of_image = {
            "keypoints": np.array([found[number][0] for number in numbers]),
            "scores": np.array([found[number][1] for number in numbers]),
        }
        if len(numbers) > 1:
            of_image["boxes"] = np.array([rows[n]["boxes"] for n in numbers])
            sigmas = info.sigmas or sigmas_of(info.keypoint_names)
            of_image = _suppress(of_image, sigmas)
        poses.append(of_image)
    return [([*everyone.values()], poses)]


def save_results(
    path: PathLike,
    image_ids: Iterable[int | str],
    poses: Iterable[Example],
    category_id: int = 1,
) -> None:
    """Write poses in COCO's results format.

    Args:
        path: A JSON file, created or replaced.
        image_ids: One id per image.
        poses: `{"keypoints": (N, K, 3), "scores": (N,)}` for each image.
        category_id: The category id of people in the annotations.
    """
    files.check_path("path", path, "person_keypoints_results.json")
    records = [
        {
            "image_id": image,
            "category_id": category_id,
            "keypoints": np.round(keypoints, 3).ravel().tolist(),
            "score": float(score),
        }
        for image, found in zip(image_ids, poses, strict=True)
        for keypoints, score in zip(
            np.asarray(found["keypoints"], "float64"),
            found["scores"],
            strict=True,
        )
    ]
    files.write_json(path, records)


def _stacked(rows):
    """Return one dict of arrays for the people of one image."""
    return {
        key: np.stack([row[key] for row in rows])
        for key in rows[0]
        if key != "image_ids"
    }
