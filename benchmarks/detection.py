"""Does detection rise with log data size on real images? Figure 4, small."""

import argparse
import dataclasses
import json
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import data_size
import numpy as np
from PIL import Image

import keras_jft as jft
from keras_jft.data import transforms

HERE = pathlib.Path(__file__).parent
IMAGE_SIZE = (96, 128)
# Platelets are about 8 px at this size, red cells 21, white cells 40.
DETECTOR = {
    "anchor_base": 21,
    "anchor_scales": (0.4, 1.0, 1.9),
    "anchor_ratios": (0.7, 1.0, 1.4),
    "rpn_filters": 64,
    "rpn_samples": 64,
    "head_samples": 32,
    "num_proposals": 80,
    "max_detections": 80,
    "crop_size": 8,
}


def configs(arguments):
    """One `jft.scaling.Run` for each size, mode and seed."""
    pretrain = data_size.pretraining(arguments.tiny_imagenet)
    options = {"directory": str(arguments.bccd)}
    for seed in arguments.seeds:
        for size in arguments.sizes:
            for mode in jft.transfer.MODES:
                yield jft.scaling.Run(
                    pretrain=dataclasses.replace(
                        pretrain, num_examples=size, seed=seed
                    ),
                    transfer=jft.transfer.Config(
                        head="faster_rcnn",
                        head_options=DETECTOR,
                        mode=mode,
                        dataset="voc",
                        options=options,
                        split="trainval",
                        num_examples=arguments.images,
                        seed=seed,
                        transforms=(
                            transforms.Resize(IMAGE_SIZE),
                            transforms.RandomFlip(),
                        ),
                        image_size=IMAGE_SIZE,
                        learning_rate=arguments.learning_rate,
                        clipnorm=10.0,
                        batch_size=4,
                        epochs=arguments.epochs,
                    ),
                    evaluation=jft.evaluation.Config(
                        task="detection",
                        dataset="voc",
                        options=options,
                        split="test",
                        transforms=(transforms.Resize(IMAGE_SIZE),),
                        batch_size=8,
                    ),
                )
