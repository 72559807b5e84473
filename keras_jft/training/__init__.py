"""How anything is fit."""

from keras_jft.training.callbacks import (
    AtSteps,
    StopOnNonFiniteLoss,
    Throughput,
)
from keras_jft.training.checkpoints.checkpoint import Checkpoint
from keras_jft.training.checkpoints.load_weights import Loaded, load_weights
from keras_jft.training.checkpoints.state import reset
from keras_jft.training.distribution.jax_layouts import layout_map
from keras_jft.training.distribution.replicas import synchronize
from keras_jft.training.distribution.strategies import strategy
from keras_jft.training.encoding import sendable
from keras_jft.training.logging import JSONLogger, loggers, read_log
from keras_jft.training.model import Model
from keras_jft.training.optimization import (
    OPTIMIZERS,
    SCHEDULES,
    TO_THE_END,
    Optimization,
    TF1RMSprop,
    fit,
    piecewise,
    polynomial,
    staircase,
    warmup_cosine,
)
from keras_jft.training.precision import (
    check_dtype_policy,
    dtype_policy,
    fastest_dtype_policy,
)
from keras_jft.training.updates import check_multipliers

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "TO_THE_END",
    "AtSteps",
    "Checkpoint",
    "JSONLogger",
    "Loaded",
    "Model",
    "Optimization",
    "StopOnNonFiniteLoss",
    "TF1RMSprop",
    "Throughput",
    "check_dtype_policy",
    "check_multipliers",
    "dtype_policy",
    "fastest_dtype_policy",
    "fit",
    "layout_map",
    "load_weights",
    "loggers",
    "piecewise",
    "polynomial",
    "read_log",
    "reset",
    "sendable",
    "staircase",
    "strategy",
    "synchronize",
    "warmup_cosine",
]
