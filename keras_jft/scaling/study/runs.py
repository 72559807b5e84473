"""One run of a study: pre-train, transfer, evaluate."""

import dataclasses
import secrets
import threading
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_jft import (
    checks,
    data,
    evaluation,
    files,
    metrics,
    pretrain,
    training,
    transfer,
)
from keras_jft.backbones import resnet
from keras_jft.evaluation import Config as EvaluationConfig
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.study import claims, fingerprints
from keras_jft.scaling.study.config_id import config_id
from keras_jft.training.checkpoints.checkpoint import BEST
from keras_jft.training.checkpoints.load_weights import load_all_weights
from keras_jft.typing import PathLike

MODELS = 8  # That stay compiled: of four tasks, frozen and fine-tuned.


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Learning rates from which a run chooses its own.

    Attributes:
        rates: The rates to try, two or more.
        transfer: The transfer that tries them, on a part of the images; mode
            and seed are those of the run.
        evaluation: How it is measured, on another part. Neither may be what
            the run itself is measured on.

    Raises:
        ValueError: There is just one rate, or one that is not positive.
    """

    rates: tuple[float, ...]
    transfer: transfer.Config
    evaluation: evaluation.Config

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.numbers_of("rates", self.rates, 0, above=True)
        if len({*self.rates}) < 2:
            raise ValueError(
                "`rates` must be two or more learning rates. Received: "
                f"rates={self.rates}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The config of one run of a study, which becomes one row.

    Attributes:
        pretrain: The pre-training; `num_examples=0` is random initialization.
        transfer: The transfer.
        evaluation: The evaluation. Its task is that of the transfer's head.
        arm: What tells it from runs of the same task and mode on other data.
        validation: How to measure the transfer after its epochs, on images that
            `evaluation` does not measure on; the best epoch is taken. None: the
            last epoch is.
        search: The learning rates that the transfer chooses from; None: it has
            the one of `transfer`.

    Raises:
        ValueError: If the evaluation, or the annotation of a data set, is for
            another task than the head, a data set lacks a required option, or
            the head or the evaluation does not fit the net.
    """

    pretrain: pretrain.Config
    transfer: transfer.Config
    evaluation: evaluation.Config
    arm: str | None = dataclasses.field(default=None, metadata={"added": True})
    validation: EvaluationConfig | None = dataclasses.field(
        default=None, metadata={"added": True}
    )
    search: RateSearch | None = dataclasses.field(
        default=None, metadata={"added": True}
    )

    def __post_init__(self) -> None:
        checks.fields(self)
        given = self.evaluation.task
        if given not in (None, self.task):
            raise ValueError(
                f"The task of the head {self.transfer.head!r} is {self.task!r}."
                f" Received: evaluation.task={given!r}. Leave it out, or choose"
                " a head for that task."
            )
        for part in (self.pretrain, self.transfer, self.evaluation):
            data.check_options(
                part.dataset, part.options, split=part.split, complete=True
            )
        for name in ("transfer", "evaluation"):
            self._check_shown(name, getattr(self, name))
        data.check_transforms(
            self.evaluation.transforms, self.transfer.image_size
        )
        # Of another net, its `rebuild` says what it can.
        if (
            self.pretrain.backbone is None
            and not isinstance(self.pretrain.initial, str)
            and "output_stride" in self.transfer.head_options
        ):
            checks.one_of(
                "output_stride",
                self.transfer.head_options["output_stride"],
                resnet.OUTPUT_STRIDES[self.pretrain.stem],
            )
        # An explicit task makes no other run: give both the same key.
        for name in ("evaluation", "validation"):
            measured = getattr(self, name)
            if measured is not None:
                measured = dataclasses.replace(measured, task=self.task)
                object.__setattr__(self, name, measured)

    def _check_shown(self, name, part):
        """Raise `ValueError` if a data set is annotated for another task."""
        shown = data.annotated_for(part.dataset, part.options)
        if shown not in (None, self.task):
            many = self.task == "multi_label"
            made_up = "many_label" if many else self.task
            raise ValueError(
                f"`{name}` must use data for the task {self.task!r} of the head"
                f" {self.transfer.head!r}. Received: the data set "
                f"{part.dataset!r}, annotated for {shown!r}"
                + (
                    f'. Give options={{"task": {made_up!r}}}.'
                    if part.dataset == "synthetic"
                    else ". Choose another head or another data set."
                )
            )

    @property
    def task(self) -> str:
        """The task of the head."""
        return transfer.HEADS[self.transfer.head].task

    @property
    def mode(self) -> str:
        """How the backbone is transferred."""
        return self.transfer.mode

    @property
    def num_examples(self) -> int | None:
        """The size of the pre-training."""
        return self.pretrain.num_examples

    @property
    def seed(self) -> int:
        """The seed of the transfer."""
        return self.transfer.seed

    @property
    def images(self) -> int:
        """Number of images that the pre-training sees, over all epochs."""
        config = self.pretrain
        if config.epochs is not None:
            return config.epochs * (config.num_examples or 0)
        steps = config.steps or 0
        return steps * config.batch_size * (config.num_examples != 0)


