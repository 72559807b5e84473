"""From a model and a data set to scores."""

from keras_jft.evaluation.during_fit import Evaluate
from keras_jft.evaluation.evaluator import Config, run

__all__ = ["Config", "Evaluate", "run"]
