"""The command `keras-jft`: options in, calls of the public API, a status out.

    keras-jft forecast scores.csv --score accuracy --worth 0.02

Each command is two functions: one that adds its options to a parser, and one
that runs it. An option is stored under the name of the argument that it sets,
so that messages of the library can be told in options.

The exit status is 0, or 1 if it ran and something failed, or 2 for input that
is wrong.
"""

import argparse
import ast
import os
import pathlib
import re
import shlex
import sys

import keras_jft as jft
from keras_jft import checks

OK, FAILED = 0, 1  # Statuses; argparse has 2 for wrong input.
# Options that are not called as the arguments they set.
OPTIONS = {"y": "--score", "bounds": "--metric-range", "filepath": "--output"}
DIRECTIONS = {"min": "lower", "max": "higher"}


def main(words=None):
    """Run the command line and return the status of the process.

    Args:
        words: The words after `keras-jft`; by default those of this process.

    Returns:
        The status: 0, or 1 if the command ran and something failed.

    Raises:
        SystemExit: The input is wrong (2), or help was asked for (0).
    """
    # Pictures go to files, and a server may have no screen.
    os.environ.setdefault("MPLBACKEND", "Agg")
    arguments = _parser().parse_args(_with_infinity(words))
    names = vars(arguments)
    with checks.on_command_line(
        f"keras-jft {arguments.command}",
        lambda message: in_options(message, names),
    ):
        return arguments.run(arguments) or OK


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-jft",
        description="What would ten times more image data buy? Forecast from "
        "scores, look at data, use and export models.",
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


def in_options(message, names):
    """Return a message with options in place of the arguments they set.

    Args:
        message: A message of the library.
        names: Names of the arguments that options set.

    Example:

    >>> in_options("`y` must be a column. Received: y=None, by=['a b'].",
    ...            ["y", "by"])
    "`--score` must be a column. Received: no --score, --by 'a b'."
    """
    for value, word in DIRECTIONS.items():
        message = message.replace(f'direction="{value}"', f"--{word}-is-better")
    for name in names:
        option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
        message = message.replace(f"`{name}`", f"`{option}`")
        message = re.sub(rf"\b{name}=None\b", f"no {option}", message)
        message = re.sub(
            rf"\b{name}=(\[.*?\]|\(.*?\))?",
            lambda found, option=option: f"{option} {_words(found[1])}",
            message,
        )
    return message


def _words(values):
    """Return a list or a tuple in a message as words of a command line."""
    try:
        return shlex.join(map(str, ast.literal_eval(values or "()")))
    except ValueError:  # Names that stand for values: (low, high).
        return re.sub(r"[^\w ]", "", values).upper()


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
    parser.add_argument("--output", metavar="PAGE", help="the page, *.html")


def _forecast(arguments):
    options = {
        name: getattr(arguments, name)
        for name in ("x", "y", "by", "factor", "worth", "bounds", "direction")
    }
    rows = jft.scaling.read_rows(arguments.scores)
    found = jft.scaling.forecasts(rows, **options)
    page = None
    if arguments.output:
        page, _ = jft.scaling.report(rows, arguments.output, **options)
    for name, sheet in found.items():
        print(", ".join(map(str, name)) or arguments.scores.name)
        print(f"{sheet}\n")
    if page:
        print(f"Decision: {page}")


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
    import keras

    kind, suffix = FORMATS[arguments.format]
    path = arguments.filepath or arguments.model.with_suffix(suffix)
    model = keras.saving.load_model(arguments.model)
    model.export(path, format=kind, verbose=False)
    print(f"Exported: {path}")


# The functions that add options and run; what it does; the end of an example.
COMMANDS = {
    "forecast": (
        _add_forecast,
        _forecast,
        "forecast what more data would buy, from scores, without training",
        "scores.csv --score accuracy --worth 0.02 --output report.html",
    ),
    "export": (
        _add_export,
        _export,
        "export a model for serving, images in, decoded predictions out",
        "runs/classification/model.keras --format saved_model",
    ),
}
