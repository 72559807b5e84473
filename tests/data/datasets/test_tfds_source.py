"""What TFDS cannot do is said by name."""

import numpy as np
import pytest

from keras_jft.data.datasets import tfds

pytest.importorskip("tensorflow_datasets")


def test_a_set_that_is_not_prepared_says_how_to(tmp_path):
    class Unprepared:
        def as_data_source(self, split, decoders):
            raise NotImplementedError("format TFRECORD is not supported.")

    with pytest.raises(ValueError, match="'voc', split 'train'.*TFRECORD.*dow"):
        tfds._source_of(Unprepared(), "train", "voc")


def test_an_unknown_set_or_record_is_named(tmp_path):
    with pytest.raises(ValueError, match="must name a TFDS data set.*'coc/1'"):
        tfds._builder_of("coc/1", tmp_path)
    with pytest.raises(ValueError, match="Example 3 of 'x' cannot be read"):
        tfds._read_example([], 3, "x")


def test_gray_arrays_become_rgb():
    gray = np.arange(6, dtype="uint8").reshape(2, 3, 1)
    found = tfds._pixels(gray, 0, "x")
    assert found.shape == (2, 3, 3) and (found == gray).all()
