"""Faster R-CNN on one feature map or on a feature pyramid.

`faster_rcnn.py` has the model, `stages.py` its layers that handle boxes,
`pyramid.py` the feature pyramid and what crops regions from it, and
`boxes.py`, `losses.py` and `suppression.py` the functions that these use.
"""

from keras_jft.transfer.heads.faster_rcnn.faster_rcnn import HEAD, FasterRCNN

__all__ = ["HEAD", "FasterRCNN"]
