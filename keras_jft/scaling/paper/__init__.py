"""The numbers of the paper, and rows beside them."""

from keras_jft.scaling.paper.paper import (
    CAPACITY_GAINS,
    FAULTS,
    LOOK,
    POINTS,
    Fault,
)

__all__ = ["CAPACITY_GAINS", "FAULTS", "LOOK", "POINTS", "Fault"]
