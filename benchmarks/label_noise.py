"""Does scale overcome noisy labels? The claim that the paper never isolates.

Question: about 20% of the labels of JFT-300M are wrong, and Sun et al. 2017
write that "it seems the scale of data can overpower noise in the label space"
(section 1), but have no clean labels to compare with. The synthetic world knows
its true labels: what do wrong and missing names cost, and does the cost shrink
with more images?

Command:

    python benchmarks/label_noise.py

Rows go to results/label_noise.jsonl, the figure to figures/label_noise.png;
`--tiny-imagenet DIR` spoils the labels of real images, at 3,000 and 30,000 of
them, `--dry-run` says what is left to do, `--smoke` does a quick run with one
arm.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                        300      1,000      3,000 per decade
    clean          41.6 0.6   51.0 1.1   57.6 2.8      +16.1
    as in JFT      36.0 3.4   48.7 1.2   55.6 0.4      +19.7
    half wrong     35.1 1.7   45.4 2.9   55.5 0.8      +20.4
    half missing   35.5 2.1   46.1 3.8   54.5 2.3      +19.1

On the synthetic world the claim holds in part: with half of the names wrong
6.5, 5.6 and 2.1 points are lost at 300, 1,000 and 3,000 images, with the noise
of JFT 5.6, 2.3 and 2.0, with half of them missing 6.1, 4.9 and 3.1. So scale
makes the cost smaller by half and more; that it overpowers noise, three seeds
cannot tell (the losses at 3,000 scatter by 3). From 300 images of JFT's noise,
ten times the images are worth more (+19.7) than clean names (+5.6).

Result on Tiny ImageNet (3 seeds, likewise):

                      3,000     30,000 per decade
    clean          30.2 2.2   40.0 2.1       +9.8
    as in JFT      28.0 1.5   36.9 2.3       +8.9
    half wrong     28.9 3.8   33.4 2.8       +4.6
    half missing   28.9 2.2   37.2 2.3       +8.3

There it does not hold: at 3,000 images, where little transfers, noise costs
what seeds cost; at 30,000 the noise of JFT costs 3.1 points (each seed 2 or
more) and half of the labels wrong 6.6 (4 or more). The cost does not shrink,
and half of the slope goes with half of the labels.

Cost: 12 and 34 minutes on 2 shared cores of an AMD EPYC (24 GB);
TensorFlow 2.21, Keras 3.15.1.
"""

import arms

# Rates of wrong and missing labels in the base setting.
BASE = {"synthetic": (0.2, 0.1), "image_folder": (0.0, 0.0)}


def noise(wrong, missing):
    """Return an arm with wrong and missing labels at the given rates."""

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
