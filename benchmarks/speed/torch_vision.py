"""The peers of detection.py and segmentation.py in torchvision.

`faster_rcnn` is `fasterrcnn_resnet50_fpn`, `deeplab` `deeplabv3_resnet101` at
output stride 8. Statistics of batch normalization do not move, as in our
heads. The scripts run this in a process of its own, by a Python that has
torchvision, on the images, boxes and masks that they write to a file.
"""

import contextlib
import json
import subprocess
import sys


class Peer:
    """A net of torchvision in another process, called from a benchmark.

    Args:
        python: A Python that has torchvision.
        net: "faster_rcnn" or "deeplab".
        data: Path of an `.npz` with `images`, and `boxes` and `labels`, or
            `masks`.
        dtype: "float32", or "bfloat16" for autocast.
        classes: Classes, without background for boxes.
    """

    def __init__(self, python, net, data, dtype, classes):
        about = {"net": net, "data": str(data), "dtype": dtype}
        about["classes"] = classes
        self._process = subprocess.Popen(
            [python, __file__, json.dumps(about)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, kind):
        """Wait for one "step" or "inference" of the next image."""
        print(kind, file=self._process.stdin, flush=True)
        if not self._process.stdout.readline():
            raise RuntimeError("The process of torchvision ended early.")


def detector(arrays, classes):
    """Return a model, its loss and its prediction for image number `i`."""
    import torch
    from torchvision.models import detection

    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2) / 255
    model = detection.fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=classes + 1,
        min_size=min(images.shape[2:]),
        max_size=max(images.shape[2:]),
        # As of our `FasterRCNN`.
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=300,
        box_batch_size_per_image=64,
        box_detections_per_img=300,
    )
    truth = [
        # Label 0 is the background.
        {"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c).long() + 1}
        for b, c in zip(arrays["boxes"], arrays["labels"], strict=True)
    ]

    def loss(i):
        return sum(model([images[i]], [truth[i]]).values())

    def predict(i):
        return model([images[i]])

    return model, loss, predict, len(images)


def segmenter(arrays, classes):
    """Return a model, its loss and its prediction for image number `i`."""
    import torch
    from torchvision.models import segmentation

    model = segmentation.deeplabv3_resnet101(
        weights=None, weights_backbone=None, num_classes=classes
    ).to(memory_format=torch.channels_last)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
    images = (images / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    masks = torch.from_numpy(arrays["masks"][..., 0]).long()

    def loss(i):
        logits = model(images[i : i + 1])["out"].float()
        return torch.nn.functional.cross_entropy(logits, masks[i : i + 1])

    def predict(i):
        return model(images[i : i + 1])["out"].argmax(1)

    return model, loss, predict, len(images)


NETS = {"faster_rcnn": detector, "deeplab": segmenter}


def main():
    """Do what each line of input names; answer with a line."""
    import numpy as np
    import torch

    about = json.loads(sys.argv[1])
    with np.load(about["data"]) as arrays:
        arrays = dict(arrays)
    make = NETS[about["net"]]
    model, loss, predict, number = make(arrays, about["classes"])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def autocast():
        if about["dtype"] == "bfloat16":
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def step(i):
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            value = loss(i)
        value.backward()
        optimizer.step()
        return value.item()

    def inference(i):
        model.eval()
        with torch.inference_mode(), autocast():
            return predict(i)

    kinds = {"step": step, "inference": inference}
    for i, line in enumerate(sys.stdin):
        kinds[line.strip()](i % number)
        print("done", flush=True)


if __name__ == "__main__":
    main()
