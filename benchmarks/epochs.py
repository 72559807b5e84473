"""Is it the images or the steps? Tables 4 and 5, small.

Question: Sun et al. 2017 find that longer pre-training transfers better: COCO
AP rises from 35.0 to 36.1 and 36.8 with 1.3, 2.6 and 4 epochs of JFT-300M
(Table 4), and from 22.2 to 34.5 with 3 to 150 epochs of ImageNet (Table 5).
They compare data sizes at equal epochs, where more images also mean more steps.
Is it so on synthetic images, and what is left of the value of data when all
sizes take the same number of steps?

Command:

    python benchmarks/epochs.py

Rows go to results/epochs.jsonl, the figure to figures/epochs.png;
`--tiny-imagenet DIR` asks the same about real images, `--dry-run` says what is
left to do, `--smoke` does a quick run with one arm.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                       300      1,000      3,000 per decade
    equal steps   43.1 1.7   56.1 1.1   55.6 0.4      +12.7
    8 epochs      41.4 1.0   53.3 0.6   60.1 1.6      +18.8
    4 epochs      36.0 3.4   48.7 1.2   55.6 0.4      +19.7
    1 epoch       24.8 2.9   35.7 3.5   44.0 4.5      +19.2

The paper's finding holds: longer pre-training transfers better at every size.
At equal epochs ten times the images are worth 19 to 20 points, but they are ten
times the steps, too: at equal steps (372, which are 41 epochs of 300 images) 13
are left, all of them below 1,000 images: in 372 steps, 3,000 images bring no
more than 1,000 seen 12 times. The paper, which has no arm of equal steps,
cannot tell the two apart.

Result on Tiny ImageNet (3 seeds, likewise; equal steps are those of 30,000):

                     3,000     30,000 per decade
    equal steps   32.2 3.9   40.0 2.1       +7.8
    8 epochs      32.6 1.2   44.2 2.0      +11.7
    4 epochs      30.2 2.2   40.0 2.1       +9.8
    1 epoch       28.2 3.2   33.2 1.4       +5.0

The finding holds for every seed at 30,000 images (3 to 10 points from 1 to 4
epochs, 1 to 7 from 4 to 8) and at 3,000 from 4 to 8. Of the gain at 4 epochs
four fifths are left at equal steps: here it is the images.

Cost: 13 and 37 minutes on 2 shared cores of an AMD EPYC (24 GB);
TensorFlow 2.21, Keras 3.15.1.
"""

import arms


def equal_steps(pretrain):
    """Return an arm with the steps of 4 epochs of the largest size."""
    largest = arms.SIZES[pretrain.dataset][-1]
    if pretrain.num_examples == largest:  # The same run as the arm of 4 epochs.
        return pretrain
    steps = 4 * (largest // pretrain.batch_size)
    return arms.change(epochs=None, steps=steps)(pretrain)


ARMS = {
    "equal steps": equal_steps,
    "8 epochs": arms.change(epochs=8),
    "4 epochs": arms.change(epochs=4),
    "1 epoch": arms.change(epochs=1),
}


if __name__ == "__main__":
    arms.main(__doc__, "epochs", ARMS)
