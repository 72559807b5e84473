"""What a study runs: a pre-training, tasks, sizes and seeds."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_jft import evaluation, pretrain, transfer
from keras_jft.evaluation import Config as EvaluationConfig
from keras_jft.scaling.rows.table import has_weights
from keras_jft.scaling.study.runs import Run, Runner
from keras_jft.scaling.study.study import Study
from keras_jft.transfer import Config as TransferConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a study.

    Attributes:
        transfer: Its transfer, for any mode and seed.
        evaluation: Its evaluation.
        modes: The modes of transfer.
        rates: Learning rates of modes, where they are not that of `transfer`.
        validation: How to measure after each epoch, of which the best counts,
            and while learning rates are searched: on images that are neither
            trained on nor those of `evaluation`; None if there are too few.
    """

    transfer: transfer.Config
    evaluation: evaluation.Config
    modes: tuple[str, ...]
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    validation: EvaluationConfig | None = None

    def of_mode(self, mode: str, seed: int) -> TransferConfig:
        """Return the config of a transfer."""
        rate = self.rates.get(mode, self.transfer.learning_rate)
        return dataclasses.replace(
            self.transfer, mode=mode, seed=seed, learning_rate=rate
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All runs of a study, and why they are what they are.

    Attributes:
        output: The folder of rows, backbones and the page.
        pretrain: The pre-training, for any size and seed.
        tasks: `Task`s by name.
        sizes: Sizes of the pre-training; 0 is random initialization.
        seeds: Seeds of every size.
        notes: Sentences on what was found and chosen.
        chosen: What the user has chosen: "sizes", "seeds", and learning rates,
            such as "tasks.cats.learning_rate".
        until: As for `Study`.
        searches: Whether `search_rates` looks for learning rates.
    """

    output: pathlib.Path
    pretrain: pretrain.Config
    tasks: Mapping[str, Task]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    until: str | None = None
    searches: bool = True

    def runs(self) -> list[Run]:
        """Return the `Run`s, those of one pre-training together.

        Raises:
            ValueError: A size, a seed or a mode is not possible.
        """
        return [
            Run(
                pretrain=dataclasses.replace(
                    self.pretrain, num_examples=size, seed=seed
                ),
                transfer=task.of_mode(mode, seed),
                evaluation=task.evaluation,
                validation=task.validation,
                arm=None if name == _kind_of(task.transfer) else name,
            )
            for seed in self.seeds
            for size in self.sizes
            for name, task in self.tasks.items()
            for mode in task.modes
        ]

    def study(self, tensorboard: bool = False, **options: Any) -> Study:
        """Return the `Study`, whose rows are `rows.jsonl` in the output.

        Args:
            tensorboard: Whether runs write logs, as for `Runner`.
            **options: As for `Study`.
        """
        return Study(
            self.runs(),
            self.output / "rows.jsonl",
            run=Runner(self.output / "backbones", tensorboard=tensorboard),
            **{"until": self.until, **options},
        )

    def __str__(self) -> str:
        """Return what will be done, in lines."""
        shown = ", ".join(f"{size:,}" for size in self.sizes)
        start = "random initialization"
        if has_weights(vars(self.pretrain)):
            start = "the initial weights alone"
        lines = [
            *self.notes,
            f"sizes: {shown} (0: {start})",
            f"seeds: {', '.join(map(str, self.seeds))}",
        ]
        return "\n".join(f"- {line}" for line in lines)


def _kind_of(config):
    return transfer.HEADS[config.head].task
