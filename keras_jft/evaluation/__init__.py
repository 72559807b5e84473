"""From a model and a data set to scores."""

from keras_jft.evaluation import poses
from keras_jft.evaluation.evaluator import Config, predictions, run

__all__ = ["Config", "poses", "predictions", "run"]
