"""What a data set holds, in numbers and pictures."""

from keras_jft.data.statistics.describing import describe
from keras_jft.data.statistics.description import Description

__all__ = ["Description", "describe"]
