"""Does a single learning rate understate data? The paper's disclaimer.

Question: Sun et al. 2017 say that their schedules and rates are those of
training with 1M images, so that the value of data is underestimated. How much
more is it worth on synthetic images when the rate of pre-training is the
best of a small grid for each size, instead of one for all?

Command:

    python benchmarks/learning_rate.py

Rows go to results/learning_rate.jsonl, the figure to figures/learning_rate.png;
`--tiny-imagenet DIR` asks the same about real images, `--dry-run` says what is
left to do, `--smoke` does a quick run with one arm. "Best of the grid" is
chosen for each size and seed by the mean of the other seeds, so that the choice
does not see the score it is given.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                      300      1,000      3,000 per decade
    rate 0.01    30.1 4.7   46.2 1.1   53.3 2.0      +23.4
    rate 0.03    36.0 3.4   48.7 1.2   55.6 0.4      +19.7
    rate 0.09    26.6 2.7   42.6 8.9   52.3 3.7      +25.7

On the synthetic world the disclaimer does not show: 0.03 is the best rate for
every size, so the best of the grid is the fixed one, at +19.7 points per
decade. A wrong rate, fixed for all sizes, rather overstates what data is worth
(+23.4, +25.7): it hurts the small size most.

Result on Tiny ImageNet (3 seeds, likewise):

                    3,000     30,000 per decade
    rate 0.01    29.4 1.9   40.2 2.2      +10.8
    rate 0.03    31.4 2.5   41.4 1.9      +10.0
    rate 0.09    27.8 0.8   42.4 1.3      +14.7

There it does, a little: at 3,000 images 0.03 is best, at 30,000 it is 0.09, as
the other seeds of each say, too. With the best rate of each size ten times the
images are worth +11.0 points, with 0.03 for both +10.0: one rate understates
data by a tenth, which is less than seeds differ.

Cost: 12 and 24 minutes on 2 shared cores of an AMD EPYC (24 GB);
TensorFlow 2.21, Keras 3.15.1.
"""

import arms
import pandas as pd

BASE = arms.SYNTHETIC.pretrain.learning_rate
RATES = {f"rate {rate:g}": rate for rate in (BASE / 3, BASE, 3 * BASE)}
ARMS = {name: arms.change(learning_rate=r) for name, r in RATES.items()}


def best_of_the_grid(scores):
    """Return the scores of each seed at the rate that is best for the others.

    Args:
        scores: A DataFrame from `arms.frame`.

    Returns:
        A DataFrame with a row per size and seed: `num_examples`, `seed`, the
        chosen `arm` and its `score`.
    """
    chosen = []
    for size, part in scores.groupby("num_examples"):
        grid = part.pivot(index="seed", columns="arm", values="score")
        for seed in grid.index:
            others = grid.drop(index=seed) if len(grid) > 1 else grid
            arm = others.mean().idxmax()
            chosen.append((size, seed, arm, grid.loc[seed, arm]))
    return pd.DataFrame(
        chosen, columns=["num_examples", "seed", "arm", "score"]
    )


def tell(rows):
    """Return the slopes at a single rate and at the best rate of each size."""
    scores = arms.frame(rows)
    best = best_of_the_grid(scores)
    picked = best.groupby("num_examples")["arm"].agg(lambda a: sorted({*a}))
    lines = [f"{size:,} images: {arm}" for size, arm in picked.items()]
    if len(picked) > 1:
        one = scores.groupby("arm")["score"].mean().idxmax()
        fixed = arms.slope(scores[scores["arm"] == one])
        lines += [
            f"one rate for all ({one}): {fixed:+.1f} points per decade",
            f"best of the grid: {arms.slope(best):+.1f} points per decade",
        ]
    return "\n".join(["Chosen by the other seeds:", *lines])


if __name__ == "__main__":
    arms.main(__doc__, "learning_rate", ARMS, tell=tell)
