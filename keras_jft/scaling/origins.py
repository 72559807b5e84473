"""How rows were made, as a part of a page: versions, hardware, settings."""

import json

import pandas as pd

from keras_jft.html_page import Code, Table, Text
from keras_jft.scaling import cost, evidence

# Columns of a row that say how it was made, and what each is called.
MADE_BY = {
    "cpu": "Processor",
    "cores": "Cores",
    "accelerator": "Accelerator",
    "backend": "Keras backend",
}


def made_by(rows, command=None):
    """Blocks that say how rows were made, as far as they tell.

    Args:
        rows: Rows, a list of dicts or a DataFrame.
        command: The command that makes them.

    Yields:
        Blocks of a page.
    """
    table = evidence.table_of(rows)
    if command:
        yield Code("The command that makes the rows", command)
    facts = [("Rows", f"{len(table):,}"), *_facts(table)]
    yield Table("What the rows say", ("", "values"), tuple(facts), words=True)
    configs = [c for c in table.get("config", ()) if isinstance(c, dict)]
    if not configs:
        yield Text(
            "The rows have no configs: how they were made is not on record."
        )
        return
    shared, varied = _settings(configs)
    if varied:
        yield Table(
            "Settings that differ among the runs",
            ("setting", "values"),
            tuple((name, ", ".join(v)) for name, v in varied.items()),
            words=True,
        )
    lines = [f"{name} = {value}" for name, value in shared.items()]
    yield Code("Settings that all runs share", "\n".join(lines))


def _facts(table):
    """Pairs of what is on record and its values."""
    if "error" in table:
        yield "Failed runs", f"{int(evidence.failed(table).sum()):,}"
    if "seed" in table:
        yield "Seeds", _values(table["seed"])
    if "time" in table:
        times = [time for time in table["time"] if isinstance(time, str)]
        if times:
            yield "Made (UTC)", f"{min(times)} to {max(times)}"
    hours = cost.hours_of(table)
    if pd.notna(hours).any():
        yield "Device-hours in all", f"{pd.Series(hours).sum():.3g}"
    for column, name in MADE_BY.items():
        if column in table:
            yield name, _values(table[column])
    for column in table:
        package = str(column).removeprefix("version_")
        if package != column:
            yield package, _values(table[column])


def _values(column):
    texts = [
        value if isinstance(value, (str, int, float)) else json.dumps(value)
        for value in column.dropna()
    ]
    values = list(dict.fromkeys(texts))
    if all(isinstance(v, float) and v.is_integer() for v in values):
        values = [int(value) for value in values]
    return ", ".join(map(str, values)) or "none"


def _settings(configs):
    """`{name: value}` of what all configs share, `{name: values}` of the rest.

    Names are dotted paths into the config.
    """
    flat = pd.DataFrame([dict(_flat(config)) for config in configs])
    values = {
        str(name): column.fillna("not there").unique().tolist()
        for name, column in flat.items()
    }
    shared = {name: v[0] for name, v in values.items() if len(v) == 1}
    return shared, {name: v for name, v in values.items() if len(v) > 1}


def _flat(config, path=""):
    """Pairs of a dotted path and the JSON of what is there."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", json.dumps(value)
