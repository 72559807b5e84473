"""Heads: what a backbone is transferred to. `HEADS` is the table."""

from keras_jft.transfer.heads import classification, deeplab_aspp, pose

HEADS = {
    "classification": classification.HEAD,
    "deeplab_aspp": deeplab_aspp.HEAD,
    "pose": pose.HEAD,
}
