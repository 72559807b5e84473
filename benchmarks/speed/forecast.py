"""How long does a forecast take?

Question: seconds of `jft.scaling.fit` for one curve of 9 and of 400 sizes, of
`forecast` from it, of `predict` at 500 sizes, and of the forecasts of a file
with 100 curves of 5 sizes and 3 seeds.

Command:

    python benchmarks/speed/forecast.py

Rows go to benchmarks/results/forecast.jsonl; seconds are processor time of one
core, medians of three rounds.

Result (AMD EPYC, 2 cores, shared):

    fit, 9 sizes               0.07
    fit, 400 sizes             0.83
    forecast, 9 sizes          0.01
    predict at 500 sizes       0.08
    forecasts of 100 curves   11.1
"""

import argparse
import pathlib
import statistics
import time

import numpy as np

import keras_jft as jft
from keras_jft.scaling.rows import rows as rows_lib

RESULTS = pathlib.Path(__file__).parent.parent / "results"


def curve(sizes, seeds, *, top=0.9, seed=0, **columns):
    """Return rows of a power law with noise."""
    rng = np.random.default_rng(seed)
    return [
        {
            "num_examples": int(size),
            "seed": run,
            "score": top - 2 * size**-0.3 + 0.005 * rng.standard_normal(),
            **columns,
        }
        for size in np.unique(np.geomspace(100, 100_000, sizes).round())
        for run in range(seeds)
    ]


def cases(curves=100):
    """Yield names and what is timed."""
    nine, many = curve(9, 1), curve(400, 1)
    laws = {n: fitted(rows) for n, rows in (("9", nine), ("400", many))}
    places = np.geomspace(100, 1e6, 500)
    file = [
        row
        for i in range(curves)
        for row in curve(5, 3, top=0.7 + 0.002 * i, seed=i, arm=f"arm {i}")
    ]
    return {
        "fit, 9 sizes": lambda: fitted(nine),
        "fit, 400 sizes": lambda: fitted(many),
        "forecast, 9 sizes": lambda: jft.scaling.forecast(laws["9"]),
        "predict at 500 sizes": lambda: laws["9"].predict(places),
        f"forecasts of {curves} curves": lambda: jft.scaling.forecasts(file),
    }


def fitted(rows):
    """Return the law of rows."""
    return jft.scaling.fit(rows, "num_examples", "score")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds = 1
    for name, call in cases(2 if arguments.smoke else 100).items():
        seconds = []
        for _ in range(arguments.rounds):
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)
        row = {
            "case": name,
            "seconds": round(statistics.median(seconds), 4),
            "rounds": arguments.rounds,
            **rows_lib.provenance(),
        }
        print(f"{name:30}{row['seconds']:8.3f} s", flush=True)
        if not arguments.smoke:
            rows_lib.append(RESULTS / "forecast.jsonl", row)


if __name__ == "__main__":
    main()
