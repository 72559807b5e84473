"""A study of one's own images: from a TOML file, or a few folders, to runs.

    [pretrain]
    images = "photos"

    [tasks.cats]
    images = "cats"

is a whole file. The keys of `[pretrain]` are those of `jft.pretrain.Config`, of
`[tasks.NAME]` those of `jft.transfer.Config`, and of `[tasks.NAME.evaluation]`
those of `jft.evaluation.Config`. What is not given follows from the images
(`defaults.py`), and `Plan.notes` say how.
"""

import dataclasses
import inspect
import os
import pathlib
from collections.abc import Sequence

from keras_jft import checks, evaluation, files, pretrain, transfer
from keras_jft import data as data_lib
from keras_jft.backbones.catalog import FILE
from keras_jft.data.datasets.layouts.layout import TASKS
from keras_jft.pretrain.trainer import NET
from keras_jft.scaling.law.fitting import SIZES_TO_DECIDE
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.study import defaults
from keras_jft.scaling.study.plan import Plan, Task
from keras_jft.scaling.study.splits import choose_splits
from keras_jft.scaling.study.toml_file import TomlFile
from keras_jft.text import number_of
from keras_jft.transfer.trainer import FIRST_TRAINED

_STUDY_KEYS = ("output", "sizes", "seeds", "until", "pretrain", "tasks")
_DATA_KEYS = ("images", "task", "layout")
SEEDS = (0, 1, 2)
# What images are annotated with for each task.
_NEEDED = {
    "classification": "one label of each whole image",
    "multi_label": "labels of whole images",
    "detection": "boxes",
    "segmentation": "masks",
    "pose": "keypoints of people",
}
# Fields that a study sets itself.
_OWN = {"num_examples", "seed", "transforms"}


def read_plan(
    path: str | os.PathLike,
    only: Sequence[str] | None = None,
    text: str | None = None,
    output: str | os.PathLike | None = None,
) -> Plan:
    """Return the `Plan` of a TOML file.

    Args:
        path: The file. Paths in it are relative to its folder.
        only: Names of the tasks to do; by default all.
        text: The text of the file, if it is not written yet.
        output: The folder of results, in place of the file's `output`.

    Returns:
        A `Plan`.

    Raises:
        ValueError: The file is not TOML, or a key is unknown or wrong (the
            error has its line); images are not there, or are of no use.
    """
    file = TomlFile(path, text)
    file.check_keys(_STUDY_KEYS)
    return _Planner(file, pathlib.Path(path).parent, only, output).plan()


