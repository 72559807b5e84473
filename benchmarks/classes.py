"""Is it the images or the labels? Table 6, small.

Question: Sun et al. 2017 pre-train on 30M images of 941 of the 18,291 labels of
JFT-300M and on 30M images of all of them, and find COCO AP on par (31.2 and
31.9): "the performance benefit comes from more training images instead of more
labels". Is it so on synthetic images, with a quarter and a twentieth of the
200 names and as many images?

Command:

    python benchmarks/classes.py

A subset only shows and names its own combinations, common and rare ones. Rows
go to results/classes.jsonl, the figure to figures/classes.png;
`--tiny-imagenet DIR` asks the same about real images, `--dry-run` says what is
left to do, `--smoke` does a quick run with one arm.

Result (3 seeds; top-1 of frozen transfer, mean and standard deviation):

                               300      1,000      3,000 per decade
    all 200 classes       36.0 3.4   48.7 1.2   55.6 0.4      +19.7
    a quarter of them     38.0 4.1   48.5 1.7   56.2 1.3      +18.2
    a twentieth of them   32.8 0.6   36.5 1.9   52.1 5.6      +19.1

The paper's finding holds for a quarter: 50 and 200 classes are on par within
0.6 points from 1,000 images on, where ten times the images are worth 18 to 20.
With 10 classes it does not: they are 12 points behind at 1,000 images, and 3.5
of a scatter of 5.8 at 3,000. Images count more than labels as long as labels
are many, as the 941 of JFT are.

Result on Tiny ImageNet (`--sizes 3000 20000 --arms "all classes" "a quarter of
them"`; 3 seeds, likewise; a quarter of them has 24,000 images):

                           3,000     20,000 per decade
    all 190 classes     30.2 2.2   39.6 0.5      +11.3
    a quarter of them   32.1 1.0   38.8 2.8       +8.1

On par there, too: 48 classes are 0.8 points behind, less than seeds differ.

Cost: 11 and 16 minutes on 2 shared cores of an AMD EPYC (24 GB);
TensorFlow 2.21, Keras 3.15.1.
"""

import pathlib

import arms


def every(step):
    """Return an arm with every n-th class and the same number of images."""

    def changed(pretrain):
        if pretrain.dataset == "synthetic":
            return arms.options(num_names=200 // step)(pretrain)
        train = pathlib.Path(pretrain.options["directory"], "train")
        held_out = pretrain.options["exclude"]
        folders = sorted(p.name for p in train.iterdir())
        classes = [name for name in folders if name not in held_out]
        return arms.options(classes=classes[::step], exclude=())(pretrain)

    return changed


ARMS = {
    "all classes": arms.change(),
    "a quarter of them": every(4),
    "a twentieth of them": every(20),
}


if __name__ == "__main__":
    arms.main(__doc__, "classes", ARMS)
