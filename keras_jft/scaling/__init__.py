"""From the scores of many runs to a scaling law, a decision and figures."""

import typing

from keras_jft import startup
from keras_jft.scaling.decision.alternatives import Alternative, alternatives
from keras_jft.scaling.decision.forecast import Forecast, forecast, forecasts
from keras_jft.scaling.decision.prices import Price, Prices, prices
from keras_jft.scaling.law.backtesting import backtest
from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.fitting import fit, trend
from keras_jft.scaling.law.joint import Choice, JointLaw, fit_joint
from keras_jft.scaling.law.law import Candidate, Law
from keras_jft.scaling.paper.capacity import plot_capacity
from keras_jft.scaling.paper.findings import Finding, findings
from keras_jft.scaling.paper.regenerated import (
    paper_figures,
    paper_page,
    paper_tables,
)
from keras_jft.scaling.paper.tables import PaperTable, paper_table
from keras_jft.scaling.paper.timeline import plot_timeline
from keras_jft.scaling.reporting.classes import class_table
from keras_jft.scaling.reporting.figures import (
    plot_classes,
    plot_data_size,
    plot_data_sizes,
    plot_progress,
)
from keras_jft.scaling.reporting.page import report
from keras_jft.scaling.reporting.tables import table
from keras_jft.scaling.rows.results import Results, find_results, read_rows
from keras_jft.scaling.rows.rows import append as append_row
from keras_jft.scaling.rows.table import Rows
from keras_jft.scaling.rows.trackers import KINDS
from keras_jft.scaling.study.executors import (
    Processes,
    RayTasks,
    open_executor,
)
from keras_jft.scaling.study.outlook import Outlook
from keras_jft.scaling.study.study import Study
from keras_jft.scaling.study.until import Decided

# Only runs train: the rest must not import Keras.
if typing.TYPE_CHECKING:
    from keras_jft.scaling.study.budget import fit_hours
    from keras_jft.scaling.study.plan import Plan, Task
    from keras_jft.scaling.study.planning import read_plan
    from keras_jft.scaling.study.runs import RateSearch, Run, Runner
    from keras_jft.scaling.study.search import num_search_runs, search_rates
    from keras_jft.scaling.study.study_file import (
        commented,
        study_text,
        write_study,
    )
else:
    __getattr__, __dir__ = startup.on_demand(__name__)

__all__ = [
    "KINDS",
    "LAWS",
    "Alternative",
    "Candidate",
    "Choice",
    "Decided",
    "Finding",
    "Forecast",
    "JointLaw",
    "Law",
    "Outlook",
    "PaperTable",
    "Plan",
    "Price",
    "Prices",
    "Processes",
    "RayTasks",
    "RateSearch",
    "Results",
    "Rows",
    "Run",
    "Runner",
    "Study",
    "Task",
    "alternatives",
    "append_row",
    "backtest",
    "class_table",
    "commented",
    "find_results",
    "fit",
    "findings",
    "fit_hours",
    "fit_joint",
    "forecast",
    "forecasts",
    "num_search_runs",
    "open_executor",
    "paper_figures",
    "paper_page",
    "paper_table",
    "paper_tables",
    "plot_capacity",
    "plot_classes",
    "plot_data_size",
    "plot_data_sizes",
    "prices",
    "plot_progress",
    "plot_timeline",
    "read_plan",
    "read_rows",
    "report",
    "search_rates",
    "study_text",
    "table",
    "trend",
    "write_study",
]
