import numpy as np

from keras_jft.data.suppression import suppress


def test_what_was_left_out_does_not_suppress(rng):
    similarity = np.array([[1, 0.8, 0.2], [0.8, 1, 0.8], [0.2, 0.8, 1]])
    assert suppress(similarity, [0.9, 0.8, 0.7], 0.6) == [0, 2]
    assert suppress(similarity, [0.7, 0.9, 0.8], 0.6) == [1]
    # The threshold itself is not above it.
    assert suppress(similarity, [0.9, 0.8, 0.7], 0.8) == [0, 1, 2]
    assert suppress(np.zeros((0, 0)), [], 0.5) == []
