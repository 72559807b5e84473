"""A small detector and a batch of boxes for it."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def detector():
    """Builds a detector of 32 px images; options replace those here."""
    from keras_jft.backbones import ResNet
    from keras_jft.transfer import FasterRCNN

    def build(image_shape=(32, 32, 3), **options):
        backbone = ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=image_shape,
        )
        small = {
            "anchor_base": 16,
            "rpn_filters": 16,
            "rpn_samples": 32,
            "head_samples": 8,
            "num_proposals": 12,
            "crop_size": 4,
            "max_detections": 20,
        }
        return FasterRCNN(backbone, 3, **{**small, **options})

    return build


# Samples are then all that there are, and a step does not depend on chance.
ALL_SAMPLES = {"rpn_samples": 2 * 768, "head_samples": 4 * 12}


@pytest.fixture
def exhaustive(detector):
    """As `detector`, with every anchor and proposal in the samples."""
    return lambda **options: detector(**{**ALL_SAMPLES, **options})


@pytest.fixture
def plain(staged):
    """Builds one on a plain net, with every anchor and proposal there is."""
    from keras_jft.transfer import FasterRCNN

    return lambda: FasterRCNN(
        staged(),
        3,
        anchor_base=16,
        rpn_filters=16,
        rpn_samples=2 * 48,
        head_samples=4 * 12,
        num_proposals=12,
        crop_size=4,
    )


@pytest.fixture
def batch(rng):
    """Noise with boxes: several, one, none; one ignored."""
    boxes = np.zeros((3, 4, 4), "float32")
    boxes[0, :3] = [[2, 3, 14, 20], [10, 10, 31, 30], [0, 16, 9, 32]]
    boxes[1, :1] = [[5, 5, 22, 21]]
    labels = np.full((3, 4), -1, "int32")
    labels[0, :3], labels[1, 0] = (0, 2, 1), 1
    ignored = np.zeros((3, 4), "bool")
    ignored[0, 2] = True
    return {
        "images": rng.integers(0, 256, (3, 32, 32, 3)).astype("uint8"),
        "bounding_boxes": {
            "boxes": boxes,
            "labels": labels,
            "ignored": ignored,
        },
    }
