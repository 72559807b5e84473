"""From a model and a data set to scores."""

from keras_jft.evaluation import duplicates
from keras_jft.evaluation.evaluator import Config, run

__all__ = ["Config", "duplicates", "run"]
