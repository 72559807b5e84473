"""The command `keras-jft forecast`: from scores, without training."""

import pathlib

import keras_jft as jft
from keras_jft.options import DIRECTIONS


def add_forecast(parser):
    """Add the options of `keras-jft forecast`."""
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


def run_forecast(arguments):
    """Run `keras-jft forecast`."""
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
