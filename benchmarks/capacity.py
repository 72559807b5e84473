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

ARMS = {
    "base": arms.change(),
    "twice as deep": arms.change(blocks=(2, 2, 2, 2)),
    "twice as wide": arms.change(width=32),
}


if __name__ == "__main__":
    arms.main(__doc__, "capacity", ARMS)
