# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your own images with boxes
#
# From a folder to a trained Faster R-CNN, its average precision and pictures of
# what it finds. The folder here is written first, in YOLO's layout, with
# rendered images; COCO, VOC, labelImg, labelme and CVAT are found the same way.

# %%
import dataclasses
import os
import pathlib

import matplotlib.pyplot as plt

import keras_jft as jft

# Fewer of both make a quicker and worse detector.
IMAGES = int(os.environ.get("IMAGES", 300))
EPOCHS = int(os.environ.get("EPOCHS", 20))

# %% [markdown]
# ## A folder of images and boxes

# %%
FOLDER = pathlib.Path("photos")
world = {"task": "detection", "image_size": 64}
for split, count in (("train", IMAGES), ("val", IMAGES // 4)):
    part = "train" if split == "train" else "test"
    made = jft.data.load("synthetic", part, num_examples=count, **world)
    for kind in ("images", "labels"):
        (FOLDER / kind / split).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        example = made[i]
        plt.imsave(FOLDER / "images" / split / f"{i}.png", example["images"])
        boxes = example["bounding_boxes"]
        (FOLDER / "labels" / split / f"{i}.txt").write_text(
            "".join(
                f"{label} {(x0 + x1) / 128} {(y0 + y1) / 128} "
                f"{(x1 - x0) / 64} {(y1 - y0) / 64}\n"
                for label, (x0, y0, x1, y1) in zip(
                    boxes["labels"], boxes["boxes"], strict=True
                )
                if label >= 0
            ),
            encoding="utf-8",
        )
names = list(made.info.label_names)
(FOLDER / "data.yaml").write_text(
    f"train: images/train\nval: images/val\nnames: {names}\n",
    encoding="utf-8",
)

# %% [markdown]
# ## What is in it
#
# `find_layout` looks at the files and says what it takes them for.

# %%
layout = jft.data.find_layout(FOLDER)
print(layout)
data = layout.load("train")
print(jft.data.describe(data))

# %% [markdown]
# ## Train
#
# A recipe is a whole config: the head with its anchors, the optimizer, the
# schedule. `mode="fine_tuned"` trains everything; `backbone` may come from a
# pre-training, `jft.backbones.create(...)`, or, as here, from random weights.

# %%
small = jft.transfer.RECIPES["faster_rcnn"]["small"]
config = dataclasses.replace(
    small,
    dataset=layout.dataset,
    options=layout.options,
    split="train",
    learning_rate=0.05,
    epochs=EPOCHS,
)
backbone = jft.pretrain.backbone(jft.pretrain.Config(image_size=(64, 64)))
detector = jft.transfer.run(config, backbone, verbose=0)

# %% [markdown]
# ## Measure
#
# COCO's numbers, as pycocotools gives them.

# %%
measured = jft.evaluation.Config(
    dataset=layout.dataset, options=layout.options, split="val"
)
scores = jft.evaluation.run(measured, detector)
print({name: round(float(scores[name]), 3) for name in ("ap", "ap50", "ar100")})

# %% [markdown]
# ## Look
#
# True boxes on the left, detections with their scores on the right.

# %%
validation = layout.load("val")
batch = next(
    iter(jft.data.batches(validation, batch_size=3).as_numpy_iterator())
)
found = detector.predict(batch["images"], verbose=0)
figure = jft.evaluation.plot_detections(
    batch["images"], batch["bounding_boxes"], found, validation.info.label_names
)

# %% [markdown]
# ## Keep it
#
# The file loads with `keras.saving.load_model`, and `keras-jft predict` and
# `keras-jft export` take it.

# %%
detector.save("detector.keras")
