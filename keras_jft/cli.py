"""The command `keras-jft`: options in, calls of the public API, a status out.

    keras-jft forecast scores.csv --score accuracy --worth 0.02

Each command is two functions: one that adds its options to a parser, and one
that runs it. An option is stored under the name of the argument that it sets,
so that messages of the library can be told in options.

The exit status is 0, or 1 if it ran and something failed, or 2 for input that
is wrong.
"""

import argparse
import json
import os
import pathlib
import shlex
import sys
import warnings
from collections.abc import Sequence

import keras_jft as jft
from keras_jft import checks
from keras_jft.options import DIRECTIONS, in_options

# Statuses; argparse has 2 for wrong input.
OK, FAILED, INTERRUPTED = 0, 1, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return the status of the process.

    Args:
        words: The words after `keras-jft`; by default those of this process.

    Returns:
        The status: 0, or 1 if the command ran and something failed, or 130 if
        it was interrupted.

    Raises:
        SystemExit: The input is wrong (2), or help was asked for (0).
    """
    # Pictures go to files, and a server may have no screen.
    os.environ.setdefault("MPLBACKEND", "Agg")
    arguments = _parser().parse_args(_with_infinity(words))
    names = _set_by_options(arguments)
    shown = warnings.formatwarning
    warnings.formatwarning = _as_a_line
    try:
        with checks.on_command_line(
            f"keras-jft {arguments.command}",
            lambda message: in_options(message, names),
        ):
            return arguments.run(arguments) or OK
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
    finally:
        warnings.formatwarning = shown


def _set_by_options(arguments):
    """Return the names of the arguments that options, and no file, set."""
    names = list(vars(arguments))
    if vars(arguments).get("study") is None:
        return names
    in_the_file = ("images", "tasks", "sizes", "seeds", "output")
    return [name for name in names if name not in in_the_file]


def _as_a_line(message, *_args, **_options):
    """Return a warning without the line of code that it comes from."""
    return f"keras-jft: warning: {message}\n"


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-jft",
        description="What would ten times more image data buy? Study your own "
        "images, forecast from scores, look at data, export models.",
        epilog="Help on one of them: keras-jft forecast --help",
    )
    parser.add_argument("--version", action="version", version=jft.__version__)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )
    for name, (add_options, run, text, example) in COMMANDS.items():
        part = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"Example: keras-jft {name} {example}",
        )
        add_options(part)
        part.set_defaults(run=run)
    return parser


def _with_infinity(words):
    """Return words that argparse does not take for options: `-inf`."""
    words = sys.argv[1:] if words is None else words
    return [f" {word}" if word == "-inf" else word for word in words]


# === forecast ===


def _add_forecast(parser):
    parser.add_argument(
        "scores",
        metavar="SCORES",
        type=pathlib.Path,
        help="a CSV with a line per run, or the *.jsonl of a study",
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=10,
        help="how many times the largest size (default: 10)",
    )
    parser.add_argument(
        "--x",
        "--size",
        default="num_examples",
        metavar="COLUMN",
        help="the column of sizes (default: num_examples)",
    )
    parser.add_argument(
        "--score", dest="y", metavar="COLUMN", help="the column of scores"
    )
    parser.add_argument(
        "--worth",
        type=float,
        help="the smallest gain worth having, in the unit of the scores",
    )
    better = parser.add_mutually_exclusive_group()
    for direction, word in DIRECTIONS.items():
        better.add_argument(
            f"--{word}-is-better",
            dest="direction",
            action="store_const",
            const=direction,
            help=f"{word} scores are better",
        )
    parser.add_argument(
        "--metric-range",
        dest="bounds",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="lowest and highest possible score",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="columns that tell curves apart",
    )
    parser.add_argument(
        "--output", dest="path", metavar="PAGE", help="the page, *.html"
    )


def _forecast(arguments):
    options = {
        name: getattr(arguments, name)
        for name in ("x", "y", "by", "factor", "worth", "bounds", "direction")
    }
    rows = jft.scaling.read_rows(arguments.scores)
    found = jft.scaling.forecasts(rows, **options)
    page = None
    if arguments.path:
        page, _ = jft.scaling.report(rows, arguments.path, **options)
    for name, sheet in found.items():
        print(", ".join(map(str, name)) or arguments.scores.name)
        print(f"{sheet}\n")
    if page:
        print(f"Decision: {page}")


# === backbones ===


def _add_backbones(parser):
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="what the name must contain"
    )


def _backbones(arguments):
    for name in jft.backbones.names():
        if all(word.lower() in name.lower() for word in arguments.words):
            print(name)


# === predict ===


def _add_predict(parser):
    parser.add_argument(
        "model", metavar="MODEL", type=pathlib.Path, help="a .keras file"
    )
    parser.add_argument(
        "paths", metavar="IMAGE", nargs="+", help="image files, or folders"
    )
    parser.add_argument(
        "--names", type=pathlib.Path, metavar="FILE", help="a class per line"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="lowest score of what is named (default: 0.5)",
    )
    parser.add_argument(
        "--pictures", metavar="DIR", help="write images with boxes or masks"
    )


def _model(path):
    """Return the model of a `.keras` file."""
    import keras

    if not path.exists():
        # Keras's own message names its argument, which is not an option here.
        raise ValueError(f"There is no model {str(path)!r}.")
    return keras.saving.load_model(path)


def _predict(arguments):
    names = arguments.names
    for record in jft.evaluation.predict_files(
        _model(arguments.model),
        arguments.paths,
        names and names.read_text(encoding="utf-8-sig").split("\n"),
        threshold=arguments.threshold,
        pictures=arguments.pictures,
    ):
        print(json.dumps(record, ensure_ascii=False))


# === export ===

# Keras's name of a format, and the suffix of its files.
FORMATS = {
    "saved_model": ("tf_saved_model", ""),
    "onnx": ("onnx", ".onnx"),
    "litert": ("litert", ".tflite"),
}


def _add_export(parser):
    parser.add_argument(
        "model", metavar="MODEL", type=pathlib.Path, help="a .keras file"
    )
    parser.add_argument(
        "--format",
        default="saved_model",
        choices=FORMATS,
        help="what to write (default: saved_model, a folder)",
    )
    parser.add_argument(
        "--output",
        dest="filepath",
        metavar="PATH",
        type=pathlib.Path,
        help="where to (default: beside the model)",
    )


def _export(arguments):
    kind, suffix = FORMATS[arguments.format]
    path = arguments.filepath or arguments.model.with_suffix(suffix)
    model = _model(arguments.model)
    model.export(path, format=kind, verbose=False)
    print(f"Exported: {path}")


# === study, init ===


def _add_folders(parser):
    parser.add_argument(
        "--images", metavar="DIR", type=pathlib.Path, help="to pre-train on"
    )
    parser.add_argument(
        "--task",
        dest="tasks",
        action="append",
        metavar="NAME=DIR",
        help="a task and its images; give it once per task. A name such as "
        "detection or segmentation also says what the images are for",
    )


def _add_study(parser):
    parser.add_argument(
        "study", metavar="STUDY.toml", nargs="?", type=pathlib.Path
    )
    _add_folders(parser)
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="images to pre-train on"
    )
    parser.add_argument(
        "--seeds", type=int, help="how many runs of each (default: 3)"
    )
    parser.add_argument(
        "--hours",
        type=float,
        help="choose sizes and seeds that take so long, after a short pilot",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=pathlib.Path, help="where results go"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="the tasks to do"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what there is to do"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="repeat runs that failed"
    )
    parser.add_argument(
        "--search-rates",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="try three learning rates at the smallest and the largest size "
        "first, where there are none in STUDY.toml (default: yes)",
    )


def _study(arguments):
    text = path = None
    if arguments.study is None:
        path = (arguments.output or pathlib.Path("study")) / "study.toml"
        text = _text_of(arguments, path.parent)
        _check_same(path, text)
    elif arguments.images or arguments.tasks or arguments.output:
        raise ValueError(
            "Give a STUDY.toml, or --images, --task and --output. Received "
            "both."
        )
    else:
        path = arguments.study
        text = path.read_text(encoding="utf-8-sig")
    plan = jft.scaling.read_plan(path, arguments.only, text)
    if arguments.hours is not None:
        plan = jft.scaling.fit_hours(plan, arguments.hours)
    if arguments.study is None and not arguments.dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if arguments.search_rates and not arguments.dry_run:
        plan = jft.scaling.search_rates(plan)
    study = plan.study(retry_failed=arguments.retry_failed)
    print(plan)
    if arguments.dry_run:
        print(study.outlook())
        return OK
    jft.scaling.write_study(plan, text)
    rows = study.run()
    print(f"\n{jft.scaling.table(rows)}")
    page, _ = jft.scaling.report(
        rows,
        plan.output / "report.html",
        title="What would ten times more data buy?",
        command=shlex.join(["keras-jft", *sys.argv[1:]]),
    )
    print(f"Rows: {study.path}\nDecision: {page}")
    return FAILED if jft.scaling.Rows(rows).failed.any() else OK


def _check_same(path, text):
    """Raise a `ValueError` if options differ from those of a study before."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{str(path)!r} is of a study with other options. Run `keras-jft "
            f"study {path}`, or give another `output`."
        )