class Runner:
    """Executes runs, doing work that several of them share only once.

    A backbone is pre-trained once and kept on disk; where it starts from
    another (`initial`), that is trained first. A pre-training or transfer that
    was interrupted goes on from `<key>.unfinished`. A data set is decoded once
    and kept in memory; a model is compiled once for all runs that differ only
    in the seed and the pre-training, provided that the net is the same.

    If pre-training and evaluation images come from different sources, scores
    are also given without near-duplicates of pre-training images. Duplicates of
    the whole source are left out, so that all sizes, including no pre-training,
    are scored on the same images. Embeddings are kept in
    `<directory>/embeddings`.

    A `Runner` can be sent to other processes, where what it keeps in memory is
    kept from run to run. Threads do one run at a time.

    Each row reports what its run would take on its own: `device_seconds`, which
    include `pretrain_seconds` even if the backbone was trained for another run.

    Args:
        directory: Folder of the backbones, `<key of the config>.keras`, each
            with a file that says how many seconds it took.
        verbose: As in `keras.Model.fit`, for pre-training.
        threshold: Cosine of embeddings from which two images are duplicates;
            None: scores on all images only.
        embedder: A backbone for `jft.evaluation.duplicates.embed`, for images
            of 32 px. The default, `thumbnails()`, is cheap and finds copies
            that show the same frame, which more of their pixels then confirm.
            Pages of the pairs are in `<directory>/duplicates`.
        tensorboard: Whether to write logs for TensorBoard, into
            `<directory>/tensorboard`.
        shorter: Configs of pre-trainings. One that is the first steps of a
            longer one, as its schedule does not depend on its length, is kept
            on the way of that, and takes no training of its own.
        monitor: How to measure pre-training on the way, such as by mAP@100 on
            images of its own, where these have the same labels. The numbers go
            to `<key>.log.jsonl`, which `jft.training.read_log` reads; the last
            are in the rows, as `pretrain_map` and so on.
        every: Steps between two of these measurements.
        in_memory: Whether data sets are kept in memory; if they do not fit,
            images are read anew in every pass.
    """

    def __init__(
        self,
        directory: PathLike,
        verbose: int | str = 0,
        *,
        threshold: float | None = evaluation.duplicates.THRESHOLD,
        embedder: keras.Model | None = None,
        tensorboard: bool = False,
        shorter: Iterable[pretrain.Config] = (),
        monitor: evaluation.Config | None = None,
        every: int = 1_000,
        in_memory: bool = True,
    ):
        self.directory = files.as_path("directory", directory, "backbones")
        if tensorboard:
            files.check_local("directory", directory, "backbones")
        self.verbose = verbose
        self.threshold = threshold
        self.tensorboard = tensorboard
        self._given_embedder = embedder
        self.shorter = tuple(shorter)
        self.monitor = monitor
        self.every = checks.whole("every", every, 1)
        self.in_memory = in_memory
        self._name = secrets.token_hex(8)
        self._begin()

    def _begin(self) -> None:
        """Make what is kept in memory, from run to run, in one process."""
        self._examples: dict = {}
        self._models: dict = {}
        self._duplicates: dict = {}
        self._embedder = self._given_embedder
        self._fingerprints = fingerprints.Fingerprints()
        self._one_at_a_time = threading.Lock()  # Models are shared.

    def __reduce__(self):
        kept = dict(vars(self))
        for name in _IN_MEMORY:
            del kept[name]
        return _received, (type(self), kept)

    def __call__(self, run: Run) -> dict[str, Any]:
        """Return the scores and the cost of one `Run`."""
        with self._one_at_a_time:
            return self._scores(run)

    def _scores(self, run):
        backbone = self.backbone(run.pretrain)
        start = time.perf_counter()
        run, chosen = self._with_best_rate(run, backbone)
        model = self._transferred(run, backbone)
        scores = evaluation.run(
            run.evaluation,
            model,
            self.examples(run.evaluation),
            duplicates=self.duplicates(run),
        )
        seconds = time.perf_counter() - start
        files.remove_tree(self._path(run, ".unfinished"))
        return {
            **scores,
            **chosen,
            **self._monitored(run.pretrain),
            **self._seconds(run.pretrain, seconds),
        }

    def _with_best_rate(self, run, backbone):
        """Return a run with the best rate of its search, and columns on it."""
        if run.search is None:
            return run, {}
        scores = {}
        score = metrics.METRICS[run.task].score
        for rate in run.search.rates:
            config = dataclasses.replace(
                run.search.transfer,
                mode=run.mode,
                seed=run.seed,
                learning_rate=rate,
            )
            trial = dataclasses.replace(
                run,
                transfer=config,
                evaluation=run.search.evaluation,
                validation=None,
            )
            scores[rate] = evaluation.run(
                trial.evaluation,
                self._transferred(trial, backbone),
                self.examples(trial.evaluation),
            )[score]
            files.remove_tree(self._path(trial, ".unfinished"))
        best = max(scores, key=lambda rate: np.nan_to_num(scores[rate], nan=-1))
        config = dataclasses.replace(run.transfer, learning_rate=best)
        return dataclasses.replace(run, transfer=config), {
            "learning_rate": best,
            "rates_tried": {f"{rate:g}": scores[rate] for rate in scores},
        }

    def backbone(self, config: pretrain.Config) -> keras.Model:
        """Return the backbone of a pre-training config, from disk or new."""
        if config.num_examples == 0:
            return pretrain.backbone(config, self._initial(config))
        # Of several processes that need it one trains it; the others wait.
        with claims.wait(self.directory / "backbones", config_id(config)):
            return self._pretrained(config)

    def _initial(self, config):
        """Return the backbone of the pre-training before one, or None."""
        before = config.initial
        is_trained = isinstance(before, pretrain.Config)
        return self.backbone(before) if is_trained else None

    def _pretrained(self, config):
        path, kept = self._path(config), self._path(config, ".files")
        read = str(self._fingerprints.of(config))
        # Older backbones have no such file, and are assumed to be up to date.
        same = not kept.exists() or kept.read_text(encoding="utf-8") == read
        if path.exists() and same:
            with files.local_copy(path) as copy:
                return keras.saving.load_model(copy)
        initial = self._initial(config)
        examples = self.examples(config)
        start = time.perf_counter()
        unfinished = self._path(config, ".unfinished")
        backbone = pretrain.run(
            config,
            examples,
            **({} if initial is None else {"initial": initial}),
            callbacks=[
                *self._logs(config),
                training.Checkpoint(unfinished),
                training.AtSteps(self._on_the_way(config, examples, start)),
            ],
            verbose=self.verbose,
        )
        self._keep(config, backbone, time.perf_counter() - start)
        files.remove_tree(unfinished)
        return backbone

    def _keep(self, config, backbone, seconds):
        """Write a backbone, and what tells whether it is up to date."""
        with files.atomic_write(self._path(config)) as partial:
            backbone.save(partial)
        files.write_bytes(
            self._path(config, ".seconds"), f"{seconds:.3f}\n".encode()
        )
        read = str(self._fingerprints.of(config))
        if read != "None":
            files.write_bytes(self._path(config, ".files"), read.encode())

    def _on_the_way(self, config, examples, start):
        """Return `{step: call}` of what is kept and measured on the way."""
        kept = {
            shorter.steps: shorter
            for shorter in self.shorter
            if _is_start(shorter, config)
        }
        measured = ()
        if self._can_be_monitored(examples):
            size = config.num_examples or len(examples)
            steps = config.steps or config.epochs * (size // config.batch_size)
            measured = {*range(self.every, steps, self.every), steps}

        def call(step, model, logs):
            training.synchronize(model)
            if step in kept:
                seconds = time.perf_counter() - start
                self._keep(kept[step], model.backbone, seconds)
            if step in measured:
                self._measure(config, step, model, logs)

        return dict.fromkeys({*kept, *measured}, call)

    def _can_be_monitored(self, examples):
        """Return whether pre-training names the labels that are monitored."""
        if self.monitor is None:
            return False
        names = self.examples(self.monitor).info.label_names
        return names == examples.info.label_names

    def _measure(self, config, step, model, logs):
        """Append a line to the log of a pre-training."""
        scores = evaluation.run(
            self.monitor, model, self.examples(self.monitor)
        )
        line = {"step": step, **logs} | {
            f"val_{name}": value
            for name, value in scores.items()
            if np.ndim(value) == 0
        }
        rows_lib.append(self._path(config, ".log.jsonl"), line)

    def log(self, config: pretrain.Config) -> list[dict[str, Any]]:
        """Return the lines that `monitor` has of a pre-training, by step."""
        path = self._path(config, ".log.jsonl")
        return training.read_log(path) if path.exists() else []

    def _monitored(self, config):
        """Return the last numbers of the log of a pre-training, as columns."""
        lines = self.log(config)
        last = lines[-1] if lines else {}
        return {
            f"pretrain_{name.removeprefix('val_')}": value
            for name, value in last.items()
            if name.startswith("val_")
        }

    def examples(
        self, config: pretrain.Config | transfer.Config | evaluation.Config
    ) -> data.Dataset:
        """Return the data set of a config, decoded once and kept in memory."""
        wanted = config_id(_data(config))
        if wanted not in self._examples:
            found = data.load(
                config.dataset, split=config.split, **config.options
            )
            self._examples[wanted] = (
                data.cache(found) if self.in_memory else found
            )
        return self._examples[wanted]

    def duplicates(self, run: Run) -> np.ndarray | None:
        """Return ids of evaluation images that pre-training may have seen.

        None if both come from one source, whose splits are assumed to be
        disjoint, or if `threshold` is None.
        """
        sides = run.evaluation, run.pretrain
        if self.threshold is None or _source(sides[0]) == _source(sides[1]):
            return None
        wanted = config_id(tuple(map(_data, sides)))
        if wanted not in self._duplicates:
            queries, references = map(self._embeddings, sides)
            found = evaluation.duplicates.find(
                queries, references, self.threshold
            )
            self._duplicates[wanted] = self._shown(run, found)
        return self._duplicates[wanted]

    def _shown(self, run, found):
        """Return the ids of duplicates, and write a page of them.

        Those that thumbnails find are judged by more of their pixels.
        """
        images = self.examples(run.evaluation), self.examples(run.pretrain)
        if self._given_embedder is None:
            found = evaluation.duplicates.confirmed(found, *images)
        path = self.directory / "duplicates" / f"{run.arm or run.task}.html"
        path.parent.mkdir(exist_ok=True)
        evaluation.duplicates.write_page(found, *images, path)
        return found.duplicate_ids

    def _path(self, config, suffix=".keras"):
        return self.directory / f"{config_id(config)}{suffix}"

    def _seconds(self, config, transfer):
        """Return the seconds of a run and its pre-training, if recorded."""
        before, part = 0.0, config
        while isinstance(part, pretrain.Config):
            if part.num_examples != 0:
                path = self._path(part, ".seconds")
                if not path.exists():
                    return {}
                before += float(path.read_text(encoding="utf-8"))
            part = part.initial
        return {
            "pretrain_seconds": round(before, 3),
            "device_seconds": round(before + transfer, 3),
        }

    def _embeddings(self, config):
        """Return the embeddings of a data set, from disk or new."""
        if self._embedder is None:
            self._embedder = evaluation.duplicates.thumbnails()
        # Embed again if the files have changed.
        name = config_id((_data(config), self._fingerprints.of(config)))
        return evaluation.duplicates.embed(
            self._embedder,
            self.examples(config),
            self.directory / "embeddings" / name,
            transforms=(data.transforms.Resize((32, 32)),),
        )

    def _transferred(self, run, backbone):
        config = run.transfer
        but_for_the_seed = dataclasses.replace(config, seed=0)
        alike = config_id((but_for_the_seed, _architecture(backbone)))
        unfinished = self._path(run, ".unfinished")
        before = self._models.pop(alike, None)
        if len(self._models) == MODELS:
            del self._models[next(iter(self._models))]  # The longest unused.
        self._models[alike] = model = transfer.run(
            config,
            backbone,
            self.examples(config),
            model=before,
            callbacks=self._callbacks(run, unfinished),
            verbose=0,
        )
        if run.validation is not None:
            load_all_weights(model, unfinished / BEST)
        return model

    def _callbacks(self, run, unfinished):
        """Return callbacks that measure, log and save a transfer."""
        found, best = [], None
        if run.validation is not None:
            images = self.examples(run.validation)
            trained = run.transfer.num_examples or len(
                self.examples(run.transfer)
            )
            # As many images as are trained on, so that it takes no longer.
            every = -(-len(images) // trained)
            found = [evaluation.Evaluate(run.validation, images, every=every)]
            best = f"val_{metrics.METRICS[run.task].score}"
        found += self._logs(run)
        return [*found, training.Checkpoint(unfinished, best=best)]

    def _logs(self, config):
        """Return the callbacks that write logs, if they are wanted."""
        if not self.tensorboard:
            return []
        folder = self.directory / "tensorboard" / config_id(config)
        return [keras.callbacks.TensorBoard(folder)]


_RECEIVED: dict = {}  # The last `Runner` that this process was sent, by name.
_IN_MEMORY = (
    "_examples",
    "_models",
    "_duplicates",
    "_embedder",
    "_fingerprints",
    "_one_at_a_time",
)


def _received(kind, kept):
    """Return a `Runner` that another process has sent, the same each time."""
    name = kept["_name"]
    if name not in _RECEIVED:
        runner = kind.__new__(kind)
        vars(runner).update(kept)
        runner._begin()
        _RECEIVED.clear()
        _RECEIVED[name] = runner
    return _RECEIVED[name]


def _is_start(shorter, longer):
    """Return whether a pre-training is the first steps of a longer one."""
    if longer.schedule in training.TO_THE_END or None in (
        shorter.steps,
        longer.steps,
    ):
        return False
    same = dataclasses.replace(shorter, steps=longer.steps) == longer
    return same and shorter.steps < longer.steps


def _data(config):
    """Return what is equal for all configs of the same data."""
    return config.dataset, config.split, config.options


def _source(config):
    """Return where examples come from, regardless of the split."""
    places = (config.options.get(key) for key in ("directory", "path"))
    return config.dataset, *places


def _architecture(backbone):
    """Return what is equal for all backbones that differ only in weights."""
    config = {**backbone.get_config(), "name": None}
    return type(backbone).__name__, config
