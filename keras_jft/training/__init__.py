"""How anything is fit."""

from keras_jft.training.callbacks import StopOnNonFiniteLoss, Throughput
from keras_jft.training.model import Model, reset
from keras_jft.training.optimizers import TF1RMSprop
from keras_jft.training.precision import dtype_policy, fastest_dtype_policy
from keras_jft.training.replicas import synchronize
from keras_jft.training.schedules import warmup_cosine
from keras_jft.training.strategies import strategy

__all__ = [
    "Model",
    "StopOnNonFiniteLoss",
    "TF1RMSprop",
    "Throughput",
    "dtype_policy",
    "fastest_dtype_policy",
    "reset",
    "strategy",
    "synchronize",
    "warmup_cosine",
]
