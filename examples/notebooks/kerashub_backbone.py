# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Bring a KerasHub backbone
#
# Any functional Keras net becomes a backbone. With a connection, a net with its
# weights and its scaling of pixels comes by name:
#
#     backbone = jft.backbones.create(
#         "hub/vit_base_patch16_224_imagenet", weights="imagenet"
#     )
#
# Here a small ViT with random weights stands in, so that this runs anywhere in
# a minute. KerasHub is an extra: `pip install "keras_jft[hub]"`.

# %%
import math
import os

import keras
import keras_hub

import keras_jft as jft

IMAGES = int(os.environ.get("IMAGES", 2_000))
EPOCHS = int(os.environ.get("EPOCHS", 5))
keras.utils.set_random_seed(0)

# %% [markdown]
# ## A net becomes a backbone
#
# The scaling of pixels is never guessed: `"tf"` is x / 127.5 - 1. Images of
# 0..255 come in; the pyramid has the levels that heads read.

# %%
net = keras_hub.models.ViTBackbone(
    image_shape=(32, 32, 3),
    patch_size=4,
    num_layers=4,
    num_heads=4,
    hidden_dim=64,
    mlp_dim=128,
)
backbone = jft.backbones.adapt(net, scaling="tf")
print(backbone.strides, backbone.pooled_output.shape)
stages = backbone.layers_by_stage()
print({stage: len(layers) for stage, layers in stages.items()})

# %% [markdown]
# ## Pre-train it on noisy labels
#
# `initial` starts from the backbone, whatever net it is.

# %%
config = jft.pretrain.Config(num_examples=IMAGES, epochs=EPOCHS, batch_size=16)
pretrained = jft.pretrain.run(config, initial=backbone, verbose=0)

# %% [markdown]
# ## Transfer it, frozen
#
# `mode="frozen"` trains what comes after P4, of a ViT the last quarter of its
# blocks, and the head. The summary ends with what is frozen.

# %%
scores = {}
for name, start in (("random", backbone), ("pre-trained", pretrained)):
    transfer = jft.transfer.Config(
        options={"task": "classification"}, mode="frozen", epochs=EPOCHS
    )
    model = jft.transfer.run(transfer, start, verbose=0)
    measured = jft.evaluation.Config(options={"task": "classification"})
    scores[name] = jft.evaluation.run(measured, model)["top1"]
print({name: round(float(score), 3) for name, score in scores.items()})

# %%
trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
print(f"{trained:,} of {model.count_params():,} weights are trained")

# %% [markdown]
# ## Keep it
#
# A file of plain data: the class and the arguments of the net, and its weights.
# Loading never executes code from it.

# %%
jft.backbones.save(pretrained, "vit.npz")
again = jft.backbones.load("vit.npz")
print(type(again).__name__, again.strides)
