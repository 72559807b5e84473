"""What every model exports, loaded where the package is not imported."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_jft import training
from keras_jft.pretrain import MultiLabelClassifier
from keras_jft.transfer import HEADS

# What a tiny instance of each head takes.
OPTIONS = {
    "deeplab_aspp": {"output_stride": 4, "rates": (1, 2)},
    "faster_rcnn": {"rpn_filters": 16, "num_proposals": 12, "crop_size": 4},
    "pose": {"output_stride": 2, "radius": 4.0},
}

SERVE = """
import pathlib
import sys

import numpy as np
import tensorflow as tf

# To rewrite graphs that run once takes longer than to run them.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
for path in sorted(folder.glob("model_*")):
    loaded = tf.saved_model.load(str(path))
    arrays = [np.asarray(x) for x in tf.nest.flatten(loaded.serve(images))]
    np.savez(folder / f"{path.name}.npz", *arrays)
assert not [name for name in sys.modules if name.startswith("keras_jft")]
"""


@pytest.mark.slow
def test_every_model_is_served_as_it_predicts(staged, tmp_path, rng):
    backbone = staged()
    models = {
        name: head.build(backbone, 3, **OPTIONS.get(name, {}))
        for name, head in HEADS.items()
    }
    models["retinanet_hub"] = HEADS["retinanet"].build(
        backbone, 3, implementation="keras_hub"
    )
    models["multi_label"] = MultiLabelClassifier(backbone, 5, shards=2)
    images = rng.integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    for name, model in models.items():
        model.export(tmp_path / f"model_{name}", verbose=False)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    for name, model in models.items():
        model.compile(run_eagerly=True)  # Once is sooner than traced.
        predicted = keras.tree.flatten(model.predict(images, verbose=0))
        with np.load(tmp_path / f"model_{name}.npz") as served:
            assert len(served) == len(predicted)
            for ours, theirs in zip(served.values(), predicted, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


class Darkest(training.Model):
    """Decodes to the position of the darkest pixel of an image."""

    def decode(self, outputs, images):
        return keras.ops.argmin(keras.ops.mean(outputs, axis=-1)[:, 0], axis=1)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_of_any_size_are_decoded_in_what_is_served(dtype, tmp_path, rng):
    import tensorflow as tf

    inputs = keras.Input((None, None, 3))
    model = Darkest(inputs, keras.layers.Rescaling(2.0)(inputs))
    model.export(tmp_path / "model", dtype=dtype, verbose=False)
    served = tf.saved_model.load(str(tmp_path / "model"))
    for side in (5, 9):
        images = rng.integers(0, 256, (2, 1, side, 3)).astype(dtype)
        np.testing.assert_array_equal(
            served.serve(images), images.mean(-1)[:, 0].argmin(axis=1)
        )
