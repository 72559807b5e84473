"""Forecast what more data would buy, from a CSV of scores, without training.

    python examples/forecast.py scores.csv --factor 10 --output report.html

The same as the command `keras-jft forecast`.
"""

import sys

from keras_jft import cli

if __name__ == "__main__":
    cli.main(["forecast", *sys.argv[1:]])
