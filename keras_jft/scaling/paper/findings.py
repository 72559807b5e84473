"""The paper's findings, and whether rows of the same arms agree.

A finding is a difference of two arms in points, or the slope of a curve, and
holds for a row of `benchmarks/paper.py`: one that has the columns `benchmark`,
`pretraining` and `mode`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from keras_jft.scaling.reporting.figures import progress_score
from keras_jft.scaling.rows import units
from keras_jft.scaling.rows.table import Rows, RowsLike

AGREES, DOES_NOT, OPEN = "agrees", "does not", "cannot tell"
ON_PAR = 1.0  # Points within which scores are called on par.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of the paper beside that of one's own rows.

    Attributes:
        where: Table, figure or section of the paper.
        says: What the paper finds.
        paper: Its number, in points.
        ours: That of the rows: the mean over seeds; nan without rows.
        low: Lower end of the 95% interval (Student's t over seeds); nan with
            fewer than two seeds.
        high: Its upper end.
        seeds: Number of seeds.
        verdict: "agrees" or "does not" if the whole interval says so, else
            "cannot tell".
    """

    where: str
    says: str
    paper: float
    ours: float
    low: float
    high: float
    seeds: int
    verdict: str


@dataclasses.dataclass(frozen=True)
class _Claim:
    """A finding, and how it is measured: `measure(table)`, one per seed."""

    where: str
    says: str
    paper: float
    measure: Callable[[pd.DataFrame], np.ndarray]
    on_par: bool = False


def _scores(table, benchmark, score, pretraining, mode):
    """Return the scores of an arm in points, by seed."""
    arm = (
        (table["benchmark"] == benchmark)
        & (table["pretraining"] == pretraining)
        & (table["mode"] == mode)
    )
    if score not in table or not arm.any():
        return pd.Series(dtype="float64")
    return units.in_percent(table[arm].set_index("seed")[score])


def _gain(benchmark, score, better, worse, mode="fine_tuned"):
    """Return a measure: how far an arm is ahead of another, by seed."""

    def measure(table):
        ahead = _scores(table, benchmark, score, better, mode)
        return (ahead - _scores(table, benchmark, score, worse, mode)).dropna()

    return measure


def _shift(benchmark, score, pretraining):
    """Return a measure: what leaving duplicates out changes, by seed."""

    def measure(table):
        arm = benchmark, f"{score}_without_duplicates", pretraining
        without = _scores(table, *arm, "fine_tuned")
        every = _scores(table, benchmark, score, pretraining, "fine_tuned")
        return (without - every).dropna()

    return measure


def _slope(benchmark, score, mode):
    """Return a measure: points per tenfold of images of JFT, by seed."""

    def measure(table):
        sizes = [
            _scores(table, benchmark, score, name, mode)
            for name in ("JFT 10M", "JFT 30M", "JFT 100M", "JFT")
        ]
        curve = pd.concat(sizes, axis=1).dropna()
        if curve.shape[1] < 4 or curve.empty:
            return pd.Series(dtype="float64")
        logs = np.log10([10, 30, 100, 300])
        return curve.apply(lambda y: np.polyfit(logs, y, 1)[0], axis=1)

    return measure


def _capacity(table):
    """Return how much more 152 layers gain from JFT than 50, by seed."""
    gains = [
        _gain("COCO", "ap", f"JFT {n} layers", f"ImageNet {n} layers")(table)
        for n in (152, 50)
    ]
    return (gains[0] - gains[1]).dropna()


