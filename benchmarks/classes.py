"""Is it the images or the labels? Table 6, small.

Question: Sun et al. 2017 pre-train on 30M images of 941 of the 18,291 labels of
JFT-300M and on 30M images of all of them, and find COCO AP on par (31.2 and
31.9): "the performance benefit comes from more training images instead of more
labels". Is it so on the synthetic world, with a quarter and a twentieth of the
200 names and as many images?

Command:

    python benchmarks/classes.py

A subset shows and names only its own combinations, common and rare ones. Rows
go to results/classes.jsonl, the figure to figures/classes.png;
`--tiny-imagenet DIR` asks the same of real images, `--dry-run` says what is
left to do, `--smoke` goes the whole way with one arm.
"""

import pathlib

import arms


def every(step):
    """An arm of every so manieth class, with as many images."""

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
