"""What a study does for one config: pre-train, transfer, evaluate."""

import dataclasses
import os
import pathlib
import tempfile

import keras

from keras_jft import data, evaluation, pretrain, transfer
from keras_jft.scaling import study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One row of a study.

    Attributes:
        pretrain: The pre-training; `num_examples=0` is random initialization.
        transfer: The transfer.
        evaluation: What the model is measured on.
    """

    pretrain: pretrain.Config
    transfer: transfer.Config
    evaluation: evaluation.Config

    @property
    def task(self):
        """The task of the head."""
        return transfer.HEADS[self.transfer.head].task

    @property
    def mode(self):
        """How the backbone is transferred."""
        return self.transfer.mode

    @property
    def num_examples(self):
        """The size of the pre-training."""
        return self.pretrain.num_examples

    @property
    def seed(self):
        """The seed of the transfer."""
        return self.transfer.seed

    @property
    def images(self):
        """How many images the pre-training sees, epochs counted."""
        config = self.pretrain
        if config.epochs is not None:
            return config.epochs * (config.num_examples or 0)
        return config.steps * config.batch_size * (config.num_examples != 0)


class Runner:
    """Runs configs, doing what several of them share only once.

    A backbone is pre-trained once and kept on disk; a data set is decoded once
    and kept in memory; a model whose configs differ in the seed and the
    pre-training alone is compiled once.

    Args:
        directory: Where backbones are kept, `<key of the config>.keras`.
        verbose: As in `keras.Model.fit`, of pre-training.
    """

    def __init__(self, directory, verbose=0):
        self.directory = pathlib.Path(directory)
        self.verbose = verbose
        self._examples = {}
        self._models = {}

    def __call__(self, run):
        """Scores of one `Run`."""
        backbone = self.backbone(run.pretrain)
        model = self._transferred(run.transfer, backbone)
        return evaluation.run(
            run.evaluation, model, self.examples(run.evaluation)
        )

    def backbone(self, config):
        """The backbone of a pre-training config, from disk or trained now."""
        if config.num_examples == 0:
            return pretrain.backbone(config)
        path = self.directory / f"{study.key(config)}.keras"
        if path.exists():
            return keras.saving.load_model(path)
        backbone = pretrain.run(
            config, self.examples(config), verbose=self.verbose
        )
        _save(backbone, path)
        return backbone

    def examples(self, config):
        """The data set of a config, decoded once and kept in memory."""
        split = getattr(config, "split", "train")
        wanted = (config.dataset, split, repr(sorted(config.options.items())))
        if wanted not in self._examples:
            self._examples[wanted] = data.cache(
                data.load(config.dataset, split=split, **config.options)
            )
        return self._examples[wanted]

    def _transferred(self, config, backbone):
        unseeded = repr(dataclasses.replace(config, seed=0))
        self._models[unseeded] = transfer.run(
            config,
            backbone,
            self.examples(config),
            model=self._models.get(unseeded),
            verbose=0,
        )
        return self._models[unseeded]


def _save(backbone, path):
    """Writes a backbone whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = pathlib.Path(folder) / path.name
        backbone.save(temporary)
        os.replace(temporary, path)
