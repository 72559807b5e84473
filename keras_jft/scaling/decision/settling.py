"""Whether the runs that are left could still change a verdict.

The runs of a study that are not done yet narrow the interval of the gain by an
amount that is known beforehand, and move it by one that is not. So each verdict
has a probability of being the one after all runs (equation 31 of
`docs/forecasts.md`), and a study may stop when that of the present one is high.

References:
    Raiffa and Schlaifer 1961, "Applied Statistical Decision Theory",
    chapter 4 (preposterior analysis).
"""

from scipy import stats

from keras_jft.scaling.decision import next_runs
from keras_jft.scaling.decision.forecast import (
    COLLECT,
    DO_NOT_COLLECT,
    NOT_ENOUGH_EVIDENCE,
    from_runs_alone,
)


def probabilities(sheet, left):
    """Return the probability of each verdict after the runs that are left.

    Args:
        sheet: The `Forecast` from the runs so far.
        left: `{size: number of runs left}`; sizes of 0 runs are left out.

    Returns:
        `{verdict: probability}`, which sum to 1.
    """
    if not left:
        return {sheet.verdict: 1.0}
    found = _of_the_interval(sheet.law, sheet, left)
    if found[NOT_ENOUGH_EVIDENCE] < 1:
        # Runs must say the same without what other curves do (equation 23).
        alone = _of_the_interval(from_runs_alone(sheet.law), sheet, left)
        for verdict in (COLLECT, DO_NOT_COLLECT):
            found[verdict] = min(found[verdict], alone[verdict])
    decided = found[COLLECT] + found[DO_NOT_COLLECT]
    return {**found, NOT_ENOUGH_EVIDENCE: 1 - decided}


def _of_the_interval(law, sheet, left):
    """Return `{verdict: probability}` from the interval of the gain alone."""
    above = below = 0.0
    for weight, gain, moves in next_runs.outlooks(law, sheet.factor, left):
        moved = stats.norm(scale=max(moves, 1e-300))
        above += weight * float(moved.sf(sheet.worth - gain.low))
        below += weight * float(moved.cdf(sheet.worth - gain.high))
    return {
        COLLECT: above,
        DO_NOT_COLLECT: below,
        NOT_ENOUGH_EVIDENCE: 1 - above - below,
    }
