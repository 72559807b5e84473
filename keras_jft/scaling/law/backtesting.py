"""Back-tests: forecasts of known curves from their smaller sizes."""

from collections.abc import Sequence
from typing import Any

from keras_jft.scaling.law.families import LAWS
from keras_jft.scaling.law.fitting import fit, gather
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

CHOICE = "choice"  # All laws, weighed: what `fit` returns.


def backtest(
    rows: RowsLike,
    x: str,
    y: str,
    by: str | Sequence[str] | None = None,
    factor: float = 10,
    bounds: tuple[float, float] | None = None,
    laws: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Hide the largest sizes of curves and forecast them from the rest.

    For each curve, sizes above 1 / `factor` of the largest are hidden, the
    rest are fitted, and the runs at the largest size are compared with the
    forecast for it.

    Args:
        rows: Rows, a list of dicts, a DataFrame or `Rows`.
        x: The column of sizes.
        y: The column of scores.
        by: Column or columns that tell curves apart; None for a single curve.
        factor: How many times the largest visible size the forecast reaches.
        bounds: As for `fit`; None infers them from all scores of a curve.
        laws: Names in `LAWS` to try alone, besides all of them weighed
            together; None: all.

    Returns:
        A list of dicts, one per curve and law (`"choice"` stands for all laws
        weighed together): `curve`, `law`, `observed` (the mean of the runs),
        `predicted`, `low`, `high`, `error` (predicted minus observed) and
        `covered`, the share of the runs within the 95% prediction interval.

    Raises:
        ValueError: As for `fit`, or if fewer than two sizes are left.

    Example:
        >>> rows = [
        ...     {"num_examples": 10**k, "seed": s, "top1": 0.1 * k + 0.01 * s}
        ...     for k in range(1, 7)
        ...     for s in (0, 1)
        ... ]
        >>> (line, choice) = backtest(
        ...     rows, x="num_examples", y="top1", laws=["log_linear"]
        ... )
        >>> print(line["law"], choice["law"], f"{abs(line['error']):.2f}")
        log_linear choice 0.00
    """
    names = tuple(LAWS) if laws is None else tuple(laws)
    found = []
    for curve, part in Rows(rows).curves(by).items():
        data = gather(part, x, y)
        largest = data.sizes[-1]
        ends = units.bounds_of(data.y, bounds, y)
        far = largest / factor * (1 + 1e-9)
        shown = part.where(part.table[x] <= far)
        runs = data.y[data.x == largest]
        for name in (*names, CHOICE):
            tried = None if name == CHOICE else [name]
            # The direction does not change any prediction.
            law = fit(shown, x, y, bounds=ends, laws=tried, direction="max")
            low, high = law.prediction_interval(largest)
            predicted = float(law.predict(largest))
            found.append(
                {
                    "curve": curve,
                    "law": name,
                    "observed": float(runs.mean()),
                    "predicted": predicted,
                    "low": float(low),
                    "high": float(high),
                    "error": predicted - float(runs.mean()),
                    "covered": float(((runs >= low) & (runs <= high)).mean()),
                }
            )
    return found
