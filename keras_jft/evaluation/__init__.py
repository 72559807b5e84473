"""From a model and a data set to scores."""

from keras_jft.evaluation import poses
from keras_jft.evaluation.during_fit import Evaluate
from keras_jft.evaluation.evaluator import Config, predictions, run

__all__ = ["Config", "Evaluate", "poses", "predictions", "run"]
