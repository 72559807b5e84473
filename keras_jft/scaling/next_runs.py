"""Which runs would tell most about what more data brings."""

from typing import NamedTuple

import numpy as np

from keras_jft.scaling.law import Design


class NextRuns(NamedTuple):
    """Runs to add, and what they would do.

    Attributes:
        size: The size to run at.
        runs: How many runs, with seeds not used there yet.
        half_width: Half of the gain's interval after them and those before
            them, if noise and deviations stay as they are.
    """

    size: float
    runs: int
    half_width: float


def plan(law, factor, steps=3):
    """The runs after which a gain is known best, chosen one after another.

    No larger size is among them: what there would be is the question.

    Args:
        law: A `Law`.
        factor: How many times the largest size the gain is asked for.
        steps: How many sizes to name.

    Returns:
        `NextRuns`, in the order in which to do them.
    """
    runs = int(law.evidence.counts.max())
    planned = dict(
        zip(law.evidence.sizes, law.evidence.counts.tolist(), strict=True)
    )
    steps_taken = []
    for _ in range(steps):
        candidates = [*planned, *_between(sorted(planned))]
        smallest = _rounded(max(planned) / factor)
        if smallest < min(planned):  # The sizes do not reach far enough.
            candidates = [smallest]
        best = min(
            candidates,
            key=lambda size: half_width_after(law, factor, planned, size, runs),
        )
        half_width = half_width_after(law, factor, planned, best, runs)
        steps_taken.append(NextRuns(float(best), runs, half_width))
        planned[best] = planned.get(best, 0) + runs
    return tuple(steps_taken)


def half_width_after(law, factor, planned, size, runs):
    """Half of the gain's interval after `runs` more at `size`.

    Args:
        law: A `Law`, for the noise and the deviations.
        factor: How many times the largest size the gain is asked for.
        planned: `{size: runs}` before.
        size: Where to run.
        runs: How often.
    """
    counts = planned | {size: planned.get(size, 0) + runs}
    sizes = np.array(sorted(counts))
    design = Design(
        gradient=law.gradient(sizes),
        counts=np.array([counts[s] for s in sizes]),
    )
    noise = law.evidence.noise
    excess = max(law.mean_square - noise, 0) / law.design.runs_a_size
    largest = law.evidence.sizes[-1]
    return float(
        design.half_widths(
            law.gradient(factor * largest) - law.gradient(largest),
            noise + design.runs_a_size * excess,
            noise,
            new_run=True,
        )
    )


def _between(sizes):
    """A size in the middle of each gap, on the logarithmic scale."""
    for low, high in zip(sizes, sizes[1:], strict=False):
        middle = _rounded(np.sqrt(low * high))
        if low < middle < high:
            yield middle


def _rounded(size):
    """Two significant digits; a whole number, if it is 1 or more."""
    size = float(f"{size:.2g}")
    return float(round(size)) if size >= 1 else size
