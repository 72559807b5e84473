"""The command `keras-jft`: options in, calls of the public API, a status out.

    keras-jft forecast scores.csv --score accuracy --worth 0.02

Each command is two functions: one that adds its options to a parser, and one
that runs it. An option is stored under the name of the argument that it sets,
so that messages of the library can be told in options.

The exit status is 0, or 1 if it ran and something failed, or 2 for input that
is wrong, or 130 after Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

import keras_jft as jft
from keras_jft import checks
from keras_jft.cli import forecast, images, models, study
from keras_jft.options import in_options

# What is safe after Ctrl-C, and how to go on.
BEGINS_AGAIN = "Nothing was left half written. The same command begins again."
STOPPED = {
    "study": "What is done is safe in the output. The same command goes on "
    "where it stopped, within a run from its last checkpoint.",
    "export": "The export is not whole. The same command writes it anew.",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return the status of the process.

    Args:
        words: The words after `keras-jft`; by default those of this process.

    Returns:
        The status: 0, or 1 if the command ran and something failed.

    Raises:
        SystemExit: The input is wrong (2), Ctrl-C was pressed (130), or help
            was asked for (0).
    """
    # Pictures go to files, and a server may have no screen.
    os.environ.setdefault("MPLBACKEND", "Agg")
    arguments = _parser().parse_args(_with_infinity(words))
    names = _set_by_options(arguments)
    shown = warnings.formatwarning

    def told(message, *_args, **_options):
        return in_options(str(message), names)

    # Without the line of code that it comes from.
    warnings.formatwarning = lambda *warning, **_: (
        f"keras-jft: warning: {told(*warning)}\n"
    )
    try:
        with checks.on_command_line(
            f"keras-jft {arguments.command}",
            told,
            STOPPED.get(arguments.command, BEGINS_AGAIN),
        ):
            return arguments.run(arguments) or 0
    finally:
        warnings.formatwarning = shown


def _set_by_options(arguments):
    """Return the names of the arguments that options, and no file, set."""
    names = list(vars(arguments))
    if vars(arguments).get("study") is None:
        return names
    by_file = {*study.IN_THE_FILE}
    if arguments.output is None:
        by_file.add("output")
    return [name for name in names if name not in by_file]


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


# The functions that add options and run; what it does; the end of an example.
COMMANDS = {
    "study": (
        study.add_study,
        study.run_study,
        "pre-train, transfer, measure and forecast, on your own images",
        "--images photos --task cats=task_folder --output study",
    ),
    "init": (
        study.add_init,
        study.run_init,
        "write a commented STUDY.toml from what is found in folders",
        "--images photos --task cats=task_folder",
    ),
    "forecast": (
        forecast.add_forecast,
        forecast.run_forecast,
        "forecast what more data would buy, from scores, without training",
        "scores.csv --score accuracy --worth 0.02 --output report.html",
    ),
    "describe": (
        images.add_describe,
        images.run_describe,
        "describe a data set on one page, to read before training on it",
        "photos --images all --output describe.html",
    ),
    "duplicates": (
        images.add_duplicates,
        images.run_duplicates,
        "find near-duplicates between two folders, and show them on a page",
        "task_folder photos --output duplicates.html",
    ),
    "backbones": (
        models.add_backbones,
        models.run_backbones,
        "list the nets that `jft.backbones.create` and [pretrain] take by name",
        "resnet",
    ),
    "predict": (
        models.add_predict,
        models.run_predict,
        "say what a model sees in images, a line of JSON for each",
        "model.keras photos/1.jpg --names classes.txt --pictures seen",
    ),
    "export": (
        models.add_export,
        models.run_export,
        "export a model for serving, images in, decoded predictions out",
        "runs/classification/model.keras --format saved_model",
    ),
}
