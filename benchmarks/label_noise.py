"""Does scale overcome noisy labels? The claim that the paper never isolates.

Question: about 20% of the labels of JFT-300M are wrong, and Sun et al. 2017
write that "it seems the scale of data can overpower noise in the label space"
(section 1), but have no clean labels to compare with. The synthetic world knows
its true labels: what do wrong and missing names cost, and does the cost shrink
with more images?

Command:

    python benchmarks/label_noise.py

Rows go to results/label_noise.jsonl, the figure to figures/label_noise.png;
`--dry-run` says what is left to do, `--smoke` goes the whole way with one arm.
"""

import arms


def noise(wrong, missing):
    """An arm with wrong and missing names at these rates."""
    return arms.options(wrong_labels=wrong, missing_labels=missing)


ARMS = {
    "clean": noise(0.0, 0.0),
    "as in JFT (20% wrong, 10% missing)": arms.change(),
    "half wrong": noise(0.5, 0.0),
    "half missing": noise(0.0, 0.5),
}


if __name__ == "__main__":
    arms.main(__doc__, "label_noise", ARMS)
