"""Ask what ten times more data would buy: a whole study, in Python.

    python examples/quickstart.py

The same study as `keras-jft study examples/quickstart.toml`, which says what it
does: pre-training on growing subsets of a synthetic world, transfer to four
tasks, and the decision as a page. `--sizes` and `--seeds` make it another one.
"""

import argparse
import dataclasses
import pathlib
import shlex
import sys

import matplotlib

matplotlib.use("Agg")

import keras_jft as jft
from keras_jft import checks

STUDY = pathlib.Path(__file__).with_suffix(".toml")


def plan_of(**given):
    """Return the plan of the study, with sizes, seeds or output replaced."""
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(jft.scaling.read_plan(STUDY), **given)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="demo", type=pathlib.Path)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--executor", help="such as processes:2")
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()

    plan = plan_of(
        output=arguments.output, sizes=arguments.sizes, seeds=arguments.seeds
    )
    study = plan.study()
    if arguments.dry_run:
        print(f"{plan}\n{study.outlook()}")
        return
    rows = study.run(arguments.executor)
    print(f"\n{jft.scaling.table(rows)}")
    page, text = jft.scaling.report(
        rows,
        arguments.output / "report.html",
        title="What would ten times more data buy?",
        command=shlex.join(["python", *sys.argv]),
    )
    print(f"Rows: {study.path}\nDecision: {page} ({text.name})")


if __name__ == "__main__":
    with checks.on_command_line():
        main()
