"""Heads: models for one task on top of a backbone. `HEADS` lists them."""

from keras_jft.transfer.heads import (
    classification,
    deeplab_aspp,
    deeplab_v3_plus,
    faster_rcnn,
    multi_label,
    pose,
    retinanet,
    yolo_v8,
)

HEADS = {
    "classification": classification.HEAD,
    "multi_label": multi_label.HEAD,
    "deeplab_aspp": deeplab_aspp.HEAD,
    "deeplab_v3_plus": deeplab_v3_plus.HEAD,
    "faster_rcnn": faster_rcnn.HEAD,
    "retinanet": retinanet.HEAD,
    "yolo_v8": yolo_v8.HEAD,
    "pose": pose.HEAD,
}
