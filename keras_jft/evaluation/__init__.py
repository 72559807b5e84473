"""From a model and a data set to scores."""

from keras_jft.evaluation import original_pixels, pictures
from keras_jft.evaluation.evaluator import Config, run

__all__ = ["Config", "original_pixels", "pictures", "run"]
