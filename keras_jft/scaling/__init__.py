"""Scores of many runs to a law, a decision and a figure."""

import typing

from keras_jft import startup
from keras_jft.scaling.backtesting import backtest
from keras_jft.scaling.classes import class_table
from keras_jft.scaling.cost import Outlook
from keras_jft.scaling.decision import Forecast, forecast
from keras_jft.scaling.figure import (
    plot_classes,
    plot_data_size,
    plot_data_sizes,
)
from keras_jft.scaling.figure_capacity import plot_capacity
from keras_jft.scaling.fitting import fit, trend
from keras_jft.scaling.law import Candidate, Law
from keras_jft.scaling.laws import LAWS
from keras_jft.scaling.marginal import Alternative, alternatives
from keras_jft.scaling.paper_tables import PaperTable, paper_table
from keras_jft.scaling.reporting import report
from keras_jft.scaling.rows import append as append_row
from keras_jft.scaling.rows import read as read_rows
from keras_jft.scaling.study import Study
from keras_jft.scaling.summary import forecasts, table

if typing.TYPE_CHECKING:
    from keras_jft.scaling.runs import Run, Runner

__all__ = [
    "LAWS",
    "Alternative",
    "Candidate",
    "Forecast",
    "Law",
    "Outlook",
    "PaperTable",
    "Run",
    "Runner",
    "Study",
    "alternatives",
    "append_row",
    "backtest",
    "class_table",
    "fit",
    "forecast",
    "forecasts",
    "paper_table",
    "plot_capacity",
    "plot_classes",
    "plot_data_size",
    "plot_data_sizes",
    "read_rows",
    "report",
    "table",
    "trend",
]

# Runs train, the rest computes: Keras need not be imported for it.
__getattr__, __dir__ = startup.on_demand(__name__, {"runs": ["Run", "Runner"]})
