"""The peer of train_step.py in PyTorch: its two nets, channels last.

Shapes and strides of `resnet50` are those of `keras.applications.ResNet50`,
with 25.6 M weights: the stride of a stage is on the first 1x1 convolution of
its first unit. `small` is the net of `train_step_sides.stock`. train_step.py
runs this in a process of its own, because TensorFlow and PyTorch in the same
process crash, and may be installed for different Pythons.
"""

import json
import sys
import time

import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)


class _Unit(nn.Module):
    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.residual = nn.Sequential(
            *_convolve(inputs, filters, 1, stride),
            nn.ReLU(inplace=True),
            *_convolve(filters, filters, 3),
            nn.ReLU(inplace=True),
            *_convolve(filters, 4 * filters, 1),
        )
        self.shortcut = nn.Identity()
        if inputs != 4 * filters:
            self.shortcut = nn.Sequential(
                *_convolve(inputs, 4 * filters, 1, stride)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.residual(x) + self.shortcut(x))


class _BasicUnit(nn.Module):
    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.residual = nn.Sequential(
            *_convolve(inputs, filters, 3, stride),
            nn.ReLU(inplace=True),
            *_convolve(filters, filters, 3),
        )
        self.shortcut = nn.Identity()
        if inputs != filters or stride != 1:
            self.shortcut = nn.Sequential(
                *_convolve(inputs, filters, 1, stride)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.residual(x) + self.shortcut(x))


def _convolve(inputs, filters, size, stride=1):
    padding = size // 2
    return (
        nn.Conv2d(inputs, filters, size, stride, padding, bias=False),
        nn.BatchNorm2d(filters),
    )


def resnet50(classes):
    """Return a ResNet-50 v1 with logits of `classes`."""
    layers = [
        *_convolve(3, 64, 7, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for stage, units in enumerate(BLOCKS):
        filters = 64 * 2**stage
        for unit in range(units):
            stride = 2 if unit == 0 and stage > 0 else 1
            layers.append(_Unit(channels, filters, stride))
            channels = 4 * filters
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, classes))


def small(classes):
    """Return the ResNet of the small studies, with logits of `classes`."""
    layers = [*_convolve(3, 16, 3), nn.ReLU(inplace=True)]
    channels = 16
    for filters, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        layers.append(_BasicUnit(channels, filters, stride))
        channels = filters
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, classes))


NETS = {"small": small, "resnet50": resnet50}


def trainer(net, side, batch, classes, dtype, compiled):
    """Return a function that does one step.

    Args:
        net: A name in `NETS`; `small` has a logistic loss over dense labels,
            `resnet50` a softmax.
        side: Pixels.
        batch: Images.
        classes: Labels.
        dtype: "float32", or "bfloat16" for autocast.
        compiled: Whether by `torch.compile`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    memory_format = torch.channels_last
    model = NETS[net](classes).to(device, memory_format=memory_format)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.randint(256, (batch, 3, side, side)) / 127.5 - 1
    images = images.to(device, memory_format=memory_format)
    if net == "small":
        labels = (torch.rand(batch, classes) < 2 / classes).float().to(device)
        criterion = nn.functional.binary_cross_entropy_with_logits
    else:
        labels = torch.randint(classes, (batch,)).to(device)
        criterion = nn.functional.cross_entropy
    reduced = dtype == "bfloat16"

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            logits = forward(images)
        loss = criterion(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main():
    """Read a number of steps per line of input; print their seconds."""
    step = trainer(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        step()  # Untimed, as the first step of a `fit` is.
        began = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
