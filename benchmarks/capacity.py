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
