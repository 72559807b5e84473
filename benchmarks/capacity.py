"""Does a bigger net gain more from more data? Figure 5, small.

Question: Sun et al. 2017 find that 300M images gain more over ImageNet the
deeper the net is: 1.87 points of COCO AP with ResNet-50, 2.3 with ResNet-101,
3 with ResNet-152 (section 1 and Figure 5). Is it so on synthetic images, for
a net twice as deep and for one twice as wide?

Command:

    python benchmarks/capacity.py

Rows go to results/capacity.jsonl, and a figure in the form of the paper's to
figures/capacity.png; `--tiny-imagenet DIR` asks the same about real images,
`--dry-run` says what is left to do, `--smoke` does a quick run with one arm.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                          300      1,000      3,000 per decade
    base             36.0 3.4   48.7 1.2   55.6 0.4      +19.7
    twice as deep    29.8 5.5   43.1 4.2   52.4 2.7      +22.6
    twice as wide    46.2 4.4   51.9 1.3   56.7 0.8      +10.5

The paper's finding is not certain here: the deeper net gains 2.9 points per
decade more than the base (by seed -3.5, +4.7, +7.5), but is behind it at every
size. The wider one gains half as much: it is ahead by 10 points at 300 images
and by 1 at 3,000. A net trained for 36 to 372 steps is judged by how fast it
learns, and a deep net learns slowly at first. This result is about small
studies, and does not contradict the paper's.

Result on Tiny ImageNet (3 seeds, likewise):

                        3,000     30,000 per decade
    base             30.2 2.2   40.0 2.1       +9.8
    twice as deep    27.1 4.1   41.0 2.7      +13.9
    twice as wide    31.1 1.0   45.0 0.6      +13.9

Here it does hold: both larger nets gain more from ten times the images than the
base, with every seed (deeper by 0.7, 1.7 and 10.0 points, wider by 1.0, 5.7 and
5.7), and are ahead of it at 30,000.

Cost: 14 and 46 minutes on 2 shared cores of an AMD EPYC (24 GB);
TensorFlow 2.21, Keras 3.15.1.
"""

import arms

import keras_jft as jft

ARMS = {
    "base": arms.change(),
    "twice as deep": arms.change(blocks=(2, 2, 2, 2)),
    "twice as wide": arms.change(width=32),
}


def draw(rows):
    """Plot in the form of Figure 5; plain curves for one size, or for modes."""
    kinds = {(row["num_examples"], row["mode"]) for row in rows}
    if len(kinds) < 2 or len({mode for _, mode in kinds}) > 1:
        return arms.plot(rows)
    return jft.scaling.plot_capacity(rows, paper=True)


if __name__ == "__main__":
    arms.main(__doc__, "capacity", ARMS, draw=draw)
