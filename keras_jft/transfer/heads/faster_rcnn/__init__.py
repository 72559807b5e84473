"""Faster R-CNN on one feature map: anchors, proposals, regions, boxes."""

from keras_jft.transfer.heads.faster_rcnn.faster_rcnn import HEAD, FasterRCNN

__all__ = ["HEAD", "FasterRCNN"]
