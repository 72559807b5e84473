"""Files and rows that earlier versions wrote are read as they were meant.

`saved/configs.json` holds what Keras wrote of each class, and
`saved/multi_label.keras` a whole model, before the modules had their names of
today. Whoever renames a class or a module leaves them as they are.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

SAVED = pathlib.Path(__file__).parent / "saved"
CONFIGS = json.loads((SAVED / "configs.json").read_text(encoding="utf-8"))
PREDICTED = [
    [-0.99155, 0.28629, -0.56216, 0.93049, 0.28918],
    [-1.00803, -0.22061, 0.39670, 0.45944, 0.72951],
]


def _own(names):
    return {name for name in names if name.startswith("keras_jft>")}


def test_each_class_that_files_may_name_has_a_config_here():
    written = {config["registered_name"] for config in CONFIGS.values()}
    assert written == _own(keras.saving.get_custom_objects())


@pytest.mark.ops
@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_becomes_what_it_was(name):
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if name in ("retinanet", "yolo_v8") and not is_tensorflow:
        pytest.skip("KerasCV's detectors are for TensorFlow alone")
    written = CONFIGS[name]
    made = keras.saving.deserialize_keras_object(written)
    assert type(made).__name__ == written["class_name"]
    config = made.get_config()
    for key, value in written["config"].items():
        if not isinstance(value, dict):  # Of objects: their own tests.
            assert json.loads(json.dumps(config[key])) == value, key


@pytest.mark.ops
def test_a_model_predicts_what_it_predicted():
    # On JAX, too, what TensorFlow has saved.
    model = keras.saving.load_model(SAVED / "multi_label.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3))
    predicted = model.predict(images.astype("uint8"), verbose=0)
    np.testing.assert_allclose(predicted, PREDICTED, atol=1e-4)