class _Planner:
    """Makes a `Plan` of a file, looking at the images that it names."""

    def __init__(self, file, root, only, output):
        self.file, self.root, self.table = file, root, file.table
        self.notes, self.only = [], only
        self._given_output = output
        if output is None:
            named = self._value(str, "study", "output")
            output = root / files.check_local("output", named, "study")
        self.output = files.check_local("output", output, "study")
        self.accelerator = bool(rows_lib.provenance()["accelerator"])

    def plan(self):
        tasks = self._value(dict, {}, "tasks")
        if not tasks:
            raise ValueError(
                f"{self.file.where('tasks')}: a study needs one task or more, "
                "[tasks.NAME] with the folder of its `images`."
            )
        if "pretrain" not in self.table:
            raise ValueError(
                f"{self.file.path!r}: a study needs a table [pretrain] with "
                "the folder of its `images`. Received none."
            )
        self._check_seeds(self._value(list, SEEDS, "seeds"))
        if self.only is not None:
            for name in self.only:
                checks.one_of("only", name, tasks)
        self._check_output(tasks)
        config, data = self._pretraining("pretrain")
        sizes = self._value(list, defaults.sizes_for, "sizes", given=len(data))
        self._check_sizes(sizes, config, len(data))
        trained = len({*sizes} - {0})
        if trained < SIZES_TO_DECIDE:
            self.notes.append(
                f"no forecast: it needs {SIZES_TO_DECIDE} sizes above 0, and "
                f"there {'is' if trained == 1 else 'are'} {trained}"
            )
        names = [name for name in tasks if name in (self.only or tasks)]
        return Plan(
            output=self.output,
            pretrain=config,
            tasks={name: self._task(name, config, data) for name in names},
            sizes=tuple(sizes),
            seeds=tuple(self._value(list, list(SEEDS), "seeds")),
            notes=tuple(self.notes),
            chosen=self._chosen(),
            until=self._until(trained),
        )

    def _until(self, trained):
        until = self._value(str, None, "until")
        if until not in (None, "decided"):
            raise ValueError(
                f'{self.file.where("until")}: `until` must be "decided", or '
                f"left out. Received: {until!r}."
            )
        if until and trained < SIZES_TO_DECIDE:
            raise ValueError(
                f"{self.file.where('until')}: without {SIZES_TO_DECIDE} sizes "
                "there is no verdict to wait for. Received: "
                f"{number_of(trained, 'size')} "
                "above 0. Leave out `until`, or give more `sizes`."
            )
        return until

    def _chosen(self):
        places = {"pretrain": self.table["pretrain"]} | {
            f"tasks.{name}": table
            for name, table in self.table["tasks"].items()
        }
        return (
            *sorted({"sizes", "seeds"} & self.table.keys()),
            *(
                f"{place}.learning_rate"
                for place, table in places.items()
                if "learning_rate" in table
            ),
        )

    def _value(self, kind, default, key, given=None):
        """Return a value of the file, checked, or its default."""
        if key not in self.table:
            return default(given) if callable(default) else default
        value = self.table[key]
        if not isinstance(value, kind):
            said = {str: "a text", list: "a list", dict: "a table"}[kind]
            raise ValueError(
                f"{self.file.where(key)}: `{key}` must be {said}. Received: "
                f"{value!r}."
            )
        if kind is list and not all(type(n) is int and n >= 0 for n in value):
            raise ValueError(
                f"{self.file.where(key)}: `{key}` must be whole numbers, 0 or "
                f"more. Received: {value!r}."
            )
        return value

    def _check_seeds(self, seeds):
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(
                f"{self.file.where('seeds')}: `seeds` must name one or more, "
                f"each once. Received: {list(seeds)}."
            )

    def _check_output(self, tasks):
        """Raise `ValueError` if results would lie among images."""
        output = self.output.resolve()
        for table in (self.table["pretrain"], *tasks.values()):
            for folder in _folders(table, self.root):
                if output.is_relative_to(folder):
                    where = (
                        f"{self.file.where('output')}: "
                        if self._given_output is None
                        else ""
                    )
                    raise ValueError(
                        f"{where}`output` must be a folder outside those of "
                        "images, which its files would change. Received: "
                        f"{str(output)!r}, with images in {str(folder)!r}. "
                        "Name another folder."
                    )

    def _check_sizes(self, sizes, config, most):
        fault = None
        if len(set(sizes)) < len(sizes) or not sizes:
            fault = "different sizes"
        elif max(sizes) > most:
            fault = f"at most {most}, the images that there are"
        elif any(0 < size < config.batch_size for size in sizes):
            fault = f"0, or at least the `batch_size`, {config.batch_size}"
        if fault:
            raise ValueError(
                f"{self.file.where('sizes')}: `sizes` must be {fault}. "
                f"Received: {sizes}."
            )

    # === Pre-training ===

    def _pretraining(self, *keys, **usual):
        """Return the config of a pre-training, and its data set.

        Args:
            *keys: The table that it is in.
            **usual: Settings where the table has none.
        """
        given = self.table
        for key in keys:
            given = given[key]
        names = {*_fields(pretrain.Config), *_DATA_KEYS} - _OWN
        self.file.check_keys(names, *keys)
        given = {**usual, **given}
        initial = given.pop("initial", None)
        source, split, layout = self._source(given, *keys)
        if layout and layout.task not in ("classification", "multi_label"):
            raise ValueError(
                f"{self.file.where(*keys, 'images')}: pre-training needs "
                f"labels of whole images. Received: {layout}."
            )
        data = data_lib.load(source["dataset"], split, **source["options"])
        self._check_classes(data.info.label_names, *keys)
        with self.file.located(*keys):
            if str(given.get("backbone")).endswith(FILE):
                given["backbone"] = self._file("backbone", given["backbone"])
            settings, notes = defaults.pretraining(
                data, given, accelerator=self.accelerator
            )
            longest = _longest(settings["image_size"])
            source["options"].setdefault("longest", longest)
            config = pretrain.Config(
                **{**settings, **source, **given, "split": split}
            )
        self.notes += notes
        called = "pre-training"
        if len(keys) > 1:
            called = "initial weights, from one pre-training for all sizes"
        self.notes.append(
            f"{called}: "
            + (number_of(config.epochs, "epoch") if config.epochs else "")
            + (number_of(config.steps, "step") if config.steps else "")
            + f", {number_of(config.batch_size, 'image')} per step"
        )
        if initial is None:
            return config, data
        if isinstance(initial, dict):
            same = {name: getattr(config, name) for name in NET}
            same["image_size"] = config.image_size
            before = self._pretraining(*keys, "initial", **same)[0]
        else:
            with self.file.located(*keys):
                before = self._saved(initial)
        with self.file.located(*keys):
            return dataclasses.replace(config, initial=before), data

    def _file(self, key, name):
        """Return the path of a file of weights, as seen from anywhere."""
        path = os.path.abspath(self.root / name)
        if not os.path.isfile(path):
            raise ValueError(
                f"`{key}` must be a file that exists. Received: {path!r}."
            )
        return path

    def _saved(self, given):
        """Return the path of the backbone that a pre-training starts from."""
        if not isinstance(given, str):
            raise ValueError(
                "`initial` must be the file of a backbone, or a table, "
                "[pretrain.initial], with the `images` of another "
                f"pre-training. Received: {given!r}."
            )
        return self._file("initial", given)

    def _source(self, given, *keys):
        """Take the data from the settings of a table.

        Returns:
            `dataset` and `options` of `jft.data.load`, the split to train on,
            and the `Layout`, or None where the table names the data set.
        """
        images, task = given.pop("images", None), given.pop("task", None)
        chosen = given.pop("layout", None)
        if (images is None) == ("dataset" not in given):
            raise ValueError(
                f"{self.file.where(*keys)}: [{'.'.join(keys)}] must have "
                "either `images`, a folder, or `dataset` with `options`."
            )
        if images is None:
            options = dict(given.pop("options", {}))
            source = {"dataset": given.pop("dataset"), "options": options}
            return source, given.pop("split", "train"), None
        with self.file.located(*keys, "images"):
            if not isinstance(images, str):
                raise ValueError(
                    f"`images` must be a folder. Received: {images!r}."
                )
            layout = data_lib.find_layout(self.root / images, task, chosen)
        self.notes.append(f"{images}: {layout}")
        options = {**layout.options, **given.pop("options", {})}
        loads = data_lib.DATASETS[layout.dataset]
        if "on_error" in inspect.signature(loads).parameters:
            # One faulty box of thousands is warned of, and ends no study.
            options.setdefault("on_error", "drop")
        split = given.pop("split", layout.splits.get("train"))
        return {"dataset": layout.dataset, "options": options}, split, layout

    def _check_classes(self, names, *keys):
        if len(names) < 2:
            raise ValueError(
                f"{self.file.where(*keys, 'images')}: there must be two "
                f"classes or more to tell apart. Received: {list(names)}."
            )

    # === Tasks ===

    def _task(self, name, before, pretraining):
        keys = "tasks", name
        more = (*_DATA_KEYS, "modes", "evaluation")
        self.file.check_keys({*_fields(transfer.Config), *more} - _OWN, *keys)
        given = dict(self.table["tasks"][name])
        if "mode" in given:
            given.setdefault("modes", [given.pop("mode")])
        measured = self._evaluation(given, keys)
        # A task may be called by its kind.
        if "dataset" not in given and name in TASKS:
            given.setdefault("task", name)
        modes = self._modes(given, keys)
        source, split, layout = self._source(given, *keys)
        kind = layout.task if layout else _kind_given(given, source)
        if kind not in defaults.HEADS:
            raise ValueError(
                f"{self.file.where(*keys, 'images')}: a task must be one of "
                f"{list(defaults.HEADS)}. Received: {kind!r}."
            )
        with self.file.located(*keys):
            _check_head(given.get("head"), kind)
            # A split of another data set is none of this one.
            elsewhere = "test" if "dataset" in measured else None
            splits = choose_splits(
                name,
                source,
                split,
                known=layout.splits if layout else {},
                test=measured.get("split", elsewhere),
                output=self.output,
            )
            data = data_lib.load(
                source["dataset"], splits.train, **splits.options
            )
            if kind in ("classification", "multi_label"):
                self._check_classes(data.info.label_names, *keys)
            settings, shown, notes = defaults.transfer(
                data,
                kind,
                given,
                accelerator=self.accelerator,
                small=_is_small(before),
            )
            if data.info.people is None:
                longest = 2 * _longest(settings["image_size"])
                for options in (splits.options, splits.test_options):
                    options.setdefault("longest", longest)
            given["head_options"] = settings.pop("head_options")
            trained = {**source, "options": splits.options}
            config = transfer.Config(
                **{**settings, **trained, **given, "split": splits.train}
            )
            measures = evaluation.Config(
                **{"transforms": shown, "batch_size": 64, **source}
                | {"options": splits.test_options, "split": splits.test}
                | measured,
            )
        called = name if name == kind else f"{name}, {kind}"
        self.notes += filter(None, [splits.note])
        self.notes += [f"{called}: {note}" for note in notes]
        self._note_common_classes(name, data, pretraining)
        return Task(
            transfer=config,
            evaluation=measures,
            modes=tuple(modes or defaults.modes_for(kind)),
            validation=splits.val
            and dataclasses.replace(measures, **trained, split=splits.val),
        )

    def _modes(self, given, keys):
        """Take the modes from the settings of a task; None if not given."""
        modes = given.pop("modes", None)
        if modes is None:
            return None
        with self.file.located(*keys):
            if not isinstance(modes, list) or not modes:
                raise ValueError(
                    "`modes` must be a list of one or more of "
                    f"{list(FIRST_TRAINED)}. Received: {modes!r}."
                )
            for mode in modes:
                checks.one_of("modes", mode, FIRST_TRAINED)
            if len(set(modes)) < len(modes):
                raise ValueError(
                    f"`modes` must have each mode once. Received: {modes}."
                )
        return modes

    def _evaluation(self, given, keys):
        """Take the settings of the evaluation from those of a task."""
        if "evaluation" not in given:
            return {}
        fields = {*_fields(evaluation.Config)} - {"task", "transforms"}
        self.file.check_keys(fields, *keys, "evaluation")
        return dict(given.pop("evaluation"))

    def _note_common_classes(self, name, data, pretraining):
        """Note classes of a task that pre-training has seen by name."""
        names = {*data.info.label_names, *data.info.mask_names}
        seen = {n.lower() for n in pretraining.info.label_names}
        common = sorted(n for n in names if n.lower() in seen)
        if common:
            self.notes.append(
                f"{name}: the pre-training has {len(common)} of its "
                f"{number_of(len(names), 'class', 'classes')}, such as "
                f"{common[0]!r}: gains on the others may be smaller"
            )


