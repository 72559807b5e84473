"""Does a bigger net gain more from more data? Figure 5, small.

Question: Sun et al. 2017 find that 300M images gain more over ImageNet the
deeper the net is: 1.87 points of COCO AP with ResNet-50, 2.3 with ResNet-101,
3 with ResNet-152 (section 1 and Figure 5). Is it so on the synthetic world, for
a net twice as deep and for one twice as wide?

Command:

    python benchmarks/capacity.py

Rows go to results/capacity.jsonl, the figure, in the form of the paper's, to
figures/capacity.png; `--tiny-imagenet DIR` asks the same of real images,
`--dry-run` says what is left to do, `--smoke` goes the whole way with one arm.

Result (`--sizes 300 3000 --seeds 0 1`: two seeds and sizes so far; top-1
of frozen transfer, mean and standard deviation):

                          300      3,000   a decade
    base             34.9 4.0   55.5 0.5      +20.6
    twice as deep    32.5 3.6   53.8 1.6      +21.3
    twice as wide    44.5 4.7   56.3 0.8      +11.9

The paper's finding does not show here: the deeper net gains as much as the base
(+0.7 points a decade, less than the seeds differ), and the wider one less: it
is ahead by 10 points at 300 images and by 1 at 3,000. But two seeds leave
intervals of 18 points and more either way, and a net that is trained for 36
steps is judged by how fast it learns: this says something of small studies, and
little against the paper's.

Cost: 8 minutes on 2 cores of an AMD EPYC (24 GB) that other work shared;
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
    """In the form of Figure 5; a curve a net where there is one size."""
    if len({row["num_examples"] for row in rows}) < 2:
        return arms.plot(rows)
    return jft.scaling.plot_capacity(rows, paper=True)


if __name__ == "__main__":
    arms.main(__doc__, "capacity", ARMS, draw=draw)
