"""Heads: what a backbone is transferred to. `HEADS` is the table."""

from keras_jft.transfer.heads import (
    classification,
    deeplab_aspp,
    faster_rcnn,
    retinanet,
)

HEADS = {
    "classification": classification.HEAD,
    "deeplab_aspp": deeplab_aspp.HEAD,
    "faster_rcnn": faster_rcnn.HEAD,
    "retinanet": retinanet.HEAD,
}
