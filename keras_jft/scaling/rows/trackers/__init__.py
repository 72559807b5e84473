"""Kinds of records of past trainings, each read without the tool itself."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_jft.scaling.rows.trackers import logs, mlflow, tensorboard, wandb
from keras_jft.scaling.rows.trackers.run import TrackedRun


class Kind(NamedTuple):
    """A kind of records.

    Attributes:
        said: What it is called, with the number of runs before it.
        matches: Whether a file is of this kind.
        read: The runs of all such files.
        files: The names of its files, in words.
        has_steps: Whether metrics have a value per step or epoch.
    """

    said: str
    matches: Callable[[Path], bool]
    read: Callable[[Sequence[Path]], Iterator[TrackedRun]]
    files: str
    has_steps: bool = True


KINDS = {
    "mlflow": Kind(
        "MLflow", mlflow.matches, mlflow.read, "mlruns/ or mlflow.db"
    ),
    "wandb": Kind(
        "Weights & Biases",
        wandb.matches,
        wandb.read,
        "an exported table of runs",
        has_steps=False,
    ),
    "huggingface": Kind(
        "a Hugging Face Trainer",
        logs.is_hugging_face,
        logs.read_hugging_face,
        "trainer_state.json",
    ),
    "ultralytics": Kind(
        "Ultralytics",
        logs.is_ultralytics,
        logs.read_ultralytics,
        "results.csv",
    ),
    "lightning": Kind(
        "Lightning", logs.is_lightning, logs.read_lightning, "metrics.csv"
    ),
    "keras": Kind(
        "Keras's CSVLogger", logs.is_keras, logs.read_keras, "any *.csv"
    ),
    "tensorboard": Kind(
        "TensorBoard", tensorboard.matches, tensorboard.read, "*tfevents*"
    ),
}
