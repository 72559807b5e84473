"""How anything is fit."""

from keras_jft.training.callbacks import StopOnNonFiniteLoss, Throughput
from keras_jft.training.model import Model, reset
from keras_jft.training.optimization import Optimization, fit
from keras_jft.training.optimizers import OPTIMIZERS, TF1RMSprop
from keras_jft.training.precision import dtype_policy, fastest_dtype_policy
from keras_jft.training.schedules import (
    SCHEDULES,
    piecewise,
    polynomial,
    staircase,
    warmup_cosine,
)

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Model",
    "Optimization",
    "StopOnNonFiniteLoss",
    "TF1RMSprop",
    "Throughput",
    "dtype_policy",
    "fastest_dtype_policy",
    "fit",
    "piecewise",
    "polynomial",
    "reset",
    "staircase",
    "warmup_cosine",
]
