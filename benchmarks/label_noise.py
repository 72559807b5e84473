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

Result (`--sizes 300 3000 --seeds 0 1`: two seeds and sizes so far; top-1
of frozen transfer, mean and standard deviation):

                      300      3,000   a decade
    clean        41.2 0.0   56.0 0.4      +14.8
    as in JFT    34.9 4.0   55.5 0.5      +20.6
    half wrong   34.2 0.8   55.6 1.1      +21.4
    half missing 36.7 0.6   53.6 2.3      +16.9

The claim holds for wrong names: with half of them wrong, 7.0 points are lost at
300 images and 0.4 at 3,000; with the noise of JFT 6.4 and half a point. With
half of them missing 4.5 and 2.4 are lost: about half of that cost stays, as far
as two seeds can tell. From 300 images of JFT's noise, ten times the images are
worth more (+20.6) than clean names (+6.4).

Cost: 7 minutes on 2 cores of an AMD EPYC (24 GB) that other work shared;
TensorFlow 2.21, Keras 3.15.1.
"""

import arms

# Rates of wrong and missing labels that the base has.
BASE = {"synthetic": (0.2, 0.1), "image_folder": (0.0, 0.0)}


def noise(wrong, missing):
    """An arm with wrong and missing labels at these rates."""

    def changed(pretrain):
        if BASE[pretrain.dataset] == (wrong, missing):
            return pretrain
        if pretrain.dataset == "synthetic":
            rates = {"wrong_labels": wrong, "missing_labels": missing}
        else:
            rates = {"noise": {"wrong": wrong, "missing": missing}}
        return arms.options(**rates)(pretrain)

    return changed


ARMS = {
    "clean": noise(0.0, 0.0),
    "as in JFT (20% wrong, 10% missing)": noise(0.2, 0.1),
    "half wrong": noise(0.5, 0.0),
    "half missing": noise(0.0, 0.5),
}


if __name__ == "__main__":
    arms.main(__doc__, "label_noise", ARMS)
