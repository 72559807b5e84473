"""Every head on some family: part of the table in docs/backbones.md.

`benchmarks/backbone_matrix.py` checks all of it.
"""

import cells
import pytest

# The detector moves the last stage of a net onto crops. It is tried on a plain
# net, one of depthwise convolutions and one of KerasHub. The others read the
# levels of the pyramid alone, or what is pooled, and each is tried on one
# family or two. All of them but KerasHub's RetinaNet learn on ours in
# tests/transfer/heads/test_heads.py.
SOME = {
    "FasterRCNN": (
        "applications ResNetV2",
        "applications MobileNetV3",
        "KerasHub CSPNet",
    ),
    "FasterRCNN, FPN": ("applications MobileNetV3", "KerasHub ViT"),
    "multi-label": ("KerasHub ViT",),
    "classification": ("applications ResNetV2", "KerasHub ViT"),
    "DeepLabV3Plus": ("KerasHub CSPNet",),
    "DeepLabV3Plus, KerasHub": ("KerasHub ViT",),
    "RetinaNet": ("KerasHub CSPNet",),
    "RetinaNet, KerasHub": ("jft ResNet", "KerasHub ViT"),
    "YOLOV8": ("KerasHub ViT",),
    "PoseEstimator": ("applications MobileNetV3", "KerasHub ViT"),
}
CELLS = [(family, head) for head in SOME for family in SOME[head]]
IMPOSSIBLE = ("KerasHub ViT", "FasterRCNN")


def test_every_head_is_tried():
    assert {*SOME, cells.OF_ALL} == set(cells.HEADS)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "head"), CELLS)
def test_a_head_learns_freezes_and_loads_on_a_family(family, head, tmp_path):
    cells.check(family, head, tmp_path)


def test_what_a_family_cannot_have_says_what_it_can(tmp_path):
    with pytest.raises(ValueError, match='needs more than P4.*neck="fpn"'):
        cells.check(*IMPOSSIBLE, tmp_path)
