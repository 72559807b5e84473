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

Result (`--sizes 300 3000 --seeds 0 1`, stopped after seed 0 of 3,000 images;
top-1 of frozen transfer, mean and standard deviation):

                            300   3,000 (one seed)
    all as common      40.4 1.0               53.7
    long tail (0.8)    34.9 4.0               55.1
    longer tail (1.6)  29.8 1.0               54.8

As far as one seed can tell the claim holds at 3,000 images, where no tail costs
anything. At 300 it does not: the world's own tail costs 5.5 points there, the
longer one 10.6. More images make up for a tail as they do for wrong names.

Cost: 6 minutes on 2 cores of an AMD EPYC (24 GB) that other work shared;
TensorFlow 2.21, Keras 3.15.1.
"""

import arms

ARMS = {
    "all as common": arms.options(long_tail=0.0),
    "long tail (0.8)": arms.change(),
    "longer tail (1.6)": arms.options(long_tail=1.6),
}


if __name__ == "__main__":
    arms.main(__doc__, "long_tail", ARMS, synthetic=True)
