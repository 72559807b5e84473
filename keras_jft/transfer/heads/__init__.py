"""Heads: models for one task on top of a backbone. `HEADS` lists them."""

from keras_jft.transfer.heads import (
    classification,
    deeplab_aspp,
    deeplab_v3_plus,
    faster_rcnn,
    pose,
    retinanet,
)

HEADS = {
    "classification": classification.HEAD,
    "deeplab_aspp": deeplab_aspp.HEAD,
    "deeplab_v3_plus": deeplab_v3_plus.HEAD,
    "faster_rcnn": faster_rcnn.HEAD,
    "retinanet": retinanet.HEAD,
    "pose": pose.HEAD,
}
