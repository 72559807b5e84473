"""The command `keras-jft forecast`: from scores, without training."""

import argparse

import keras_jft as jft
from keras_jft.options import DIRECTIONS
from keras_jft.text import number_of

PRICED = ("image", "label", "correction", "hour")


def add_forecast(parser):
    """Add the options of `keras-jft forecast`."""
    parser.add_argument(
        "scores",
        metavar="SCORES",
        nargs="+",
        help="a CSV with a line per run, the *.jsonl of a study, or what a "
        "tracker has recorded: a folder or files of MLflow, Weights & Biases, "
        "TensorBoard, Lightning, Ultralytics, Keras's CSVLogger or Hugging "
        "Face's Trainer. Braces name what differs: 'logs/{num_examples}.csv'",
    )
    parser.add_argument(
        "--kind",
        choices=("table", *jft.scaling.KINDS),
        help="what SCORES are, if they can be several things",
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
        "--epoch",
        choices=("last", "best"),
        default="last",
        help="which score of a training with one per epoch (default: last)",
    )
    parser.add_argument(
        "--seed", metavar="COLUMN", help="the column of seeds (default: seed)"
    )
    parser.add_argument(
        "--where",
        nargs="+",
        type=_condition,
        metavar="COLUMN=VALUE",
        help="use only runs with these values, such as arch=resnet50",
    )
    parser.add_argument(
        "--worth",
        type=_number,
        help="the smallest gain worth having, in the unit of the scores; 2%% "
        "is 0.02",
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
        "--price",
        nargs="+",
        type=_price,
        metavar="WHAT=PRICE",
        help=f"prices of {', '.join(PRICED)}, such as image=0.02 hour=3, from "
        "which it says what a gain costs",
    )
    parser.add_argument(
        "--labels",
        type=float,
        help="mean number of labels per image (default: 1)",
    )
    parser.add_argument(
        "--noise",
        metavar="SCORES",
        help="runs at one size that differ in how many labels are wrong, as a "
        "file like SCORES: what a correction brings",
    )
    parser.add_argument(
        "--wrong",
        metavar="COLUMN",
        help="the column there with the share of labels that are wrong, from 0 "
        "to 1 (default: wrong_labels)",
    )
    parser.add_argument(
        "--output", dest="path", metavar="PAGE", help="the page, *.html"
    )


def _number(text):
    is_percent = text.endswith("%")
    try:
        return float(text.removesuffix("%")) / (100 if is_percent else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number, received {text!r}"
        ) from None


def _condition(text):
    name, is_there, value = text.partition("=")
    if not (name and is_there):
        raise argparse.ArgumentTypeError(
            f"expected COLUMN=VALUE, received {text!r}"
        )
    return name, value


def _price(text):
    name, value = _condition(text)
    if name not in PRICED:
        raise argparse.ArgumentTypeError(
            f"expected the price of {', '.join(PRICED)}, received {text!r}"
        )
    return name, _number(value)


def _prices(arguments):
    """Return the arguments of `jft.scaling.prices`; None without any."""
    given = dict(arguments.price or ())
    for name in ("labels", "wrong"):
        if getattr(arguments, name) is not None:
            given[name] = getattr(arguments, name)
    if arguments.noise:
        given["noise"] = jft.scaling.read_rows(arguments.noise, x=arguments.x)
    return given or None


def run_forecast(arguments):
    """Run `keras-jft forecast`."""
    options = {
        name: getattr(arguments, name)
        for name in ("x", "y", "by", "factor", "worth", "bounds", "direction")
    }
    results = jft.scaling.find_results(
        arguments.scores, x=arguments.x, kind=arguments.kind
    )
    rows = results.rows(
        arguments.y,
        epoch=arguments.epoch,
        direction=arguments.direction,
        seed=arguments.seed,
        where=dict(arguments.where or ()),
    )
    print(f"Read {number_of(len(rows), 'run')}: {results}\n")
    price = _prices(arguments)
    found = jft.scaling.forecasts(rows, **options)
    page = text = None
    if arguments.path:
        page, text = jft.scaling.report(
            rows, arguments.path, price=price, **options
        )
    for name, sheet in found.items():
        if name:
            print(", ".join(map(str, name)))
        print(sheet)
        if price and not isinstance(sheet, str):
            print(jft.scaling.decision.prices.sentence(sheet, price))
        print()
    if page:
        print(f"Decision: {page} (as text: {text})")
