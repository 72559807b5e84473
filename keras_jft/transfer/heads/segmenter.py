"""What the segmentation heads share: masks as targets, masks as predictions.

Shapes: B batch, H W image side, h w logits, C classes.
"""

from keras import ops

from keras_jft import training
from keras_jft.transfer.heads.mean_iou import MeanIoU
from keras_jft.transfer.heads.upsampling import upsample


class Segmenter(training.Model):
    """A model from images to logits `(B, h, w, C)` that predicts masks.

    A subclass sets `num_classes` and `logits_stride`, the pixels between two
    logits, of which the first is that of pixel (0, 0).
    """

    logits_stride: int

    def targets(self, batch):
        """Masks `(B, H, W, 1)`, 255 is void."""
        return self.entry(batch, "segmentation_masks")

    def default_metrics(self):
        """The mean IoU at the pixels of the masks, of `evaluate` alone."""
        return [MeanIoU(self.num_classes, self.logits_stride)]

    def decode(self, outputs, images):
        """The class of the largest upsampled logit at each pixel."""
        size = ops.shape(images)[1:3]
        logits = upsample(outputs, size, self.logits_stride)
        return ops.cast(ops.argmax(logits, axis=-1), "int32")


def rebuilt(backbone, **wanted):
    """`backbone`, or one with its weights where it is not as `wanted`."""
    if all(getattr(backbone, key) == wanted[key] for key in wanted):
        return backbone
    return backbone.rebuild(**wanted)