def _text_of(arguments, output):
    """Return the text of the TOML file that options stand for."""
    if not (arguments.images and arguments.tasks):
        raise ValueError(
            f"Give {'' if arguments.command == 'init' else 'a STUDY.toml, or '}"
            "--images DIR and --task NAME=DIR."
        )
    tasks = {}
    for word in arguments.tasks:
        name, is_there, folder = word.partition("=")
        if not (name and is_there and folder) or name in tasks:
            raise ValueError(
                f"`tasks` must be NAME=DIR, each name once. Received: {word!r}."
            )
        tasks[name] = os.path.abspath(folder)
    seeds = getattr(arguments, "seeds", None)
    return jft.scaling.study_text(
        os.path.abspath(arguments.images),
        tasks,
        os.path.abspath(output),
        sizes=getattr(arguments, "sizes", None),
        seeds=seeds and list(range(seeds)),
    )


def _add_init(parser):
    _add_folders(parser)
    parser.add_argument(
        "--output",
        default="study.toml",
        metavar="FILE",
        type=pathlib.Path,
        help="the file to write (default: study.toml)",
    )


def _init(arguments):
    path = arguments.output
    if path.exists():
        raise ValueError(f"{str(path)!r} exists. Give another `output`.")
    text = _text_of(arguments, path.with_suffix(""))
    plan = jft.scaling.read_plan(path, text=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(jft.scaling.commented(text, plan), encoding="utf-8")
    print(f"{plan}\nWritten: {path}. Next: keras-jft study {path} --dry-run")


# === describe, duplicates ===


def _add_layout(parser):
    parser.add_argument(
        "--split", choices=("train", "val", "test"), help="the split to read"
    )
    parser.add_argument(
        "--task", help="what the images are for, if that can be several things"
    )
    parser.add_argument(
        "--layout",
        dest="dataset",
        metavar="NAME",
        help="how the files are laid out, if that can be several ways",
    )


def _load(folder, arguments):
    """Return the data set in a folder, and say how it is laid out."""
    layout = jft.data.find_layout(folder, arguments.task, arguments.dataset)
    print(f"{folder}: {layout}")
    split = arguments.split or ("train" if layout.splits else None)
    return layout.load(split)


def _images(text):
    return text if text == "all" else int(text)


def _add_describe(parser):
    parser.add_argument(
        "folder", metavar="DIR", type=pathlib.Path, help="or a table of images"
    )
    _add_layout(parser)
    parser.add_argument(
        "--images",
        default=200,
        type=_images,
        help='how many to open, a number or "all" (default: 200)',
    )
    parser.add_argument(
        "--output",
        dest="path",
        default="describe.html",
        metavar="PAGE",
        type=pathlib.Path,
        help="the page (default: describe.html)",
    )


def _describe(arguments):
    data = _load(arguments.folder, arguments)
    found = jft.data.describe(
        data, images=arguments.images, split=arguments.split
    )
    print(found)
    page, _ = found.save(arguments.path)
    print(f"Page: {page}")


def _add_duplicates(parser):
    for name, words in (
        ("queries", "the images to look for, such as those to evaluate on"),
        ("references", "where to look for them, such as in pre-training"),
    ):
        parser.add_argument(name, metavar="DIR", type=pathlib.Path, help=words)
    _add_layout(parser)
    parser.add_argument(
        "--threshold",
        default=0.95,
        type=float,
        help="similarity from which two images are duplicates (default: 0.95)",
    )
    parser.add_argument(
        "--output",
        dest="path",
        default="duplicates.html",
        metavar="PAGE",
        help="the page (default: duplicates.html)",
    )


def _duplicates(arguments):
    found, page = jft.evaluation.duplicates.report(
        _load(arguments.queries, arguments),
        _load(arguments.references, arguments),
        arguments.path,
        arguments.threshold,
    )
    count = int(found.is_duplicate.sum())
    print(f"{count:,} of {len(found.ids):,} images have a near-duplicate.")
    print(f"Page: {page}")


# The functions that add options and run; what it does; the end of an example.
COMMANDS = {
    "study": (
        _add_study,
        _study,
        "pre-train, transfer, measure and forecast, on your own images",
        "--images photos --task cats=task_folder --output study",
    ),
    "init": (
        _add_init,
        _init,
        "write a commented STUDY.toml from what is found in folders",
        "--images photos --task cats=task_folder",
    ),
    "forecast": (
        _add_forecast,
        _forecast,
        "forecast what more data would buy, from scores, without training",
        "scores.csv --score accuracy --worth 0.02 --output report.html",
    ),
    "describe": (
        _add_describe,
        _describe,
        "describe a data set on one page, to read before training on it",
        "photos --images all --output describe.html",
    ),
    "duplicates": (
        _add_duplicates,
        _duplicates,
        "find near-duplicates between two folders, and show them on a page",
        "task_folder photos --output duplicates.html",
    ),
    "backbones": (
        _add_backbones,
        _backbones,
        "list the names of nets that [pretrain] takes as `backbone`",
        "resnet",
    ),
    "predict": (
        _add_predict,
        _predict,
        "say what a model sees in images, a line of JSON for each",
        "model.keras photos/1.jpg --names classes.txt --pictures seen",
    ),
    "export": (
        _add_export,
        _export,
        "export a model for serving, images in, decoded predictions out",
        "runs/classification/model.keras --format saved_model",
    ),
}
