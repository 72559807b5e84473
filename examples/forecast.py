"""Forecast what more data would buy, from a CSV of scores, without training.

    python examples/forecast.py scores.csv --factor 10 --output report.html

The first line of the file names its columns: `num_examples` and `score` (or
others, such as `--size images --score top1`) and, if there are several, `seed`,
`task` and `mode`; `wall_seconds` gives costs. The rows of a study, `*.jsonl`,
can be read, too. For a loss or an error rate, add `--lower-is-better`.
Prints the decision for each task and mode, and writes it as a page.
"""

import argparse
import ast
import pathlib
import re
import shlex
import sys

import matplotlib

matplotlib.use("Agg")

import keras_jft as jft

# Arguments in the library's messages, and the options that set them.
OPTIONS = {
    'direction="min"': "--lower-is-better",
    'direction="max"': "--higher-is-better",
    "`y`": "`--score`",
    "y=None": "no --score",
    "`worth`": "`--worth`",
    "worth=": "--worth ",
    "`factor`": "`--factor`",
    "factor=": "--factor ",
    "`bounds=(low, high)`": "`--metric-range LOW HIGH`",
    "`by=`": "`--by`",
    "`x`": "`--size`",
}
LISTS = re.compile(r"by=\[(.*?)\]")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", metavar="CSV", type=pathlib.Path)
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument(
        "--size", default="num_examples", help="the column of sizes"
    )
    parser.add_argument("--score", help="the column of scores")
    parser.add_argument(
        "--worth",
        type=float,
        help="the smallest gain worth having, in the unit of the scores",
    )
    better = parser.add_mutually_exclusive_group()
    for direction, word in (("min", "lower"), ("max", "higher")):
        better.add_argument(
            f"--{word}-is-better",
            dest="direction",
            action="store_const",
            const=direction,
            help=f"{word} scores are better",
        )
    parser.add_argument(
        "--metric-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="lowest and highest possible score",
    )
    parser.add_argument(
        "--by", nargs="+", help="columns that tell curves apart"
    )
    parser.add_argument("--output", help="the page, *.html")
    # argparse takes "-inf" for an option, unless it contains a space.
    words = [f" {word}" if word == "-inf" else word for word in sys.argv[1:]]
    return parser, parser.parse_args(words)


def in_options(message):
    """Return a message of the library with options in place of arguments."""
    for said, option in OPTIONS.items():
        message = message.replace(said, option)
    return LISTS.sub(
        lambda found: f"--by {shlex.join(ast.literal_eval(found[0][3:]))}",
        message,
    )


def main():
    parser, arguments = parse()
    options = {
        "x": arguments.size,
        "y": arguments.score,
        "by": arguments.by,
        "factor": arguments.factor,
        "worth": arguments.worth,
        "bounds": arguments.metric_range,
        "direction": arguments.direction,
    }
    try:
        rows = jft.scaling.read_rows(arguments.scores)
        found = jft.scaling.forecasts(rows, **options)
        if arguments.output:
            page, _ = jft.scaling.report(rows, arguments.output, **options)
    except (OSError, ValueError) as error:
        parser.error(in_options(str(error)))
    for name, sheet in found.items():
        print(", ".join(map(str, name)) or arguments.scores.name)
        print(f"{sheet}\n")
    if arguments.output:
        print(f"Decision: {page}")


if __name__ == "__main__":
    main()
