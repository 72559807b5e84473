"""Does a long tail of classes hurt pre-training? The claim, isolated.

Question: 3,000 of the 18,291 classes of JFT-300M have fewer than 100 images,
and Sun et al. 2017 write that "this long-tail does not seem to adversely affect
the stochastic training of ConvNets" (section 1), but have no balanced set to
compare with. What is it worth on the synthetic world to have all of its 200
names as common (exponent 0), beside Zipf's law with the exponents 0.8, which
is the world's own, and 1.6, where one name has 45% of the objects?

Command:

    python benchmarks/long_tail.py

Rows go to results/long_tail.jsonl, the figure to figures/long_tail.png;
`--dry-run` says what is left to do, `--smoke` goes the whole way with one arm.
"""

import arms

ARMS = {
    "all as common": arms.options(long_tail=0.0),
    "long tail (0.8)": arms.change(),
    "longer tail (1.6)": arms.options(long_tail=1.6),
}


if __name__ == "__main__":
    arms.main(__doc__, "long_tail", ARMS)
