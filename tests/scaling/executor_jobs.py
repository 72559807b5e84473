"""Runs that train nothing, in a module that workers import quickly."""

import dataclasses
import os
import pathlib
import signal
import time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrain:
    num_examples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pretrain: Pretrain
    seed: int
    folder: str
    kills: int = 0  # How many times it kills its worker.

    @property
    def num_examples(self):
        return self.pretrain.num_examples


def configs(folder, kills=1):
    """Four runs of two pre-trainings; the third kills its worker."""
    return [
        Config(
            pretrain=Pretrain(num_examples=size),
            seed=seed,
            folder=str(folder),
            kills=kills if (size, seed) == (300, 2) else 0,
        )
        for seed in (1, 2)
        for size in (300, 1000)
    ]


def run(config):
    """Return the worker that did it; note each start and each pre-training."""
    size, folder = config.num_examples, pathlib.Path(config.folder)
    began = folder / f"began-{size}-{config.seed}"
    with open(began, "a") as file:
        file.write("x")
    if began.stat().st_size <= config.kills:
        time.sleep(0.3)  # What it did before has been fetched.
        os.kill(os.getpid(), signal.SIGKILL)
    backbone = folder / f"backbone-{size}"
    if not backbone.exists():
        with open(folder / f"pretrained-{size}", "a") as file:
            file.write("x")
        time.sleep(0.2)  # In which others would begin the same.
        backbone.touch()
    return {"task": "classification", "top1": 0.5, "process": os.getpid()}


class _Unreadable:
    """Can be sent, and not read."""

    def __reduce__(self):
        return __import__, ("nowhere",)

    def __call__(self, config):
        return {}


unreadable = _Unreadable()


def fail(config):
    """Raise an error that cannot be sent."""
    raise Unsendable("the disk", "is gone")


class Unsendable(OSError):
    def __reduce__(self):
        raise TypeError("it cannot be sent")


def wait(config):
    """Begin, and never end."""
    (pathlib.Path(config.folder) / f"waits-{os.getpid()}").touch()
    time.sleep(600)


def begun(folder):
    """Return how many times each run began, and each pre-training."""
    return {
        path.name: path.stat().st_size
        for pattern in ("began-*", "pretrained-*")
        for path in pathlib.Path(folder).glob(pattern)
    }
