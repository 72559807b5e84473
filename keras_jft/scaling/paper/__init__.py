"""The paper's published numbers, to compare one's own rows with."""

from keras_jft.scaling.paper.paper import (
    CAPACITY_GAINS,
    FAULTS,
    LOOK,
    SCORES,
    Fault,
)

__all__ = ["CAPACITY_GAINS", "FAULTS", "LOOK", "SCORES", "Fault"]