def _folders(table, root):
    """Yield the folders of images that a table names."""
    if not isinstance(table, dict):
        return  # There is none, or it is refused elsewhere.
    if isinstance(table.get("images"), str):
        yield (root / table["images"]).resolve()
    options = table.get("options")
    for value in options.values() if isinstance(options, dict) else ():
        if isinstance(value, str) and os.path.isdir(value):
            yield pathlib.Path(value).resolve()
    for name in ("evaluation", "initial"):
        yield from _folders(table.get(name), root)


def _is_small(config):
    """Return whether a net is a `jft.ResNet` for small images."""
    if isinstance(config.initial, str):
        return getattr(pretrain.backbone(config), "stem", None) == "small"
    return config.backbone is None and config.stem == "small"


def _fields(config):
    return [field.name for field in dataclasses.fields(config)]


def _check_head(head, kind):
    """Raise `ValueError` if a head is not for what the images are for."""
    if head is None:
        return
    checks.one_of("head", head, transfer.HEADS)
    needs = transfer.HEADS[head].task
    if needs != kind:
        fitting = [n for n, h in transfer.HEADS.items() if h.task == kind]
        raise ValueError(
            f"`head` must be one for {kind}, as the images are, of {fitting}. "
            f"Received: {head!r}, which needs images for {needs}: "
            f"{_NEEDED[needs]}."
        )


def _kind_given(given, source):
    """Return the task of a table that names its data set."""
    if "head" in given:
        checks.one_of("head", given["head"], transfer.HEADS)
        return transfer.HEADS[given["head"]].task
    return data_lib.annotated_for(source["dataset"], source["options"])


def _longest(image_size):
    return int(max(image_size))