_COCO = "COCO", "ap"
_CLAIMS = (
    _Claim(
        "Table 1",
        "JFT-300M is better than no pre-training on ImageNet, top-1",
        1.7,
        _gain("ImageNet", "top1", "JFT", "random"),
    ),
    _Claim(
        "Table 2",
        "JFT-300M is better than ImageNet on COCO, AP",
        2.4,
        _gain(*_COCO, "JFT", "ImageNet"),
    ),
    _Claim(
        "Table 2",
        "ImageNet, then JFT-300M is better than ImageNet on COCO, AP",
        3.1,
        _gain(*_COCO, "ImageNet+JFT", "ImageNet"),
    ),
    _Claim(
        "Table 3",
        "JFT-300M is better than ImageNet on VOC 2007, AP@.5",
        5.1,
        _gain("VOC 2007", "voc_ap", "JFT", "ImageNet"),
    ),
    _Claim(
        "Table 4",
        "36M steps of JFT-300M are better than 12M on COCO, AP",
        1.8,
        _gain(*_COCO, "JFT", "JFT 12M steps"),
    ),
    _Claim(
        "Table 5",
        "5M steps of ImageNet are better than 100K on COCO, AP",
        12.3,
        _gain(*_COCO, "ImageNet", "ImageNet 100K steps"),
    ),
    _Claim(
        "Table 6",
        "all labels are on par with those of ImageNet on COCO, AP",
        0.7,
        _gain(*_COCO, "JFT 30M", "JFT ImageNet's labels"),
        on_par=True,
    ),
    _Claim(
        "Table 7",
        "JFT-300M is better than ImageNet for poses, OKS-AP",
        2.4,
        _gain("people", "ap", "JFT", "ImageNet"),
    ),
    _Claim(
        "Table 8",
        "duplicates change little on ImageNet, top-1 after JFT-300M",
        0.1,
        _shift("ImageNet", "top1", "JFT"),
        on_par=True,
    ),
    _Claim(
        "Table 9",
        "duplicates change little on COCO, AP after JFT-300M",
        -0.1,
        _shift(*_COCO, "JFT"),
        on_par=True,
    ),
    _Claim(
        "Table 10",
        "duplicates change little on VOC 2007, AP@.5 after JFT-300M",
        0.1,
        _shift("VOC 2007", "voc_ap", "JFT"),
        on_par=True,
    ),
    _Claim(
        "Table 10",
        "duplicates change little on VOC 2012, mIoU after JFT-300M",
        -0.2,
        _shift("VOC 2012", "miou", "JFT"),
        on_par=True,
    ),
    _Claim(
        "Figure 4",
        "COCO AP rises with log data size, fine-tuned, points per tenfold",
        4.9,
        _slope(*_COCO, "fine_tuned"),
    ),
    _Claim(
        "Figure 4",
        "COCO AP rises with log data size, frozen, points per tenfold",
        np.nan,
        _slope(*_COCO, "frozen"),
    ),
    _Claim(
        "Figure 4",
        "VOC 2007 AP@.5 rises with log data size, fine-tuned",
        np.nan,
        _slope("VOC 2007", "voc_ap", "fine_tuned"),
    ),
    _Claim(
        "Figure 4",
        "VOC 2007 AP@.5 rises with log data size, frozen",
        np.nan,
        _slope("VOC 2007", "voc_ap", "frozen"),
    ),
    _Claim(
        "Figure 5",
        "152 layers gain more from JFT-300M than 50 on COCO, AP",
        1.1,
        _capacity,
    ),
    _Claim(
        "Figure 6",
        "JFT-300M is better than ImageNet on VOC 2012, mIoU",
        1.7,
        _gain("VOC 2012", "miou", "JFT", "ImageNet"),
    ),
    _Claim(
        "Figure 6",
        "ImageNet, then JFT-300M is better than ImageNet on VOC 2012, mIoU",
        2.9,
        _gain("VOC 2012", "miou", "ImageNet+JFT", "ImageNet"),
    ),
    _Claim(
        "Figure 6",
        "VOC 2012 mIoU rises with log data size, points per tenfold",
        np.nan,
        _slope("VOC 2012", "miou", "fine_tuned"),
    ),
)


def findings(rows: RowsLike, progress: RowsLike | None = None) -> list[Finding]:
    """Return each finding of the paper beside what rows say about it.

    Args:
        rows: Rows of `benchmarks/paper.py`.
        progress: Lines of the logs of pre-training, as for `plot_progress`,
            with `pretraining` "JFT" and "ImageNet+JFT".

    Returns:
        A list of `Finding`s, in the order of the paper.

    Raises:
        ValueError: The rows lack a column.
    """
    rows = Rows(rows).succeeded()
    rows.check_columns("benchmark", "pretraining", "mode", "seed")
    found = [_found(claim, claim.measure(rows.table)) for claim in _CLAIMS]
    if progress is not None:
        found += _of_progress(Rows(progress).table)
    return sorted(found, key=lambda finding: finding.where.startswith("Figure"))


def _found(claim, values):
    values = np.asarray(values, np.float64)
    mean = values.mean() if len(values) else np.nan
    low = high = np.nan
    if len(values) > 1:
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        low, high = mean - half, mean + half
    return Finding(
        where=claim.where,
        says=claim.says,
        paper=claim.paper,
        ours=mean,
        low=low,
        high=high,
        seeds=len(values),
        verdict=_verdict(low, high, claim.on_par),
    )


def _verdict(low, high, on_par):
    """Return whether an interval says that the finding holds."""
    least, most = (-ON_PAR, ON_PAR) if on_par else (0.0, np.inf)
    if low > least and high < most:
        return AGREES
    # All of it on the other side.
    return DOES_NOT if high < least or low > most else OPEN


def _of_progress(table):
    """Yield the two findings of Figure 3."""
    column = progress_score(table)
    steps = table.groupby(["pretraining", "seed"])["step"].max().min()

    def ahead(place):
        at = table[
            table["step"] == _nearest(table["step"], steps * place)
        ].set_index("seed")
        scores = {
            name: part[column] for name, part in at.groupby("pretraining")
        }
        if {"JFT", "ImageNet+JFT"} - set(scores):
            return pd.Series(dtype="float64")
        gain = scores["ImageNet+JFT"] - scores["JFT"]
        return 100 * gain.dropna()

    for place, says, on_par in (
        (1 / 6, "starts ahead, mAP@100 after 6M of 36M steps", False),
        (1.0, "ends on par, mAP@100 after 36M steps", True),
    ):
        claim = _Claim(
            "Figure 3", f"an ImageNet checkpoint {says}", np.nan, ahead, on_par
        )
        yield _found(claim, ahead(place))


def _nearest(steps, wanted):
    steps = steps.unique()
    return steps[np.argmin(abs(steps - wanted))]
